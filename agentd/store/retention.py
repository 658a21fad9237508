"""What is deleted when: the oldest events beyond an age or a size, and what only recovery
needed. Little at a time, so that a commit never waits long behind it.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from agentd.store import checkpoints

_DAY_MS: Final = 86_400_000
EVENTS_CHUNK: Final = 500

# Commands are answered again for ten minutes; kept a while longer for people who look.
REQUESTS_KEPT_MS: Final = 3_600_000
SPAWNS_KEPT_MS: Final = 7 * _DAY_MS
SPAWNS_CHUNK: Final = 500
_VACUUM_PAGES: Final = 256


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how large history may be."""

    history_days: int = 400
    history_max_bytes: int = 500 << 20


def tidy(connection: sqlite3.Connection, bounds: Bounds, wall_ms: int) -> bool:
    """Delete one chunk of what is too old or too much; True if there is more to do.

    The newest event always stays, so that ids are never used twice. Raises sqlite3.Error;
    nothing is half deleted then.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        deleted = _delete_events(connection, bounds, wall_ms)
        connection.execute(
            "DELETE FROM requests WHERE wall_ms < ?", (wall_ms - REQUESTS_KEPT_MS,)
        ).close()
        connection.execute(
            "DELETE FROM spawns WHERE (agent, incarnation) IN (SELECT agent, incarnation"
            " FROM spawns WHERE ended_wall_ms < ? ORDER BY ended_wall_ms LIMIT ?)",
            (wall_ms - SPAWNS_KEPT_MS, SPAWNS_CHUNK),
        ).close()
        checkpoints.forget_removed(connection, wall_ms)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    # Each row that the pragma returns is a page given back.
    connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
    return deleted >= EVENTS_CHUNK


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return what the store's file holds, free pages left out."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _delete_events(connection: sqlite3.Connection, bounds: Bounds, wall_ms: int) -> int:
    """Delete up to one chunk from the head; by id, because the wall clock jumps."""
    first, last = connection.execute("SELECT min(id), max(id) FROM events").fetchone()
    if first is None:
        return 0
    until = min(first + EVENTS_CHUNK, last)
    if used_bytes(connection) - checkpoints.used_bytes(connection) > bounds.history_max_bytes:
        found = connection.execute("DELETE FROM events WHERE id < ?", (until,))
    else:
        oldest_ms = wall_ms - bounds.history_days * _DAY_MS
        found = connection.execute(
            "DELETE FROM events WHERE id < ? AND wall_ms < ?", (until, oldest_ms)
        )
    return found.rowcount
