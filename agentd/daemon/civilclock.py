"""Which civil hour, day and month it is: the core is told before it decides anything by them.
And when a minute of the wall clock is over, for what is told of each.

Looked at once a second. That also notices a wall clock that was set: the hour that it is then
is another one than the hour that it was. A minute that the clock jumped out of has ended, forwards
or back; those that it jumped over never were. After a jump back a minute may come a second time:
what is told of it then is added to what was told before.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from agentd.config.civil import civil, zone_of
from agentd.core.accounts import Periods
from agentd.core.events import Event, MinuteEnded, PeriodsBegan
from agentd.core.minutes import MINUTE_MS


@dataclass(slots=True)
class CivilClock:
    """Tells the civil periods of the configured zone, each once."""

    post: Callable[[Event], None]
    wall_ms: Callable[[], int]
    _zone: tzinfo = UTC
    _told: Periods | None = field(default=None)
    _minute: int | None = None
    """The minute that it was when last looked at, counted from 1970."""

    def use(self, zone: str) -> None:
        """Go by this zone from now on; empty: the system's."""
        self._zone, self._told = zone_of(zone), None
        self.look()

    def look(self) -> None:
        """Tell what has begun since it was last told."""
        now_ms, told = self.wall_ms(), self._told
        self._look_at_minute(now_ms // MINUTE_MS)
        if told is not None and told.hour.begins_ms <= now_ms < told.hour.ends_ms:
            return
        found = civil(now_ms, self._zone)
        self._told = Periods.of(found.hour, found.day, found.month, found.date)
        if self._told != told:
            self.post(PeriodsBegan(self._told))

    def _look_at_minute(self, minute: int) -> None:
        ended, self._minute = self._minute, minute
        if ended is not None and ended != minute:
            self.post(MinuteEnded(ended * MINUTE_MS))
