"""Alerts before their first attempt, and how far each has come at each sink."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from agentd.config.encodable import encodable, plain
from agentd.core.records import Record
from agentd.store.connection import open_reader
from agentd.store.rows import AlertRow, Delivery, DeliveryRow, Stamp

WAITING: Final = "waiting"
DELIVERIES_MAX: Final = 10_000
ERROR_CHARS_MAX: Final = 1_000
# What a sink is told of an event is a message, not a dump; the journal has all of it. A daily
# report of fifty agents fits.
RECORD_BYTES_MAX: Final = 256 << 10
MESSAGE_CHARS_MAX: Final = 4_096

# Told again after a disk that failed, it may be there already.
_ALERT: Final = (
    "INSERT INTO alerts (uid, wall_ms, kind, severity, dedup_key, incident, event_id,"
    " size_bytes, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (uid) DO NOTHING RETURNING id"
)
_DELIVERY: Final = "REPLACE INTO deliveries VALUES (?, ?, ?, 0, ?, '')"
_PROGRESS: Final = (
    "UPDATE deliveries SET state = ?, attempts = ?, next_wall_ms = ?, error = ?"
    " WHERE alert = (SELECT id FROM alerts WHERE uid = ?) AND sink = ?"
)
_COLUMNS: Final = (
    "alerts.uid, alerts.kind, alerts.severity, alerts.record, alerts.dedup_key, alerts.incident,"
    " (SELECT json_group_array(sink) FROM deliveries AS every WHERE every.alert = alerts.id),"
    " alerts.event_id, alerts.wall_ms, deliveries.sink, deliveries.state, deliveries.attempts,"
    " deliveries.next_wall_ms, deliveries.error"
)
_ENCODER: Final = msgspec.json.Encoder(enc_hook=plain)
_DECODER: Final = msgspec.json.Decoder(Record)
_SINKS: Final = msgspec.json.Decoder(tuple[str, ...])


def save(connection: sqlite3.Connection, row: AlertRow, stamp: Stamp) -> None:
    """Write an alert and one delivery a sink, due now; `stamp` is that of its event."""
    text = _encoded(row.record)
    values = (row.uid, stamp.wall_ms, row.kind, row.severity, row.dedup_key, row.incident)
    found = connection.execute(_ALERT, (*values, stamp.id, len(text), text)).fetchall()
    if found:
        told = [(found[0][0], sink, WAITING, stamp.wall_ms) for sink in dict.fromkeys(row.sinks)]
        connection.executemany(_DELIVERY, told).close()


def save_progress(connection: sqlite3.Connection, row: DeliveryRow) -> None:
    """Write how far an alert has come; one that is not there any more changes nothing."""
    error = str(encodable(row.error[:ERROR_CHARS_MAX]))
    values = (row.state, row.attempts, row.next_wall_ms, error, row.uid, row.sink)
    connection.execute(_PROGRESS, values)


def deliveries(
    path: Path, states: Sequence[str], limit: int, sink: str | None = None
) -> list[Delivery]:
    """Return deliveries in one of these states, in the order of their alerts; of one sink
    alone, or of all.
    """
    query = deliveries_query(states, of_one_sink=sink is not None)
    whose = () if sink is None else (sink,)
    with closing(open_reader(path)) as connection:
        values = (*whose, *states, min(limit, DELIVERIES_MAX))
        rows = connection.execute(query, values).fetchall()
    return [found for found in map(_delivery, rows) if found is not None]


def deliveries_query(states: Sequence[str], *, of_one_sink: bool = False) -> str:
    """Return the SQL for deliveries; the sink, the states and the limit are its values."""
    whose = "deliveries.sink = ? AND " if of_one_sink else ""
    return (
        f"SELECT {_COLUMNS} FROM deliveries JOIN alerts ON alerts.id = deliveries.alert"  # noqa: S608 - words of ours
        f" WHERE {whose}deliveries.state IN ({', '.join('?' * len(states))})"
        " ORDER BY deliveries.alert, deliveries.sink LIMIT ?"
    )


def alert_counts(path: Path) -> dict[str, dict[str, int]]:
    """Return how many deliveries each sink has in each state."""
    counts: dict[str, dict[str, int]] = {}
    query = "SELECT sink, state, count(*) FROM deliveries GROUP BY sink, state"
    with closing(open_reader(path)) as connection:
        for sink, state, count in connection.execute(query):
            counts.setdefault(sink, {})[state] = count
    return counts


def _encoded(record: Record) -> str:
    text = _packed(record)
    if len(text) > RECORD_BYTES_MAX:
        data: dict[str, object] = {"dropped": f"{len(text)} bytes were too many"}
        text = _packed(replace(record, message=record.message[:MESSAGE_CHARS_MAX], data=data))
    return text.decode()


def _packed(record: Record) -> bytes:
    try:
        return _ENCODER.encode(record)
    except UnicodeEncodeError:
        return _ENCODER.encode(encodable(msgspec.to_builtins(record, enc_hook=plain)))


def _delivery(row: Sequence[object]) -> Delivery | None:
    """Return one delivery; None where its alert can't be read any more."""
    uid, kind, severity, text, dedup_key, incident, sinks, *rest = row
    event_id, wall_ms, sink, state, attempts, next_wall_ms, error = rest
    try:
        record, told = _DECODER.decode(str(text)), _SINKS.decode(str(sinks))
    except (msgspec.MsgspecError, ValueError):
        return None
    if not (isinstance(event_id, int) and isinstance(wall_ms, int)):
        return None
    if not (isinstance(attempts, int) and isinstance(next_wall_ms, int)):
        return None
    number = incident if isinstance(incident, int) else None
    alert = AlertRow(str(uid), str(kind), str(severity), record, str(dedup_key), told, number)
    progress = DeliveryRow(str(uid), str(sink), str(state), attempts, next_wall_ms, str(error))
    return Delivery(alert, event_id, wall_ms, progress)
