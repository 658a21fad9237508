"""Rows of the journal to intervals: when an agent was up, when it was down, when it rested.

`up`: its process lived and was not silent beyond its threshold; degraded and parked are up.
`down`: it was wanted up and was not: from the end of its run, or where it was unreachable from
its last sign of life, until it was ready (or was heard of) again. One outage is one interval,
with the reason that it began for. `paused`: somebody, or a policy, wanted it to rest: paused,
stopped, killed, or completed. Until a start has come true, what was before goes on.

What nobody knows is in no interval: the time before the first row, after a removal, and that
in which an agent ended while no daemon ran. One that outlives its daemon and is adopted was up.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final, Literal, Protocol

Condition = Literal["up", "down", "paused"]

# Ends that were wanted; what follows is a rest, not an outage.
WISHES: Final = frozenset({"USER_PAUSED", "USER_STOPPED", "USER_KILLED", "COMPLETED"})

# Ends that an operator made for a start later, or the work's own: an outage, and no failure.
PLANNED: Final = frozenset({"USER_RESTARTED", "CONFIG_CHANGED", "DAEMON_STOPPED", "COMPLETED"})

REBOOTED: Final = "HOST_REBOOTED"
_NEVER_MS: Final = 1 << 62
_BEGINS: Final = attrgetter("begins_ms")
_ENDS: Final = attrgetter("ends_ms")
PARKED: Final = "PARKED"
"""Not a stop reason: it ended while its provider had asked it to wait."""

_UP: Final = frozenset({"agent.ready", "agent.healthy", "agent.recovered"})
_RESTS: Final = frozenset({"agent.paused", "agent.killed", "agent.stopped", "agent.completed"})
# What restarting decides: then the end before it was an outage, whatever its reason.
_DECIDED: Final = frozenset({"agent.cooldown", "agent.restarting", "agent.escalated"})


class Life(Protocol):
    """A row of the journal, as far as this is about it."""

    @property
    def id(self) -> int: ...
    @property
    def wall_ms(self) -> int: ...
    @property
    def agent(self) -> str | None: ...
    @property
    def event(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def incarnation(self) -> int | None: ...
    @property
    def message(self) -> str: ...
    @property
    def silence_ms(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Unwatched:
    """A time without a daemon: from the last sign that one watched until the next began."""

    begins_ms: int
    ends_ms: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of one condition, by the wall clock (ms since 1970)."""

    begins_ms: int
    ends_ms: int
    state: Condition
    reason: str | None = None
    """A stop reason; None: up, or nobody ever started it."""

    @property
    def lasts_ms(self) -> int:
        return self.ends_ms - self.begins_ms


@dataclass(frozen=True, slots=True)
class Restart:
    """A start after an end that nobody had asked to last."""

    at_ms: int
    reason: str

    @property
    def is_planned(self) -> bool:
        return self.reason in PLANNED


@dataclass(frozen=True, slots=True)
class Lived:
    """What became of one agent in a span of time."""

    name: str
    begins_ms: int
    ends_ms: int
    intervals: tuple[Interval, ...]
    restarts: tuple[Restart, ...]

    def total_ms(self, state: Condition) -> int:
        return sum(each.lasts_ms for each in self.intervals if each.state == state)

    @property
    def unknown_ms(self) -> int:
        return self.ends_ms - self.begins_ms - sum(each.lasts_ms for each in self.intervals)

    @property
    def downs(self) -> tuple[Interval, ...]:
        return tuple(each for each in self.intervals if each.state == "down")

    @property
    def availability(self) -> float | None:
        """The share of the time that it was up of that it was wanted up; None: it never was."""
        up_ms, down_ms = self.total_ms("up"), self.total_ms("down")
        return up_ms / (up_ms + down_ms) if up_ms + down_ms else None

    @property
    def mttr_ms(self) -> float | None:
        """The mean of its outages, those that operators made left out; None: there was none."""
        lasts = [each.lasts_ms for each in self.downs if each.reason not in PLANNED]
        return sum(lasts) / len(lasts) if lasts else None

    def within(self, begins_ms: int, ends_ms: int) -> "Lived":
        """Return the part of it in a shorter span."""
        begins_ms, ends_ms = max(begins_ms, self.begins_ms), min(ends_ms, self.ends_ms)
        first = bisect_right(self.intervals, begins_ms, key=_ENDS)
        beyond = bisect_left(self.intervals, ends_ms, first, key=_BEGINS)
        parts = tuple(
            replace(
                each,
                begins_ms=max(each.begins_ms, begins_ms),
                ends_ms=min(each.ends_ms, ends_ms),
            )
            for each in self.intervals[first:beyond]
        )
        restarts = tuple(each for each in self.restarts if begins_ms <= each.at_ms < ends_ms)
        return Lived(self.name, begins_ms, max(begins_ms, ends_ms), parts, restarts)


def lived(
    name: str,
    rows: Iterable[Life],
    *,
    begins_ms: int,
    ends_ms: int,
    unwatched: Sequence[Unwatched] = (),
) -> Lived:
    """Return what became of an agent in [begins_ms, ends_ms).

    `rows` may begin before that, which says how it was at the beginning, and may be those of
    other agents too; their order is that of their ids, because wall clocks are set back.
    """
    story = _Story(unwatched)
    for row in sorted((row for row in rows if row.agent == name), key=lambda row: row.id):
        story.read(row)
    story.until(ends_ms)
    whole = Lived(name, min(begins_ms, story.begun_ms), ends_ms, *story.told())
    return whole.within(begins_ms, ends_ms)


class _Story:
    """Reads one agent's rows, the oldest first."""

    def __init__(self, unwatched: Sequence[Unwatched]) -> None:
        self.begun_ms = _NEVER_MS
        """When the first row was written."""
        self._unwatched = unwatched
        self._state: Condition | None = None
        self._reason: str | None = None
        self._since_ms = 0
        self._at_ms: int | None = None
        self._alive = False
        self._silent = False
        """Down for its silence alone."""
        self._parked = False
        self._ended: str | None = None
        """Why its last run ended; None: it has not, or that is forgotten."""
        self._again = False
        """Restarting has decided on that end: what follows is a restart."""
        self._intervals: list[Interval] = []
        self._restarts: list[Restart] = []

    def told(self) -> tuple[tuple[Interval, ...], tuple[Restart, ...]]:
        return tuple(self._intervals), tuple(self._restarts)

    def until(self, ends_ms: int) -> None:
        """The story ends here, whatever comes later."""
        if self._at_ms is not None:
            self._close(max(ends_ms, self._at_ms))

    def read(self, row: Life) -> None:
        before_ms, at_ms = self._at_ms, row.wall_ms
        if before_ms is None:
            self.begun_ms = self._since_ms = at_ms
        else:
            at_ms = max(before_ms, at_ms)
        self._at_ms = at_ms
        if row.event == "agent.exited":
            self._exited(row, at_ms, before_ms)
        elif row.event in _UP:
            self._up(at_ms)
        elif row.event in _DECIDED:
            self._again = True
            self._turn("down", row.reason or self._ended, at_ms)
        elif row.event in _RESTS:
            self._silent = False
            rests = self._state == "paused"
            self._turn("paused", row.reason or (self._reason if rests else None), at_ms)
        else:
            self._change(row, at_ms)

    def _change(self, row: Life, at_ms: int) -> None:
        match row.event:
            case "agent.started":
                self._started(row, at_ms)
            case "agent.adopted":
                self._alive = True
                if self._state is None:
                    self._up(at_ms)
            case "agent.resumed" if self._alive and self._state == "paused":
                self._up(at_ms)
            case "agent.parked":
                self._up(at_ms)
                self._parked = True
            case "agent.unreachable":
                self._silent = True
                self._turn("down", row.reason or "TIMEOUT", self._last_sign_ms(row, at_ms))
            case "agent.degraded" if self._silent or self._state is None:
                self._up(at_ms)
            case "agent.added" if self._state is None:
                self._turn("paused", None, at_ms)
            case "agent.removed":
                self._alive = False
                self._turn(None, None, at_ms)

    def _last_sign_ms(self, row: Life, at_ms: int) -> int:
        """Return when one that is unreachable by now was heard of last; up to then it was up."""
        silent_ms = max(0, row.silence_ms or 0) if self._state == "up" else 0
        return max(self._since_ms, at_ms - silent_ms)

    def _up(self, at_ms: int) -> None:
        self._silent = self._parked = False
        self._turn("up", None, at_ms)

    def _started(self, row: Life, at_ms: int) -> None:
        unasked = self._ended is not None and (self._again or self._ended not in WISHES)
        if unasked and (row.incarnation or 0) > 1:
            self._restarts.append(Restart(at_ms, str(self._ended)))
        self._alive, self._ended, self._parked, self._again = True, None, False, False

    def _exited(self, row: Life, at_ms: int, before_ms: int | None) -> None:
        reason = row.reason or "UNKNOWN"
        self._leave_unwatched(reason, at_ms, before_ms)
        if self._state == "paused" and self._reason not in (None, PARKED):
            pass  # somebody said so; that it ends now is part of the rest
        elif reason in WISHES:
            self._turn("paused", reason, at_ms)
        elif self._parked:
            self._turn("paused", PARKED, at_ms)
        else:
            self._turn("down", reason, at_ms)
        self._alive = self._silent = self._parked = self._again = False
        self._ended = reason

    def _leave_unwatched(self, reason: str, at_ms: int, before_ms: int | None) -> None:
        """It ended while no daemon ran, and nobody knows when; a reboot ended it at once.

        One that was alive then has been adopted, which is a row of its own.
        """
        if before_ms is None or self._state != "up":
            return
        for gap in self._unwatched:
            if before_ms < gap.ends_ms <= at_ms:
                began_ms = max(gap.begins_ms, before_ms)
                self._turn("down" if reason == REBOOTED else None, reason, began_ms)
                return

    def _turn(self, state: Condition | None, reason: str | None, at_ms: int) -> None:
        """From here on it is like that; an outage keeps the reason that it began for."""
        if state == self._state and (state == "down" or reason == self._reason):
            return
        self._close(at_ms)
        self._state, self._reason = state, reason

    def _close(self, at_ms: int) -> None:
        if self._state is not None and at_ms > self._since_ms:
            self._intervals.append(Interval(self._since_ms, at_ms, self._state, self._reason))
        self._since_ms = at_ms
