"""Civil hours, days and months: where they begin and end in a zone, over its gaps and overlaps.

Moments are milliseconds since 1970. A period ends where the next one begins, so that none is
missing and none counts twice: a day that daylight saving makes 23 or 25 hours long is one day,
the hour that it lets happen twice is two hours, and a date that a zone skipped is no day.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SECOND_MS: Final = 1_000
_HOUR_MS: Final = 3_600_000

# No zone was ever moved by more than a day (Samoa skipped one in 2011).
_MOVE_MS_MAX: Final = 26 * _HOUR_MS

_LOCALTIME: Final = Path("/etc/localtime")

# Clocks beyond these years are wrong, and calendars end soon after.
_MOMENT_MS_MIN: Final = 0
_MOMENT_MS_MAX: Final = 32_503_680_000_000  # the year 3000


@dataclass(frozen=True, slots=True)
class Civil:
    """The hour, day and month of one moment: where each begins and ends."""

    hour: tuple[int, int]
    day: tuple[int, int]
    month: tuple[int, int]
    date: str
    """The day's, as in `2026-11-21`."""


def zone_of(name: str) -> tzinfo:
    """Return an IANA zone, or the system's where `name` is empty; UTC if that can't be read."""
    try:
        if name:
            return ZoneInfo(name)
        told = os.environ.get("TZ", "").removeprefix(":")
        if told:
            return ZoneInfo(told)
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key=_name_of_localtime())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def civil(wall_ms: int, zone: tzinfo) -> Civil:
    """Return the civil periods of a moment; one beyond any calendar is taken as the last."""
    wall_ms = min(max(wall_ms, _MOMENT_MS_MIN), _MOMENT_MS_MAX)
    today = _local(wall_ms, zone).date()
    if _first_of(today, zone) > wall_ms:
        today -= timedelta(days=1)
    if _first_of(today + timedelta(days=1), zone) <= wall_ms:
        # An overlap around midnight: this date has begun already, and begins no second time.
        today += timedelta(days=1)
    month = today.replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    return Civil(
        hour=_hour(wall_ms, zone),
        day=(_first_of(today, zone), _first_of(today + timedelta(days=1), zone)),
        month=(_first_of(month, zone), _first_of(next_month, zone)),
        date=today.isoformat(),
    )


def _hour(wall_ms: int, zone: tzinfo) -> tuple[int, int]:
    """Return the clock hour; where the zone is moved within one, it ends or begins there."""
    local = _local(wall_ms, zone)
    into_ms = (local.minute * 60 + local.second) * _SECOND_MS + wall_ms % _SECOND_MS
    begins_ms = wall_ms - into_ms
    ends_ms = begins_ms + _HOUR_MS
    offset = local.utcoffset()

    def moved(at_ms: int) -> bool:
        return _local(at_ms, zone).utcoffset() != offset

    if moved(begins_ms):
        begins_ms = _first(begins_ms, wall_ms, lambda at_ms: not moved(at_ms))
    if moved(ends_ms):
        ends_ms = _first(wall_ms, ends_ms, moved)
    return begins_ms, ends_ms


def _first_of(day: date, zone: tzinfo) -> int:
    """Return the first moment that has this date, or a later one where the date was skipped."""
    midnight = datetime.combine(day, time(), tzinfo=zone)
    at_ms = round(midnight.timestamp()) * _SECOND_MS

    def begun(moment_ms: int) -> bool:
        return _local(moment_ms, zone).date() >= day

    if begun(at_ms) and not begun(at_ms - _SECOND_MS):
        return at_ms
    return _first(at_ms - _MOVE_MS_MAX, at_ms + _MOVE_MS_MAX, begun)


def _first(low_ms: int, high_ms: int, holds: Callable[[int], bool]) -> int:
    """Return the first whole second in (low, high] from which on `holds`; it holds at `high`."""
    low, high = low_ms // _SECOND_MS, -(-high_ms // _SECOND_MS)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle * _SECOND_MS):
            high = middle
        else:
            low = middle
    return high * _SECOND_MS


def _local(wall_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(wall_ms // _SECOND_MS, tz=zone)


def _name_of_localtime() -> str:
    """Return the zone's name from where the link points to, for people."""
    parts = _LOCALTIME.resolve().parts
    return "/".join(parts[parts.index("zoneinfo") + 1 :]) if "zoneinfo" in parts else "localtime"
