"""Civil periods: none missing, none twice, over every kind of gap and overlap."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.civil import civil, zone_of

HOUR_MS = 3_600_000
ZONES = sorted(available_timezones())


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def hours(period: tuple[int, int]) -> float:
    return (period[1] - period[0]) / HOUR_MS


@pytest.mark.parametrize(
    ("zone", "at", "day_hours", "day_begins"),
    [
        ("UTC", "2026-06-01T12:00:00Z", 24, "2026-06-01T00:00:00Z"),
        ("Europe/Berlin", "2026-03-29T12:00:00Z", 23, "2026-03-28T23:00:00Z"),
        ("Europe/Berlin", "2026-10-25T12:00:00Z", 25, "2026-10-24T22:00:00Z"),
        ("America/New_York", "2026-03-08T12:00:00Z", 23, "2026-03-08T05:00:00Z"),
        ("Asia/Kolkata", "2026-06-01T12:00:00Z", 24, "2026-05-31T18:30:00Z"),
        ("America/Sao_Paulo", "2018-11-04T12:00:00Z", 23, "2018-11-04T03:00:00Z"),  # no midnight
        ("Pacific/Apia", "2011-12-30T12:00:00Z", 24, "2011-12-30T10:00:00Z"),  # a date was skipped
        ("America/Havana", "2026-11-01T12:00:00Z", 25, "2026-11-01T04:00:00Z"),  # midnight twice
        ("Australia/Lord_Howe", "2026-04-04T15:10:00Z", 24.5, "2026-04-04T13:00:00Z"),
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it(
    zone: str, at: str, day_hours: float, day_begins: str
) -> None:
    found = civil(ms(at), ZoneInfo(zone))
    assert found.day[0] == ms(day_begins)
    assert hours(found.day) == day_hours


@pytest.mark.parametrize(
    ("at", "begins"),
    [
        ("2026-10-25T00:59:59Z", "2026-10-25T00:00:00Z"),  # 02:59 summer time
        ("2026-10-25T01:00:00Z", "2026-10-25T01:00:00Z"),  # 02:00 winter time
        ("2026-03-29T00:59:59Z", "2026-03-29T00:00:00Z"),
        ("2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"),  # 03:00
    ],
)
def test_the_hours_around_a_change_of_the_clocks(at: str, begins: str) -> None:
    found = civil(ms(at), ZoneInfo("Europe/Berlin"))
    assert found.hour == (ms(begins), ms(begins) + HOUR_MS)


@pytest.mark.parametrize(
    ("at", "begins", "ends"),
    [
        ("2026-02-28T22:59:59Z", "2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z"),
        ("2026-02-28T23:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
        ("2028-02-29T12:00:00Z", "2028-01-31T23:00:00Z", "2028-02-29T23:00:00Z"),
        ("2026-12-31T22:59:59Z", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"),
    ],
)
def test_a_month_ends_with_its_last_day(at: str, begins: str, ends: str) -> None:
    found = civil(ms(at), ZoneInfo("Europe/Berlin"))
    assert found.month == (ms(begins), ms(ends))


@given(st.sampled_from(ZONES), st.integers(ms("1971-01-01T00:00:00Z"), ms("2090-01-01T00:00:00Z")))
def test_each_moment_is_in_one_hour_one_day_and_one_month(name: str, wall_ms: int) -> None:
    zone = ZoneInfo(name)
    found = civil(wall_ms, zone)
    for period in ("hour", "day", "month"):
        begins, ends = getattr(found, period)
        assert begins <= wall_ms < ends
        assert getattr(civil(begins, zone), period) == (begins, ends)
        assert getattr(civil(ends - 1, zone), period) == (begins, ends)
        assert getattr(civil(ends, zone), period)[0] == ends  # the next one follows at once
    assert hours(found.hour) <= 1
    assert found.month[0] <= found.day[0]
    assert found.day[1] <= found.month[1]


@given(st.integers(-(10**18), 10**18))
def test_a_clock_beyond_any_calendar_is_survived(wall_ms: int) -> None:
    found = civil(wall_ms, ZoneInfo("Europe/Berlin"))
    for begins_ms, ends_ms in (found.hour, found.day, found.month):
        assert begins_ms < ends_ms


def test_the_zone_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    assert zone_of("") == ZoneInfo("Asia/Kolkata")
    assert zone_of("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    monkeypatch.setenv("TZ", "Nowhere/Else")
    assert zone_of("") == UTC
    monkeypatch.delenv("TZ")
    assert civil(0, zone_of("")).day[0] <= 0
