"""What agents want to find again: the last few states of the last few executions of each.

A state is kept with its hash. One that doesn't fit it any more is not given out as if it
were what the agent had said; the one before it is.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.core.effects import SaveCheckpoint
from agentd.store.connection import Trouble, open_reader, trouble_of

# FAULTS §4: the last five of an execution.
KEPT_OF_EXECUTION: Final = 5
# What a killed agent had kept stays readable for this many executions of it.
EXECUTIONS_KEPT: Final = 3
_REMOVED_KEPT_MS: Final = 7 * 86_400_000

_SAVE: Final = (
    "REPLACE INTO checkpoints"
    " (agent, execution, seq, incarnation_id, wall_ms, sha256, size_bytes, state)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_TRIM: Final = (
    "DELETE FROM checkpoints WHERE agent = ? AND execution = ? AND id NOT IN (SELECT id"
    " FROM checkpoints WHERE agent = ? AND execution = ? ORDER BY id DESC LIMIT ?)"
)
_TRIM_EXECUTIONS: Final = (
    "DELETE FROM checkpoints WHERE agent = ? AND execution NOT IN (SELECT execution"
    " FROM checkpoints WHERE agent = ? GROUP BY execution ORDER BY max(id) DESC LIMIT ?)"
)
_FORGET_REMOVED: Final = (
    "DELETE FROM checkpoints WHERE wall_ms < ? AND agent NOT IN (SELECT name FROM agents)"
)
_COLUMNS: Final = "id, execution, seq, incarnation_id, wall_ms, sha256, size_bytes"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One kept state; `state` is None where it was not asked for, or is not what was written."""

    execution: str
    seq: int
    incarnation_id: str
    wall_ms: int
    sha256: str
    size_bytes: int
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Recalled:
    """The last whole checkpoint of an execution, and the numbers of those that are damaged."""

    found: Checkpoint | None
    damaged: tuple[int, ...] = ()


def save(connection: sqlite3.Connection, row: SaveCheckpoint, wall_ms: int) -> None:
    """Write one, and delete what is too many, inside the caller's transaction."""
    raw = row.state.encode()
    values = (row.agent, row.execution, row.seq, row.incarnation_id, wall_ms)
    digest = hashlib.sha256(raw).hexdigest()
    connection.execute(_SAVE, (*values, digest, len(raw), row.state))
    mine = (row.agent, row.execution)
    connection.execute(_TRIM, (*mine, *mine, KEPT_OF_EXECUTION))
    connection.execute(_TRIM_EXECUTIONS, (row.agent, row.agent, EXECUTIONS_KEPT))


def forget_removed(connection: sqlite3.Connection, wall_ms: int) -> None:
    """Delete the checkpoints of agents that were removed long ago."""
    connection.execute(_FORGET_REMOVED, (wall_ms - _REMOVED_KEPT_MS,))


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return what the states take up: no history, and not to be paid for by it."""
    return int(
        connection.execute("SELECT coalesce(sum(size_bytes), 0) FROM checkpoints").fetchone()[0]
    )


def recall(path: Path, agent: str, execution: str) -> Recalled:
    """Return the last checkpoint of an execution that is what was written.

    Raises sqlite3.Error where not even the list can be read.
    """
    damaged: list[int] = []
    with closing(open_reader(path)) as connection:
        for number, one in _listed(connection, (agent,), (execution,)):
            whole = _with_state(connection, number, one)
            if whole.state is not None:
                return Recalled(whole, tuple(damaged))
            damaged.append(one.seq)
    return Recalled(None, tuple(damaged))


def listing(path: Path, agent: str, *, states: bool) -> list[Checkpoint]:
    """Return all that is kept of an agent, the newest first; raises sqlite3.Error."""
    with closing(open_reader(path)) as connection:
        rows = _listed(connection, (agent,))
        return [_with_state(connection, number, one) if states else one for number, one in rows]


def _listed(
    connection: sqlite3.Connection, agent: tuple[str], execution: Sequence[str] = ()
) -> Iterator[tuple[int, Checkpoint]]:
    more = " AND execution = ?" if execution else ""
    query = f"SELECT {_COLUMNS} FROM checkpoints WHERE agent = ?{more} ORDER BY id DESC"  # noqa: S608 - words of ours
    for row in connection.execute(query, (*agent, *execution)).fetchall():
        yield row[0], Checkpoint(*row[1:])


def _with_state(connection: sqlite3.Connection, number: int, one: Checkpoint) -> Checkpoint:
    """Read the state of one; a damaged page is as good as a wrong hash.

    Any other error is raised: a state that could not be read now is not one that is gone.
    """
    try:
        found = connection.execute(
            "SELECT state FROM checkpoints WHERE id = ?", (number,)
        ).fetchone()
    except UnicodeDecodeError:
        return one
    except sqlite3.DatabaseError as error:
        if trouble_of(error) is not Trouble.CORRUPT:
            raise
        return one
    state = found[0] if found is not None else None
    if not isinstance(state, str) or hashlib.sha256(state.encode()).hexdigest() != one.sha256:
        return one
    return Checkpoint(
        one.execution, one.seq, one.incarnation_id, one.wall_ms, one.sha256, one.size_bytes, state
    )
