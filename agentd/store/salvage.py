"""What can still be read and proved of a damaged store.

Agents and incarnations with their intents, commands, checkpoints, incidents, and the alerts
that have not arrived yet. The journal, evidence and rollups stay in the file that is set aside.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.store import incidents, outbox
from agentd.store.connection import SPOILT, open_reader
from agentd.store.kinds import fits, tables
from agentd.store.snapshots import mended, times_of
from agentd.store.statements import proved

_SALVAGED: Final = (
    "agents",
    "spawns",
    "requests",
    "checkpoints",
    "incidents",
    "alerts",
    "deliveries",
)
_STATE: Final = 2  # the place of a delivery's state

Row = tuple[object, ...]
Rows = list[Row]


@dataclass(slots=True)
class Salvaged:
    """Rows by table, each as wide as its table."""

    rows: dict[str, Rows] = field(default_factory=dict)
    last_id: int = 0
    """The highest event id; 0: unknown."""
    last_incident: int = 0
    """The highest number of an incident; 0: unknown."""

    @property
    def agents(self) -> int:
        return len(self.rows.get("agents", ()))

    def write(self, connection: sqlite3.Connection) -> None:
        """Put all of it into a new store; a row that doesn't fit its table is left out."""
        for table, rows in self.rows.items():
            holes = ", ".join("?" * len(tables()[table]))
            insert = f"INSERT OR IGNORE INTO {table} VALUES ({holes})"  # noqa: S608 - names of ours
            connection.executemany(insert, rows).close()
        incidents.write_agents(connection)


def salvage(path: Path, wall_ms: int) -> Salvaged:
    """Read what can be read now, at `wall_ms`; nothing at all is an answer, too."""
    found = Salvaged()
    try:
        connection = open_reader(path)
    except (sqlite3.Error, OSError):
        return found
    with closing(connection):
        rows = {table: _usable(connection, table, wall_ms) for table in _SALVAGED}
        found.last_id = _last_id(connection)
        found.last_incident = _last_incident(connection)
    waits = {row[0] for row in rows["deliveries"] if row[_STATE] == outbox.WAITING}
    rows["alerts"] = [row for row in rows["alerts"] if row[0] in waits]
    alerts = {row[0] for row in rows["alerts"]}
    rows["deliveries"] = [row for row in rows["deliveries"] if row[0] in alerts]
    found.rows = rows
    return found


def _mended_agent(row: Row, wall_ms: int) -> Row | None:
    """Return an agent's row with a usable moment; None: it isn't what was written."""
    durable = proved(*row[:3])
    if durable is None:
        return None
    written = mended(row[3:], times_of(durable), wall_ms)
    return (*row[:3], written.boot_id, written.boottime_ms, written.wall_ms)


# Their rows carry a proof of what counts: whatever else is spoilt costs no operator's word.
_MENDED: Final[Mapping[str, Callable[[Row, int], Row | None]]] = {
    "agents": _mended_agent,
    "incidents": incidents.mended_row,
}


def _usable(connection: sqlite3.Connection, table: str, wall_ms: int) -> Rows:
    """Return the rows of a table that are proved, or, without a proof, look whole."""
    rows = _readable(connection, table)
    mend = _MENDED.get(table)
    if mend is None:
        return [row for row in rows if _is_whole(row, table)]
    width = len(tables()[table])
    found = (mend(row, wall_ms) for row in rows if len(row) == width)
    return [row for row in found if row is not None]


def _readable(connection: sqlite3.Connection, table: str) -> Rows:
    """Return the rows of a table up to where it breaks."""
    rows: Rows = []
    # What was read before it broke is still there.
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
        rows.extend(connection.execute(f"SELECT * FROM {table}"))  # noqa: S608 - a name of ours
    return rows


def _is_whole(row: tuple[object, ...], table: str) -> bool:
    spoilt = any(isinstance(value, str) and SPOILT in value for value in row)
    return fits(table, row) and row[0] is not None and not spoilt


def _last_id(connection: sqlite3.Connection) -> int:
    """Return the highest event id that table and indexes agree on; 0 where they don't."""
    return _agreed(
        connection,
        "SELECT max(id) FROM events NOT INDEXED",
        "SELECT max(id) FROM events INDEXED BY events_by_time",
    )


def _last_incident(connection: sqlite3.Connection) -> int:
    """Return the highest number that the table and its mark agree on; 0 where they don't."""
    return _agreed(
        connection,
        "SELECT max(number) FROM incidents NOT INDEXED",
        f"SELECT value FROM marks WHERE name = '{incidents.INCIDENT_MARK}'",  # noqa: S608 - a name of ours
    )


def _agreed(connection: sqlite3.Connection, *queries: str) -> int:
    found: set[object] = set()
    for query in queries:
        try:
            row = connection.execute(query).fetchone()
        except (sqlite3.Error, UnicodeDecodeError):
            return 0
        found.add(row[0] if row else None)
    only = found.pop() if len(found) == 1 else 0
    return only if isinstance(only, int) else 0
