"""Rows into SQL, inside a transaction that the caller holds."""

import sqlite3
import zlib
from collections.abc import Iterable
from typing import Final

import msgspec

from agentd.config.encodable import encodable, plain
from agentd.core.effects import (
    Forget,
    Journal,
    Persist,
    PersistBaseline,
    PersistIncident,
    PersistSpending,
    SaveCheckpoint,
    SaveEvidence,
    SaveRollups,
)
from agentd.core.records import Durable, Record
from agentd.store import baselines, checkpoints, fleet_spending, incidents, outbox, rollups
from agentd.store.rows import (
    AlertRow,
    DeliveryRow,
    MarkRow,
    RequestRow,
    Row,
    SpawnEnded,
    SpawnIntent,
    SpawnRow,
    Stamp,
)
from agentd.store.snapshots import Moment, decode, encode

MESSAGE_CHARS_MAX: Final = 4_096
DATA_BYTES_MAX: Final = 256 << 10

_EVENT: Final = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_AGENT: Final = "REPLACE INTO agents VALUES (?, ?, ?, ?, ?, ?)"
_REQUEST: Final = "REPLACE INTO requests VALUES (?, ?, ?, ?, ?, ?)"
_INTENT: Final = (
    "REPLACE INTO spawns (agent, incarnation, incarnation_id, reason, wall_ms)"
    " VALUES (?, ?, ?, ?, ?)"
)
# The reason stays that of the intent.
_SPAWN: Final = (
    "INSERT INTO spawns (agent, incarnation, incarnation_id, token, pid, start_time,"
    " pidfd_inode, boot_id, cgroup, wall_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (agent, incarnation) DO UPDATE SET incarnation_id = excluded.incarnation_id,"
    " token = excluded.token, pid = excluded.pid, start_time = excluded.start_time,"
    " pidfd_inode = excluded.pidfd_inode, boot_id = excluded.boot_id,"
    " cgroup = excluded.cgroup, wall_ms = excluded.wall_ms, ended_wall_ms = NULL"
)
_ENDED: Final = (
    "UPDATE spawns SET ended_wall_ms = ?, token = ''"
    " WHERE agent = ? AND incarnation = ? AND ended_wall_ms IS NULL"
)


def write(
    connection: sqlite3.Connection, rows: Iterable[Row], now: Moment, last_id: int
) -> list[Stamp]:
    """Write `rows` in order; return one stamp for each `Journal`.

    Event ids go on from `last_id` without a gap: it is read inside the transaction, and one
    that is rolled back uses none up. Raises what sqlite3 raises.
    """
    stamps: list[Stamp] = []
    journaled: list[tuple[Record, Stamp]] = []
    outgoing: list[AlertRow | DeliveryRow] = []
    for row in rows:
        if isinstance(row, Journal):
            stamp = Stamp(last_id + len(stamps) + 1, now.wall_ms)
            connection.execute(_EVENT, event_values(stamp, row.record))
            stamps.append(stamp)
            journaled.append((row.record, stamp))
        elif isinstance(row, AlertRow | DeliveryRow):
            outgoing.append(row)
        else:
            _write_state(connection, row, now)
    # An alert may stand before the record that it tells of.
    for told in outgoing:
        if isinstance(told, AlertRow):
            outbox.save(connection, told, _stamp_of(told.record, journaled, now))
        else:
            outbox.save_progress(connection, told)
    return stamps


def _stamp_of(record: Record, journaled: list[tuple[Record, Stamp]], now: Moment) -> Stamp:
    """Return the id and time of the event that an alert tells of; of none, 0 and now."""
    found = (stamp for told, stamp in reversed(journaled) if told == record)
    return next(found, Stamp(0, now.wall_ms))


def last_event_id(connection: sqlite3.Connection) -> int:
    """Return the highest id so far; 0 for none. The newest event is never deleted."""
    found = connection.execute("SELECT max(id) FROM events").fetchone()[0]
    mark = connection.execute("SELECT value FROM marks WHERE name = 'first_id'").fetchone()
    return max(int(found or 0), int(mark[0]) if mark else 0)


def event_values(stamp: Stamp, record: Record) -> tuple[object, ...]:
    """Return the columns of one event, its texts bounded and fit for the disk."""
    return (
        stamp.id,
        stamp.wall_ms,
        _text(record.agent),
        record.incarnation,
        _text(record.incarnation_id),
        _text(record.event),
        record.severity,
        _text(record.reason),
        _text(record.message[:MESSAGE_CHARS_MAX]),
        _data(record.data),
        record.incident,
    )


def checksum(name: str, durable: str) -> int:
    """Return what tells a flipped bit in an agent's row from what was written."""
    return zlib.crc32(durable.encode(), zlib.crc32(name.encode()))


def proved(name: object, text: object, crc: object) -> Durable | None:
    """Return an agent's row if it is what was written, else None."""
    if not isinstance(name, str) or not isinstance(text, str) or checksum(name, text) != crc:
        return None
    try:
        return decode(text)
    except (msgspec.MsgspecError, ValueError):
        return None


def _write_state(connection: sqlite3.Connection, row: Row, now: Moment) -> None:
    values: tuple[object, ...]
    match row:
        case Persist(agent=agent, durable=durable):
            text = encode(durable)
            values = (agent, text, checksum(agent, text), now.boot_id, now.boottime_ms, now.wall_ms)
            connection.execute(_AGENT, values)
        case Forget(agent=agent):
            connection.execute("DELETE FROM agents WHERE name = ?", (agent,))
            baselines.forget(connection, agent)
        case PersistBaseline():
            baselines.save(connection, row, now)
        case SaveCheckpoint():
            checkpoints.save(connection, row, now.wall_ms)
        case PersistIncident() | SaveEvidence() | SaveRollups() | MarkRow() | PersistSpending():
            _write_history(connection, row, now)
        case SpawnIntent():
            values = (row.agent, row.incarnation, row.incarnation_id, row.reason, now.wall_ms)
            connection.execute(_INTENT, values)
        case SpawnRow():
            connection.execute(_SPAWN, _spawn_values(row))
        case SpawnEnded():
            connection.execute(_ENDED, (now.wall_ms, row.agent, row.incarnation))
        case RequestRow():
            values = (row.uid, _text(row.id), row.cmd, row.args_hash, row.reply, row.wall_ms)
            connection.execute(_REQUEST, values)
        case _:
            raise AssertionError(row)


def _write_history(
    connection: sqlite3.Connection,
    row: PersistIncident | SaveEvidence | SaveRollups | MarkRow | PersistSpending,
    now: Moment,
) -> None:
    match row:
        case PersistIncident():
            incidents.save(connection, row, now)
        case SaveEvidence():
            incidents.save_evidence(connection, row, now.wall_ms)
        case SaveRollups():
            rollups.save(connection, row)
        case MarkRow(name=name, value=value):
            connection.execute("REPLACE INTO marks VALUES (?, ?)", (name, value))
        case PersistSpending():
            fleet_spending.save(connection, row.spending)


def _spawn_values(row: SpawnRow) -> tuple[object, ...]:
    return (
        row.agent,
        row.incarnation,
        row.incarnation_id,
        row.token,
        row.pid,
        row.start_time,
        row.pidfd_inode,
        row.boot_id,
        row.cgroup,
        row.wall_ms,
    )


def _text(text: str | None) -> str | None:
    return None if text is None else str(encodable(text))


def _data(data: dict[str, object]) -> str:
    try:
        encoded = msgspec.json.encode(data, enc_hook=plain)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(encodable(data), enc_hook=plain)
    if len(encoded) > DATA_BYTES_MAX:
        encoded = msgspec.json.encode({"dropped": f"{len(encoded)} bytes of data were too many"})
    return encoded.decode()
