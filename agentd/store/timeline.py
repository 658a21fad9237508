"""Questions about what happened when: the events that history and reports read, by index."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from agentd.store.connection import open_reader
from agentd.store.globs import named
from agentd.store.rows import LifeRow

# The words of the index `events_of_life`: only with all of them it is used, and a new one
# takes a step of the schema.
LIFECYCLE: Final = (
    "agent.started",
    "agent.ready",
    "agent.adopted",
    "agent.exited",
    "agent.stopped",
    "agent.completed",
    "agent.paused",
    "agent.resumed",
    "agent.killed",
    "agent.parked",
    "agent.held",
    "agent.unheld",
    "agent.healthy",
    "agent.degraded",
    "agent.unreachable",
    "agent.recovered",
    "agent.cooldown",
    "agent.restarting",
    "agent.escalated",
    "agent.added",
    "agent.removed",
    "daemon.started",
    "daemon.stopping",
)

# What the daily report reads beside them.
REPORTED: Final = (
    *LIFECYCLE,
    "agent.starting",
    "action.unfinished",
    "breaker.closed",
    "breaker.opened",
    "budget.exceeded",
    "budget.warning",
    "cost.runaway",
    "cost.spike",
    "daemon.fault",
    "daemon.stalled",
    "daemon.storage",
    "drift.detected",
    "drift.warning",
    "incident.opened",
    "incident.resolved",
    "latency.warning",
    "loop.detected",
    "loop.warning",
    "memory.leak",
    "memory.limit",
    "memory.pressure",
    "memory.suspect",
    "oom.child",
    "retry.limit",
    "tool.failing",
)

LIFE_MAX: Final = 200_000
# So many events say how an agent was.
LIFE_BEFORE: Final = 8
_SILENCE: Final = (
    "CASE WHEN event = 'agent.unreachable' AND json_valid(data)"
    " AND json_type(data, '$.silence_ms') = 'integer' THEN json_extract(data, '$.silence_ms') END"
)
_COLUMNS: Final = f"id, wall_ms, agent, event, reason, incarnation, message, incident, {_SILENCE}"
_NEWEST: Final = f"ORDER BY wall_ms DESC LIMIT {LIFE_MAX}"
_IN_LIFE: Final = f"event IN ({', '.join(repr(name) for name in LIFECYCLE)})"


def lifecycle(
    path: Path, *, agents: Sequence[str], since_wall_ms: int, until_wall_ms: int
) -> list[LifeRow]:
    """Return the events that start, end or pause runs, or change health, by id.

    Those within [since, until), of too many the newest. `agents` are names or globs; the
    daemon's own come with all agents only.
    """
    query, values = lifecycle_query(agents)
    return _rows(path, query, (since_wall_ms, until_wall_ms, *values))


def lifecycle_query(agents: Sequence[str]) -> tuple[str, list[object]]:
    """Return the SQL for them, and its values but since and until."""
    text, values = named("agent", agents)
    more = f" AND {text}" if text else ""
    query = (
        f"SELECT {_COLUMNS} FROM events INDEXED BY events_of_life"  # noqa: S608 - words of ours
        f" WHERE {_IN_LIFE} AND wall_ms >= ? AND wall_ms < ?{more} {_NEWEST}"
    )
    return query, values


def report_events(path: Path, *, since_wall_ms: int, until_wall_ms: int) -> list[LifeRow]:
    """Return what the report reads within [since, until), by id; of too many the newest."""
    return _rows(path, report_query(), (since_wall_ms, until_wall_ms, *REPORTED))


def report_query() -> str:
    """Return the SQL for them; since, until and the names are its values."""
    return (
        f"SELECT {_COLUMNS} FROM events INDEXED BY events_by_time"  # noqa: S608 - words of ours
        " WHERE wall_ms >= ? AND wall_ms < ?"
        f" AND event IN ({', '.join('?' * len(REPORTED))}) {_NEWEST}"
    )


def _rows(path: Path, query: str, values: Sequence[object]) -> list[LifeRow]:
    with closing(open_reader(path)) as connection:
        return sorted(_life_rows(connection, query, values), key=lambda row: row.id)


def _life_rows(
    connection: sqlite3.Connection, query: str, values: Sequence[object]
) -> list[LifeRow]:
    return [LifeRow(*row) for row in connection.execute(query, values)]


def life_before(path: Path, *, agents: Sequence[str], wall_ms: int) -> list[LifeRow]:
    """Return of each agent the last LIFE_BEFORE such events before a moment, by id: how it was
    then, however long ago that began. `agents` are plain names.
    """
    query = life_before_query(len(agents))
    found: list[LifeRow] = []
    missing = dict.fromkeys(agents, LIFE_BEFORE)
    with closing(open_reader(path)) as connection:
        for row in (LifeRow(*each) for each in connection.execute(query, (wall_ms, *agents))):
            if row.agent in missing:
                found.append(row)
                missing[row.agent] -= 1
                if not missing[row.agent]:
                    del missing[row.agent]
            if not missing:
                break
    return sorted(found, key=lambda row: row.id)


def life_before_query(agents: int) -> str:
    """Return the SQL for the events of so many agents; the moment and the names are its values."""
    return (
        f"SELECT {_COLUMNS} FROM events INDEXED BY events_of_life"  # noqa: S608 - words of ours
        f" WHERE {_IN_LIFE} AND wall_ms < ? AND agent IN ({', '.join('?' * agents)}) {_NEWEST}"
    )
