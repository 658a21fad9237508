"""What is deleted when: history beyond an age or a size, and what only recovery needed. Little
at a time, so that a commit never waits long behind it.

By age each kind goes when it is old. Beyond the size, what takes more than its share goes
first, the oldest of it, and then the oldest events. What is open or still to be delivered
stays. Events go strictly from the head, those of an open incident, too: its record says what
they said, and ids without holes are worth more than a long timeline.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from agentd.store import checkpoints, rollups

_DAY_MS: Final = 86_400_000
EVENTS_CHUNK: Final = 500
INCIDENTS_CHUNK: Final = 50
ALERTS_CHUNK: Final = 500

# Commands are answered again for ten minutes; kept a while longer for people who look.
REQUESTS_KEPT_MS: Final = 3_600_000
SPAWNS_KEPT_MS: Final = 7 * _DAY_MS
SPAWNS_CHUNK: Final = 500
# Alerts that have arrived, or that nobody took.
ALERTS_KEPT_MS: Final = 30 * _DAY_MS
# Evidence whose incident is not there was written by the same daemon a moment before it.
ORPHANS_KEPT_MS: Final = _DAY_MS
_VACUUM_PAGES: Final = 256

# Shares of `history_max` beyond which a kind goes before any event does.
_EVIDENCE_SHARE: Final = 4
_INCIDENTS_SHARE: Final = 8
_ALERTS_SHARE: Final = 8
# Its deliveries and their indexes.
_ALERT_BYTES: Final = 512

_RESOLVED: Final = (
    "SELECT number FROM incidents WHERE resolved_wall_ms < ? ORDER BY resolved_wall_ms LIMIT ?"
)
_SEEN: Final = (
    "SELECT DISTINCT evidence.incident FROM evidence"
    " JOIN incidents ON incidents.number = evidence.incident"
    " WHERE incidents.resolved_wall_ms IS NOT NULL ORDER BY evidence.incident LIMIT ?"
)
_ORPHANS: Final = (
    "DELETE FROM evidence WHERE wall_ms < ? AND incident IN"
    " (SELECT incident FROM evidence EXCEPT SELECT number FROM incidents)"
)
_SETTLED: Final = (
    "SELECT id FROM alerts WHERE wall_ms < ? AND NOT EXISTS (SELECT 1 FROM deliveries"
    " WHERE alert = id AND state = 'waiting') ORDER BY wall_ms LIMIT ?"
)
_EVER: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how large history may be."""

    history_days: int = 400
    history_max_bytes: int = 500 << 20


def tidy(connection: sqlite3.Connection, bounds: Bounds, wall_ms: int) -> bool:
    """Delete or fold one chunk of what is too old or too much; True if there is more to do.

    The newest event always stays, so that ids are never used twice. Raises sqlite3.Error;
    nothing is half deleted then.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        more = _tidy(connection, bounds, wall_ms)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    # Each row that the pragma returns is a page given back.
    connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
    return more


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return what the store's file holds, free pages left out."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _tidy(connection: sqlite3.Connection, bounds: Bounds, wall_ms: int) -> bool:
    _delete_recovery(connection, wall_ms)
    oldest_ms = wall_ms - bounds.history_days * _DAY_MS
    history_bytes = used_bytes(connection) - checkpoints.used_bytes(connection)
    max_bytes = bounds.history_max_bytes
    if history_bytes > max_bytes and _delete_too_much(connection, max_bytes):
        return True
    # One kind at a time: the first that fills its chunk is all for now.
    return (
        _delete_events(connection, oldest_ms) >= EVENTS_CHUNK
        or rollups.fold(connection, wall_ms)
        or rollups.forget_old(connection, oldest_ms)
        or _delete_incidents(connection, oldest_ms) >= INCIDENTS_CHUNK
        or _delete_alerts(connection, wall_ms - ALERTS_KEPT_MS) >= ALERTS_CHUNK
        or _delete_orphans(connection, wall_ms)
    )


def _delete_recovery(connection: sqlite3.Connection, wall_ms: int) -> None:
    """Delete what recovery alone needed, and no longer does."""
    connection.execute(
        "DELETE FROM requests WHERE wall_ms < ?", (wall_ms - REQUESTS_KEPT_MS,)
    ).close()
    connection.execute(
        "DELETE FROM spawns WHERE (agent, incarnation) IN (SELECT agent, incarnation"
        " FROM spawns WHERE ended_wall_ms < ? ORDER BY ended_wall_ms LIMIT ?)",
        (wall_ms - SPAWNS_KEPT_MS, SPAWNS_CHUNK),
    ).close()
    checkpoints.forget_removed(connection, wall_ms)


def _delete_too_much(connection: sqlite3.Connection, max_bytes: int) -> bool:
    """Delete one chunk of whatever is to go first; False: nothing is left that may go."""
    shares = (
        (_evidence_bytes(connection) * _EVIDENCE_SHARE, _delete_evidence),
        (_incidents_bytes(connection) * _INCIDENTS_SHARE, _delete_incidents),
        (_alerts_bytes(connection) * _ALERTS_SHARE, _delete_alerts),
    )
    return (
        any(part > max_bytes and delete(connection) for part, delete in shares)
        or bool(_delete_events(connection))
        or any(delete(connection) for _, delete in shares)
        or rollups.forget_oldest(connection)
    )


def _delete_events(connection: sqlite3.Connection, oldest_ms: int = _EVER) -> int:
    """Delete up to one chunk from the head; by id, because the wall clock jumps."""
    first, last = connection.execute("SELECT min(id), max(id) FROM events").fetchone()
    if first is None:
        return 0
    until = min(first + EVENTS_CHUNK, last)
    return connection.execute(
        "DELETE FROM events WHERE id < ? AND wall_ms < ?", (until, oldest_ms)
    ).rowcount


def _delete_incidents(connection: sqlite3.Connection, oldest_ms: int = _EVER) -> int:
    """Delete a chunk of the incidents that were resolved first, and all that belongs to them."""
    numbers = connection.execute(_RESOLVED, (oldest_ms, INCIDENTS_CHUNK)).fetchall()
    for statement in (
        "DELETE FROM evidence WHERE incident = ?",
        "DELETE FROM incident_agents WHERE number = ?",
        "DELETE FROM incidents WHERE number = ?",
    ):
        connection.executemany(statement, numbers).close()
    return len(numbers)


def _delete_evidence(connection: sqlite3.Connection) -> int:
    """Delete the evidence of a chunk of resolved incidents; their records stay."""
    numbers = connection.execute(_SEEN, (INCIDENTS_CHUNK,)).fetchall()
    connection.executemany("DELETE FROM evidence WHERE incident = ?", numbers).close()
    return len(numbers)


def _delete_alerts(connection: sqlite3.Connection, oldest_ms: int = _EVER) -> int:
    """Delete a chunk of the alerts for which nothing is left to do, with their deliveries."""
    found = connection.execute(_SETTLED, (oldest_ms, ALERTS_CHUNK)).fetchall()
    connection.executemany("DELETE FROM deliveries WHERE alert = ?", found).close()
    connection.executemany("DELETE FROM alerts WHERE id = ?", found).close()
    return len(found)


def _delete_orphans(connection: sqlite3.Connection, wall_ms: int) -> bool:
    connection.execute(_ORPHANS, (wall_ms - ORPHANS_KEPT_MS,)).close()
    return False


def _evidence_bytes(connection: sqlite3.Connection) -> int:
    return _number(connection, "SELECT coalesce(sum(size_bytes), 0) FROM evidence")


def _incidents_bytes(connection: sqlite3.Connection) -> int:
    return _number(connection, "SELECT coalesce(sum(size_bytes), 0) FROM incidents")


def _alerts_bytes(connection: sqlite3.Connection) -> int:
    query = "SELECT coalesce(sum(size_bytes), 0) + ? * count(*) FROM alerts"
    return _number(connection, query, _ALERT_BYTES)


def _number(connection: sqlite3.Connection, query: str, *values: object) -> int:
    return int(connection.execute(query, values).fetchone()[0])
