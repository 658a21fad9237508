"""Civil days of a zone as spans of time; 23 and 25 hours are one day, a skipped date is none."""

from collections.abc import Iterator
from datetime import date, datetime, time, tzinfo

from agentd.config.civil import civil

Span = tuple[int, int]


def span_of(day: date, zone: tzinfo) -> Span | None:
    """Return when a date begins and ends (ms since 1970); None: this zone never had it."""
    noon = datetime.combine(day, time(12), tzinfo=zone)
    noon_ms = round(noon.timestamp()) * 1_000
    return civil(noon_ms, zone).day if date_of(noon_ms, zone) == day else None


def date_of(wall_ms: int, zone: tzinfo) -> date:
    """Return the date that a moment belongs to."""
    begins_ms, ends_ms = civil(wall_ms, zone).day
    return datetime.fromtimestamp((begins_ms + ends_ms) // 2_000, tz=zone).date()


def days_between(begins_ms: int, ends_ms: int, zone: tzinfo) -> Iterator[tuple[date, Span]]:
    """Yield every date that a span touches, with the whole of its day."""
    at_ms = begins_ms
    while at_ms < ends_ms:
        day = civil(at_ms, zone).day
        yield date_of(at_ms, zone), day
        at_ms = day[1]


def days_before(ends_ms: int, count: int, zone: tzinfo) -> list[tuple[date, Span]]:
    """Return the last `count` days before a moment that begins a day, the oldest first."""
    found: list[tuple[date, Span]] = []
    for _ in range(count):
        begins_ms, day_ends_ms = civil(ends_ms - 1, zone).day
        found.append((date_of(begins_ms, zone), (begins_ms, day_ends_ms)))
        ends_ms = begins_ms
    return found[::-1]


def moment_of(day: date, clock: str, zone: tzinfo) -> int:
    """Return when clocks show `clock` (HH:MM) on a date: once, also where daylight saving skips
    that time (as much later) or lets it happen twice (the first time).
    """
    hour, minute = map(int, clock.split(":"))
    return round(datetime.combine(day, time(hour, minute), tzinfo=zone).timestamp()) * 1_000


def minute_of_day(wall_ms: int, zone: tzinfo) -> int:
    """Return the minute that clocks on the wall show, 0 to 1,439."""
    local = datetime.fromtimestamp(wall_ms // 1_000, tz=zone)
    return local.hour * 60 + local.minute
