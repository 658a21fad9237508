"""What no single day shows: found where it is, and not where it is not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest

from agentd.config.agent import BudgetConfig
from agentd.config.units import MicroDollars
from agentd.core.budgets import limits_of
from agentd.core.records import Rollup
from agentd.core.tally import LATENCY_BOUNDS_MS, LATENCY_BUCKETS
from agentd.reporting.findings import Finding
from agentd.reporting.intervals import Restart
from agentd.reporting.pace import on_course
from agentd.reporting.recurrence import same_time
from agentd.reporting.trends import drifts
from bench.slow_problems import PLANTED, Plan, found_in
from tests.reporting.lives import DAY_MS, HOUR_MS, MINUTE_MS

DAYS = 14
# A Friday, 2022-01-07.
BEGINS_MS = 18_999 * DAY_MS
ENDS_MS = BEGINS_MS + DAYS * DAY_MS
BERLIN = ZoneInfo("Europe/Berlin")
USUAL = Rollup("a", 0, cycles=10, tokens=9_000, successes=98, failures=2, rss_min_bytes=500 << 20)


def hours(change: Callable[[int], dict[str, object]], days: int = DAYS) -> list[Rollup]:
    """Hours of a fortnight; `change` says what is not usual on a day."""
    return [
        replace(USUAL, begins_ms=BEGINS_MS + day * DAY_MS + hour * HOUR_MS, **change(day))
        for day in range(days)
        for hour in range(24)
    ]


def found(change: Callable[[int], dict[str, object]]) -> dict[str, Finding]:
    return {each.kind: each for each in drifts("a", hours(change), ENDS_MS, UTC)}


def buckets(latency_ms: float) -> tuple[int, ...]:
    counts = [0] * LATENCY_BUCKETS
    counts[sum(bound < latency_ms for bound in LATENCY_BOUNDS_MS)] = 10
    return tuple(counts)


def test_a_drift_is_told_with_its_figures() -> None:
    [drift] = found(lambda day: {"tokens": round(9_000 * 1.03**day)}).values()
    assert drift.message == ("tokens per cycle +3.0 % a day over 14 days, from 900 to 1,322 tokens")
    assert drift.figure == 3.0
    [drift] = found(lambda day: {"rss_min_bytes": round(1.04**day * (500 << 20))}).values()
    assert drift.message == "memory +4.0 % a day over 14 days, from 500 to 833 MiB"
    [fall] = found(lambda day: {"successes": 98 - day, "failures": 2 + day}).values()
    assert fall.message == ("success rate -1.0 points a day over 14 days, from 98.0 % to 85.0 %")
    [rise] = found(lambda day: {"latency_counts": buckets(100 * 1.25**day)}).values()
    assert rise.kind == "latency_rise"


@pytest.mark.parametrize(
    "change",
    [
        lambda _: {},
        lambda day: {"tokens": round(9_000 * 1.01**day)},  # too little for anybody to act on
        lambda day: {"tokens": round(9_000 * 0.95**day)},  # that is good news
        lambda day: {"tokens": 9_000 + 9_000 * (day == 9)},  # one wild day
        lambda day: {"tokens": 9_000 if day < 7 else 18_000},  # a step: the baseline tells that
        lambda day: {"rss_min_bytes": round((500 << 20) * (1 - 0.5 * 0.5**day))},  # a cache fills
        lambda day: {"tokens": 4_500 if (day + 4) % 7 in (5, 6) else 9_000},  # weekends
        lambda day: {"tokens": 9_000 * (day < 4)},  # it stopped telling
        lambda day: {"successes": 9 - (day > 6), "failures": 1 + (day > 6)},  # a step
        lambda day: {"successes": 0, "failures": day % 2},  # next to no tasks
    ],
)
def test_what_is_no_drift_is_not_told(change: Callable[[int], dict[str, object]]) -> None:
    assert not found(change)


def test_a_drift_is_seen_through_weekends() -> None:
    def change(day: int) -> dict[str, object]:
        weekend = (day + 4) % 7 in (5, 6)
        return {"tokens": round(9_000 * 1.03**day * (0.6 if weekend else 1))}

    assert found(change)["tokens_drift"].figure == pytest.approx(3.0, abs=0.5)


def test_too_few_days_say_nothing() -> None:
    short = hours(lambda day: {"tokens": round(9_000 * 1.1**day)}, days=9)
    assert not list(drifts("a", short, BEGINS_MS + 9 * DAY_MS, UTC))


@pytest.mark.timeout(240)
def test_clean_fortnights_show_next_to_nothing() -> None:
    """200 agents with weekends, nights, bursts and moods: at most one finding in all."""
    told = [each for number in range(200) for each in found_in(f"clean {number} 0", Plan())]
    assert len(told) <= 1, told


@pytest.mark.parametrize(
    ("planted", "share_min"),
    [
        ("tokens +5 % a day", 0.8),
        ("memory +3 % a day", 0.6),
        ("restarts at 03:00 on 4 of 7 days", 0.7),
        ("restarts at 03:00 on 7 of 7 days", 0.95),
    ],
)
def test_planted_problems_are_named(planted: str, share_min: float) -> None:
    kind, plan = PLANTED[planted]
    named = sum(
        any(each.kind == kind for each in found_in(f"planted {number}", plan))
        for number in range(25)
    )
    assert named >= share_min * 25


# --- the same time of day


def restarts(*times: str, zone: tzinfo = UTC, reason: str = "OOM_KILLED") -> list[Restart]:
    moments = (datetime.fromisoformat(time).replace(tzinfo=zone) for time in times)
    return [Restart(round(moment.timestamp() * 1000), reason) for moment in moments]


def recurring(made: list[Restart], until: str, zone: tzinfo = UTC) -> str | None:
    ends_ms = round(datetime.fromisoformat(until).replace(tzinfo=zone).timestamp() * 1000)
    finding = same_time("a", made, ends_ms, zone)
    return None if finding is None else finding.message


def test_restarts_at_the_same_time_of_day_are_named() -> None:
    made = restarts("2026-11-15T03:01", "2026-11-16T02:58", "2026-11-18T03:05", "2026-11-20T03:00")
    assert recurring(made, "2026-11-21") == (
        "restarted at about 03:00 on 4 of the last 7 days (OOM_KILLED)"
    )


def test_midnight_lies_in_the_middle_of_a_time_of_day() -> None:
    made = restarts("2026-11-15T23:55", "2026-11-17T00:08", "2026-11-18T00:02", "2026-11-19T23:58")
    assert "at about 00:00 on 4" in (recurring(made, "2026-11-21") or "")


def test_a_job_at_three_is_one_over_daylight_saving() -> None:
    made = restarts(*(f"2026-10-{day}T03:30" for day in (22, 23, 24, 25, 26, 27)), zone=BERLIN)
    assert "03:30 on 6 of" in (recurring(made, "2026-10-28", BERLIN) or "")


@pytest.mark.parametrize(
    "made",
    [
        restarts("2026-11-15T03:01", "2026-11-16T03:00"),  # twice is chance
        restarts(*(f"2026-11-20T03:{minute:02d}" for minute in (0, 5, 10, 20, 30))),  # one night
        restarts(*(f"2026-11-{day}T{hour:02d}:10" for day in range(14, 21) for hour in range(24))),
        restarts(*(f"2026-11-{day}T03:00" for day in range(14, 21)), reason="USER_RESTARTED"),
        restarts(*(f"2026-11-0{day}T03:00" for day in range(1, 8))),  # long ago
        restarts("2026-11-15T03:00", "2026-11-16T09:00", "2026-11-17T15:00", "2026-11-18T21:00"),
    ],
)
def test_restarts_without_a_time_of_day_are_not_named(made: list[Restart]) -> None:
    assert recurring(made, "2026-11-21") is None


# --- budgets on course to run out


def course(now_ms: int, made: list[Rollup], **budget: object) -> list[str]:
    limits = list(limits_of(BudgetConfig(**budget)))  # type: ignore[arg-type]
    return [each.message for each in on_course("a", limits, made, now_ms, UTC)]


def spending(days: int, micros_an_hour: int, today: int, now_hours: int) -> list[Rollup]:
    """Whole days, and the hours of one more."""
    past = [micros_an_hour] * 24 * days + [today] * now_hours
    return [
        Rollup("a", BEGINS_MS + hour * HOUR_MS, cost_micros=micros, tokens=micros // 10)
        for hour, micros in enumerate(past)
    ]


def test_a_day_that_costs_more_than_others_runs_out_of_its_budget() -> None:
    made = spending(7, 100_000, 250_000, 8)
    now_ms = BEGINS_MS + 7 * DAY_MS + 8 * HOUR_MS
    [told] = course(now_ms, made, usd_per_day_micros=MicroDollars(5_000_000))
    assert told == (
        "usd_per_day is on course to run out today at about 20:00: $2.00 of $5.00 spent, "
        "$6.00 to be expected"
    )
    assert not course(now_ms, made, usd_per_day_micros=MicroDollars(6_000_000))
    assert not course(now_ms, made, usd_per_day_micros=MicroDollars(1_900_000))  # told already


def test_a_month_runs_out_on_a_day() -> None:
    made = spending(10, 100_000, 0, 0)
    now_ms = BEGINS_MS + 10 * DAY_MS
    begun = datetime.fromtimestamp(BEGINS_MS / 1000, UTC)
    assert begun.day < 15, "the fortnight lies within one month"
    [told] = course(now_ms, made, usd_per_month_micros=MicroDollars(40_000_000))
    assert "usd_per_month is on course to run out on 20" in told
    assert not course(now_ms, made, usd_per_month_micros=MicroDollars(90_000_000))


def test_an_hour_is_no_pace_of_a_day() -> None:
    made = spending(0, 0, 2_000_000, 1)
    budget = MicroDollars(10_000_000)
    assert not course(BEGINS_MS + HOUR_MS, made, usd_per_day_micros=budget)
    now_ms = BEGINS_MS + 4 * HOUR_MS
    assert course(now_ms, made, usd_per_day_micros=budget), "a new agent goes on as it began"


def test_minutes_count_as_a_part_of_an_hour() -> None:
    made = spending(7, 100_000, 250_000, 8)
    now_ms = BEGINS_MS + 7 * DAY_MS + 8 * HOUR_MS - 30 * MINUTE_MS
    assert course(now_ms, made, tokens_per_day=500_000)
