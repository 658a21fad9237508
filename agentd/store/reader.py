"""Questions to the store. Each call opens a read-only connection of its own and closes it:
any thread may ask, and a store that was replaced meanwhile is simply the next one read.
Whatever the disk raises comes out as sqlite3.Error.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from agentd.core.host_views import FleetSpending
from agentd.core.records import Baseline, IncidentRecord, Record, Rollup
from agentd.store import fleet_spending, incidents, outbox, rollups, timeline
from agentd.store.baselines import baselines
from agentd.store.checkpoints import Checkpoint, Recalled, listing, recall
from agentd.store.connection import open_reader
from agentd.store.globs import named
from agentd.store.rows import (
    Delivery,
    EvidenceRow,
    IncidentRow,
    LifeRow,
    RequestRow,
    SpawnIntent,
    SpawnRow,
    Stamp,
    StoredAgent,
    event_document,
)
from agentd.store.snapshots import Moment, carried_over
from agentd.store.statements import proved

EVENTS_MAX: Final = 10_000
_EVENT_COLUMNS: Final = (
    "id, wall_ms, agent, incarnation, incarnation_id, event, severity, reason, message, data,"
    " incident"
)
_SPAWN_COLUMNS: Final = (
    "agent, incarnation, incarnation_id, token, pid, start_time, pidfd_inode, boot_id, cgroup,"
    " wall_ms"
)
_REQUEST_COLUMNS: Final = "uid, id, cmd, args_hash, reply, wall_ms"


class Reader:
    """The store as rows; `host` completes the documents of events."""

    def __init__(self, path: Path, host: str) -> None:
        self._path = path
        self._host = host

    def events(
        self,
        *,
        after: int | None = None,
        limit: int = 1_000,
        agents: Sequence[str] = (),
        types: Sequence[str] = (),
        since_ms: int | None = None,
        incident: int | None = None,
    ) -> list[dict[str, object]]:
        """Return events as documents in rising order of id, at most `limit` of them.

        With `after` or `since_ms` (wall time) the first ones beyond it, without either the
        last ones of all. `agents` and `types` are names or globs; empty means all. With
        `incident` those of its timeline.
        """
        forward = after is not None or since_ms is not None
        query, values = events_query(
            after=after,
            agents=agents,
            types=types,
            since_ms=since_ms,
            forward=forward,
            incident=incident,
        )
        with closing(open_reader(self._path)) as connection:
            rows = connection.execute(query, (*values, min(limit, EVENTS_MAX))).fetchall()
        return [self._document(row) for row in (rows if forward else reversed(rows))]

    def last_event_id(self) -> int:
        """Return the id of the newest event, 0 for none."""
        with closing(open_reader(self._path)) as connection:
            return int(connection.execute("SELECT max(id) FROM events").fetchone()[0] or 0)

    def agents(self, now: Moment) -> tuple[dict[str, StoredAgent], list[str]]:
        """Return the agents with their times in this boot, and the names of damaged rows."""
        found: dict[str, StoredAgent] = {}
        damaged: list[str] = []
        query = "SELECT name, durable, crc, boot_id, boottime_ms, wall_ms FROM agents"
        with closing(open_reader(self._path)) as connection:
            rows = connection.execute(query).fetchall()
        for name, text, crc, boot_id, boottime_ms, wall_ms in rows:
            durable = proved(name, text, crc)
            if durable is None:
                damaged.append(str(name))
                continue
            written = Moment(boot_id, boottime_ms, wall_ms)
            durable = carried_over(durable, written, now)
            found[name] = StoredAgent(durable, boot_id == now.boot_id, wall_ms)
        return found, damaged

    def spawns(self) -> dict[str, SpawnRow]:
        """Return the incarnation of each agent that was let go to exec and has not ended."""
        query = (
            f"SELECT {_SPAWN_COLUMNS} FROM spawns"  # noqa: S608 - column names of ours
            " WHERE ended_wall_ms IS NULL AND pid IS NOT NULL ORDER BY incarnation"
        )
        with closing(open_reader(self._path)) as connection:
            return {row[0]: SpawnRow(*row) for row in connection.execute(query)}

    def spawn_intents(self) -> dict[str, SpawnIntent]:
        """Return the incarnations that were about to exist, and never got further."""
        query = (
            "SELECT agent, incarnation, incarnation_id, reason FROM spawns"
            " WHERE ended_wall_ms IS NULL AND pid IS NULL ORDER BY incarnation"
        )
        with closing(open_reader(self._path)) as connection:
            return {row[0]: SpawnIntent(*row) for row in connection.execute(query)}

    def requests(self, since_ms: int) -> list[RequestRow]:
        """Return the commands told since `since_ms` of wall time, oldest first."""
        query = (
            f"SELECT {_REQUEST_COLUMNS} FROM requests"  # noqa: S608 - column names of ours
            " WHERE wall_ms >= ? ORDER BY wall_ms"
        )
        with closing(open_reader(self._path)) as connection:
            return [RequestRow(*row) for row in connection.execute(query, (since_ms,))]

    def baselines(self, now: Moment) -> dict[str, Baseline]:
        """Return what each agent's work usually costs, see `baselines.baselines`."""
        return baselines(self._path, now)

    def recall(self, agent: str, execution: str) -> Recalled:
        """Return the last whole checkpoint of an execution, see `checkpoints.recall`."""
        return recall(self._path, agent, execution)

    def checkpoints(self, agent: str, *, states: bool) -> list[Checkpoint]:
        """Return all checkpoints kept of an agent, the newest first."""
        return listing(self._path, agent, states=states)

    def incidents(
        self, *, agents: Sequence[str] = (), open_only: bool = False, limit: int = 100
    ) -> list[IncidentRow]:
        """Return incidents, the newest first; `agents` are names or globs, empty means all."""
        return incidents.incidents(self._path, agents=agents, open_only=open_only, limit=limit)

    def incident(self, number: int) -> IncidentRow | None:
        """Return one incident; None: there is none, or its row is damaged."""
        return incidents.incident(self._path, number)

    def open_incidents(self, now: Moment) -> list[IncidentRecord]:
        """Return what is not resolved, oldest first, in time of this boot."""
        return incidents.open_incidents(self._path, now)

    def resolved_lately(self, now: Moment) -> list[IncidentRecord]:
        """Return what was resolved within the last day, oldest end first, in time of this boot."""
        return incidents.resolved_lately(self._path, now)

    def last_incident(self) -> int:
        """Return the highest number that was ever given to an incident; 0: none was."""
        with closing(open_reader(self._path)) as connection:
            return incidents.last_incident(connection)

    def evidence(self, number: int) -> list[EvidenceRow]:
        """Return what was seen of an incident, oldest first."""
        return incidents.evidence(self._path, number)

    def lifecycle(
        self, *, agents: Sequence[str] = (), since_wall_ms: int, until_wall_ms: int
    ) -> list[LifeRow]:
        """Return the events that make history, see `timeline.lifecycle`."""
        return timeline.lifecycle(
            self._path, agents=agents, since_wall_ms=since_wall_ms, until_wall_ms=until_wall_ms
        )

    def life_before(self, *, agents: Sequence[str], wall_ms: int) -> list[LifeRow]:
        """Return the last such events of each agent before a moment, see `timeline.life_before`."""
        return timeline.life_before(self._path, agents=agents, wall_ms=wall_ms)

    def report_events(self, *, since_wall_ms: int, until_wall_ms: int) -> list[LifeRow]:
        """Return the events that the daily report reads, see `timeline.report_events`."""
        return timeline.report_events(
            self._path, since_wall_ms=since_wall_ms, until_wall_ms=until_wall_ms
        )

    def rollups(
        self,
        *,
        agents: Sequence[str] = (),
        since_wall_ms: int,
        until_wall_ms: int,
        span: rollups.Span | int = "hour",
    ) -> list[Rollup]:
        """Return what agents did, see `rollups.rollups`."""
        return rollups.rollups(
            self._path,
            agents=agents,
            since_wall_ms=since_wall_ms,
            until_wall_ms=until_wall_ms,
            span=span,
        )

    def deliveries(
        self,
        *,
        states: Sequence[str] = (outbox.WAITING,),
        sink: str | None = None,
        limit: int = 1_000,
    ) -> list[Delivery]:
        """Return alerts in one of these states, oldest first; at one sink, or at all."""
        return outbox.deliveries(self._path, states, limit, sink)

    def alert_counts(self) -> dict[str, dict[str, int]]:
        """Return how many deliveries each sink has in each state."""
        return outbox.alert_counts(self._path)

    def fleet_spending(self) -> FleetSpending | None:
        """Return what all hosts had spent when all were last seen, see `fleet_spending.read`."""
        return fleet_spending.read(self._path)

    def mark(self, name: str) -> int | None:
        """Return a number that was kept under this name; None: none was."""
        with closing(open_reader(self._path)) as connection:
            found = connection.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return int(found[0]) if found else None

    def _document(self, row: Sequence[object]) -> dict[str, object]:
        stamp, record = event_of(row)
        return event_document(stamp, record, self._host)


def event_of(row: Sequence[object]) -> tuple[Stamp, Record]:
    """Return one row of the events table as what was written; a damaged `data` is empty."""
    number, wall_ms, agent, incarnation, incarnation_id, event, *rest = row
    severity, reason, message, data, incident = rest
    try:
        told = msgspec.json.decode(str(data))
    except (msgspec.MsgspecError, RecursionError):
        told = {}
    assert isinstance(number, int)
    assert isinstance(wall_ms, int)
    record = Record(
        event=str(event),
        severity=str(severity),
        message=str(message),
        agent=_text(agent),
        incarnation=incarnation if isinstance(incarnation, int) else None,
        incarnation_id=_text(incarnation_id),
        reason=_text(reason),
        data=told if isinstance(told, dict) else {},
        incident=incident if isinstance(incident, int) else None,
    )
    return Stamp(number, wall_ms), record


def events_query(
    *,
    after: int | None,
    agents: Sequence[str],
    types: Sequence[str],
    since_ms: int | None,
    forward: bool,
    incident: int | None = None,
) -> tuple[str, list[object]]:
    """Return the SQL for a page of events and its values but the limit; only `?` carry data."""
    where, values = ["id > ?"], [after or 0]
    clauses: list[tuple[str, list[object]]] = []
    if since_ms is not None:
        # By id, because the wall clock jumps; the index finds where the time begins.
        begins = "id >= (SELECT min(id) FROM events INDEXED BY events_by_time WHERE wall_ms >= ?)"
        clauses.append((f"{begins} AND wall_ms >= ?", [since_ms, since_ms]))
    if incident is not None:
        clauses.append(("incident = ?", [incident]))
    clauses.extend(named(column, names) for column, names in (("agent", agents), ("event", types)))
    all_values: list[object] = [*values]
    for text, more in clauses:
        if text:
            where.append(text)
            all_values += more
    order = "ASC" if forward else "DESC"
    query = (
        f"SELECT {_EVENT_COLUMNS} FROM events WHERE {' AND '.join(where)}"  # noqa: S608 - no data
        f" ORDER BY id {order} LIMIT ?"
    )
    return query, all_values


def _text(value: object) -> str | None:
    return None if value is None else str(value)
