"""The wall clock of a simulation, and the civil periods that begin by it."""

from typing import Final

from agentd.config.civil import civil, zone_of
from agentd.core.accounts import Periods

# 2026-01-01T00:00:00Z, in milliseconds since 1970.
AT_MS_DEFAULT: Final = 1_767_225_600_000

# The same trace tells the same story on every host.
ZONE_DEFAULT: Final = "UTC"


class Calendar:
    """Virtual time as wall time in the configured zone."""

    def __init__(self, zone: str) -> None:
        self._zone = zone_of(zone or ZONE_DEFAULT)
        self._offset_ms = AT_MS_DEFAULT
        self.next_ms: int | None = None
        """When the next period begins, in virtual time; None: nobody has asked yet, or no more
        will, for the calendar ends.
        """

    def set(self, wall_ms: int, now_ms: int) -> None:
        """The wall clock is set: it is `wall_ms` now."""
        self._offset_ms = wall_ms - now_ms

    def periods(self, now_ms: int) -> Periods:
        """Return the civil periods that it is now."""
        found = civil(now_ms + self._offset_ms, self._zone)
        next_ms = found.hour[1] - self._offset_ms
        self.next_ms = next_ms if next_ms > now_ms else None
        return Periods.of(found.hour, found.day, found.month, found.date)
