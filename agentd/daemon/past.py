"""What history and the daily report are made from, read from the store; blocking, for threads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from agentd.core.records import Rollup
from agentd.reporting.history import Past
from agentd.reporting.intervals import Unwatched
from agentd.store.rollups import Span
from agentd.store.rows import IncidentRow, LifeRow

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
# How far back the last sign of a daemon that died is looked for, and in which steps.
_LOOK_BACK_MS: Final[tuple[tuple[Span, int, int], ...]] = (
    ("minute", 2 * _HOUR_MS, _MINUTE_MS),
    ("hour", 60 * 24 * _HOUR_MS, _HOUR_MS),
)
# Of a daemon that is started again and again, so many starts are looked into, the last ones.
STARTS_MAX: Final = 50
INCIDENTS_MAX: Final = 1_000


class Store(Protocol):
    """What is read."""

    def lifecycle(
        self, *, agents: Sequence[str] = (), since_wall_ms: int, until_wall_ms: int
    ) -> list[LifeRow]: ...

    def life_before(self, *, agents: Sequence[str], wall_ms: int) -> list[LifeRow]: ...

    def report_events(self, *, since_wall_ms: int, until_wall_ms: int) -> list[LifeRow]: ...

    def rollups(
        self,
        *,
        agents: Sequence[str] = (),
        since_wall_ms: int,
        until_wall_ms: int,
        span: Span | int = "hour",
    ) -> list[Rollup]: ...

    def incidents(
        self, *, agents: Sequence[str] = (), open_only: bool = False, limit: int = 100
    ) -> list[IncidentRow]: ...


@dataclass(frozen=True, slots=True)
class Pasts:
    """Reads spans of the past; raises sqlite3.Error."""

    store: Store

    def lives(self, names: Sequence[str], begins_ms: int, ends_ms: int) -> Past:
        """Return what history needs of these agents."""
        rows = self.store.lifecycle(since_wall_ms=begins_ms, until_wall_ms=ends_ms)
        rollups = self.store.rollups(
            agents=names, since_wall_ms=begins_ms, until_wall_ms=ends_ms, span="hour"
        )
        return self._past(names, rows, rollups, begins_ms, ends_ms)

    def report(self, names: Sequence[str], since_ms: tuple[int, int], day: tuple[int, int]) -> Past:
        """Return what the report of a day needs: rows and rollups since these two moments."""
        rows_ms, rollups_ms = since_ms
        rows = self.store.lifecycle(since_wall_ms=rows_ms, until_wall_ms=day[0])
        rows += self.store.report_events(since_wall_ms=day[0], until_wall_ms=day[1])
        rollups = self.store.rollups(since_wall_ms=rollups_ms, until_wall_ms=day[1], span="hour")
        return self._past(names, rows, rollups, rows_ms, day[1])

    def incidents(self) -> list[IncidentRow]:
        """Return those that are open, and the newest of all, each once."""
        found = self.store.incidents(limit=INCIDENTS_MAX)
        found += self.store.incidents(open_only=True, limit=INCIDENTS_MAX)
        return list({row.incident.number: row for row in found}.values())

    def _past(
        self,
        names: Sequence[str],
        rows: Sequence[LifeRow],
        rollups: Sequence[Rollup],
        begins_ms: int,
        ends_ms: int,
    ) -> Past:
        named = [*dict.fromkeys([*names, *(row.agent for row in rows if row.agent is not None)])]
        before = self.store.life_before(agents=named, wall_ms=begins_ms) if named else []
        unwatched = [self._unwatched(row.wall_ms) for row in _starts(rows)]
        return Past(begins_ms, ends_ms, [*before, *rows], rollups, unwatched)

    def _unwatched(self, started_ms: int) -> Unwatched:
        """Return how long nobody had watched when a daemon started.

        Every minute of an agent is counted, so the last one that was counted is when the daemon
        before it still lived, to a minute.
        """
        this_minute_ms = started_ms - started_ms % _MINUTE_MS
        for span, back_ms, lasts_ms in _LOOK_BACK_MS:
            found = self.store.rollups(
                since_wall_ms=this_minute_ms - back_ms, until_wall_ms=this_minute_ms, span=span
            )
            if found:
                last_ms = max(each.begins_ms for each in found)
                return Unwatched(min(last_ms + lasts_ms, started_ms), started_ms)
        return Unwatched(started_ms, started_ms)


def _starts(rows: Iterable[LifeRow]) -> list[LifeRow]:
    """Return the starts of the daemon after which an agent was found to have ended."""
    found: list[LifeRow] = []
    started: LifeRow | None = None
    for row in rows:
        if row.event == "daemon.started":
            started = row
        elif started is not None and row.event == "agent.exited":
            found.append(started)
            started = None
    return found[-STARTS_MAX:]
