"""Incidents and their evidence: one row each, an index of their agents, and their moments.

A record's times are BOOTTIME, as those of an agent are. What people read is the wall clock:
each moment is taken over to it once, when it is first written, and kept, so that neither a
clock that is set nor a reboot moves what has happened.
"""

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from agentd.config.encodable import encodable, plain
from agentd.core.effects import PersistIncident, SaveEvidence
from agentd.core.records import IncidentRecord
from agentd.store.connection import open_reader
from agentd.store.globs import named
from agentd.store.rows import EvidenceRow, IncidentRow
from agentd.store.snapshots import Carrying, Moment, Times, mended

INCIDENTS_MAX: Final = 10_000
# What may be opened again: trouble returns within `stable_after`, a quarter of an hour by default.
RESOLVED_LATELY_MS: Final = 86_400_000
RESOLVED_LATELY_MAX: Final = 200
INCIDENT_MARK: Final = "incident"

# Of one look; what is larger loses its largest parts.
EVIDENCE_BYTES_MAX: Final = 256 << 10
# Of one incident: the first looks, which saw it begin, and the last ones.
EVIDENCE_MAX: Final = 20
EVIDENCE_FIRST: Final = 10
_LEVEL: Final = 1

_MOMENTS: Final = ("began", "opened", "recovered", "resolved", "acknowledged")
_WALL: Final = ", ".join(f"{name}_wall_ms" for name in _MOMENTS)
_ROW: Final = f"record, crc, boot_id, boottime_ms, wall_ms, {_WALL}"
_SAVE: Final = (
    f"REPLACE INTO incidents (number, {_ROW},"  # noqa: S608 - words of ours
    " cause, severity, size_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
RESOLVED_LATELY: Final = (
    f"SELECT number, {_ROW} FROM incidents WHERE resolved_wall_ms >= ?"  # noqa: S608 - words of ours
    " ORDER BY resolved_wall_ms DESC LIMIT ?"
)
_AGENT: Final = "INSERT OR IGNORE INTO incident_agents VALUES (?, ?)"
_MARK: Final = (
    "INSERT INTO marks VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)"
)
_LOOK: Final = (
    "INSERT INTO evidence (incident, agent, kind, wall_ms, size_bytes, data)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_TRIM: Final = (
    "DELETE FROM evidence WHERE incident = ?1"
    " AND id NOT IN (SELECT id FROM evidence WHERE incident = ?1 ORDER BY id LIMIT ?2)"
    " AND id NOT IN (SELECT id FROM evidence WHERE incident = ?1 ORDER BY id DESC LIMIT ?3)"
)
_ENCODER: Final = msgspec.json.Encoder(enc_hook=plain)


def _plain_or_text(value: object) -> int | str:
    """Return a unit's integer; one odd value of a look is no reason to lose the look."""
    return int(value) if isinstance(value, int) else str(value)


_EVIDENCE_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain_or_text)
_DECODER: Final = msgspec.json.Decoder(IncidentRecord)

_Walls = tuple[int | None, ...]


def save(connection: sqlite3.Connection, row: PersistIncident, now: Moment) -> None:
    """Write an incident as it is now, its moments by the wall clock as they first were."""
    incident = row.incident
    text = _encoded(incident)
    moment = (now.boot_id, now.boottime_ms, now.wall_ms)
    written = (incident.number, text, checksum(incident.number, text), *moment)
    walls = _walls(connection, incident, now)
    connection.execute(_SAVE, (*written, *walls, *_copied(incident, text)))
    _write_agents(connection, incident)
    connection.execute(_MARK, (INCIDENT_MARK, incident.number))


def save_evidence(connection: sqlite3.Connection, row: SaveEvidence, wall_ms: int) -> None:
    """Write one look, bounded, and delete what is too many of its incident."""
    data = zlib.compress(_bounded(row.evidence), _LEVEL)
    connection.execute(_LOOK, (row.incident, row.agent, row.kind, wall_ms, len(data), data))
    last = EVIDENCE_MAX - EVIDENCE_FIRST
    connection.execute(_TRIM, (row.incident, EVIDENCE_FIRST, last))


def incidents(
    path: Path, *, agents: Sequence[str] = (), open_only: bool = False, limit: int = 100
) -> list[IncidentRow]:
    """Return incidents, the newest first; `agents` are names or globs, empty means all."""
    query, values = incidents_query(agents=agents, open_only=open_only)
    with closing(open_reader(path)) as connection:
        rows = connection.execute(query, (*values, min(limit, INCIDENTS_MAX))).fetchall()
    return [found for found in map(_incident_row, rows) if found is not None]


def incidents_query(*, agents: Sequence[str], open_only: bool) -> tuple[str, list[object]]:
    """Return the SQL for incidents and its values but the limit; only `?` carry data."""
    where: list[str] = []
    values: list[object] = []
    if open_only:
        where.append("resolved_wall_ms IS NULL")
    if agents:
        text, values = named("agent", agents)
        where.append(f"number IN (SELECT number FROM incident_agents WHERE {text})")  # noqa: S608 - no data
    wanted = f" WHERE {' AND '.join(where)}" if where else ""
    query = f"SELECT number, {_ROW} FROM incidents{wanted} ORDER BY number DESC LIMIT ?"  # noqa: S608 - no data
    return query, values


def incident(path: Path, number: int) -> IncidentRow | None:
    """Return one incident; None: there is none, or its row is not what was written."""
    query = f"SELECT number, {_ROW} FROM incidents WHERE number = ?"  # noqa: S608 - words of ours
    with closing(open_reader(path)) as connection:
        row = connection.execute(query, (number,)).fetchone()
    return None if row is None else _incident_row(row)


def open_incidents(path: Path, now: Moment) -> list[IncidentRecord]:
    """Return what is not resolved, oldest first, in time of this boot."""
    query, _ = incidents_query(agents=(), open_only=True)
    return _read(path, query, (INCIDENTS_MAX,), now)


def resolved_lately(path: Path, now: Moment) -> list[IncidentRecord]:
    """Return what was resolved within the last day, oldest end first, in time of this boot."""
    values = (now.wall_ms - RESOLVED_LATELY_MS, RESOLVED_LATELY_MAX)
    return _read(path, RESOLVED_LATELY, values, now)


def _read(path: Path, query: str, values: Sequence[int], now: Moment) -> list[IncidentRecord]:
    """Return what a query finds that has the newest first, in the other order."""
    with closing(open_reader(path)) as connection:
        rows = connection.execute(query, values).fetchall()
    found: list[IncidentRecord] = []
    for number, text, crc, boot_id, boottime_ms, wall_ms, *_ in reversed(rows):
        record = proved(number, text, crc)
        if record is not None:
            written = Moment(boot_id, boottime_ms, wall_ms)
            found.append(_carried_over(record, Carrying(written, now)))
    return found


def last_incident(connection: sqlite3.Connection) -> int:
    """Return the highest number that was ever given to an incident; 0: none was."""
    found = connection.execute("SELECT max(number) FROM incidents").fetchone()[0]
    mark = connection.execute("SELECT value FROM marks WHERE name = ?", (INCIDENT_MARK,)).fetchone()
    return max(int(found or 0), int(mark[0]) if mark else 0)


def evidence(path: Path, number: int) -> list[EvidenceRow]:
    """Return what was seen of an incident, oldest first; damaged rows are left out."""
    query = "SELECT agent, kind, wall_ms, data FROM evidence WHERE incident = ? ORDER BY id"
    with closing(open_reader(path)) as connection:
        rows = connection.execute(query, (number,)).fetchall()
    found = []
    for agent, kind, wall_ms, data in rows:
        seen = _unpacked(data)
        if seen is not None:
            found.append(EvidenceRow(number, agent, kind, wall_ms, seen))
    return found


def checksum(number: int, record: str) -> int:
    """Return what tells a flipped bit in an incident's row from what was written."""
    return zlib.crc32(record.encode(), zlib.crc32(str(number).encode()))


def proved(number: object, text: object, crc: object) -> IncidentRecord | None:
    """Return an incident's row if it is what was written, else None."""
    if not isinstance(number, int) or not isinstance(text, str) or checksum(number, text) != crc:
        return None
    try:
        return _DECODER.decode(text)
    except (msgspec.MsgspecError, ValueError):
        return None


def mended_row(row: Sequence[object], now_wall_ms: int) -> tuple[object, ...] | None:
    """Return a row, as wide as its table, with nothing spoilt in it; None: nothing proves it.

    What the record tells is taken from there, and a moment by the wall clock that can't be read
    is reckoned anew, as when it was first written.
    """
    record = proved(*row[:3])
    if record is None:
        return None
    times = Times()
    _carried_over(record, times)
    written = mended(row[3:6], times, now_wall_ms)
    walls: list[int | None] = []
    for at_ms, wall_ms in zip(_moments(record), row[-len(_MOMENTS) :], strict=True):
        if at_ms is None:
            walls.append(None)
        elif isinstance(wall_ms, int):
            walls.append(wall_ms)
        else:
            walls.append(written.wall_ms - (written.boottime_ms - at_ms))
    moment = (written.boot_id, written.boottime_ms, written.wall_ms)
    return (*row[:3], *moment, *_copied(record, str(row[1])), *walls)


def write_agents(connection: sqlite3.Connection) -> None:
    """Write the index of agents anew from the incidents that are there."""
    rows = connection.execute("SELECT number, record, crc FROM incidents").fetchall()
    for row in rows:
        record = proved(*row)
        if record is not None:
            _write_agents(connection, record)


def _write_agents(connection: sqlite3.Connection, incident: IncidentRecord) -> None:
    agents = dict.fromkeys(filter(None, (incident.agent, *incident.agents)))
    connection.executemany(_AGENT, [(agent, incident.number) for agent in agents]).close()


def _copied(incident: IncidentRecord, text: str) -> tuple[str, str, int]:
    """Return what stands in columns of its own beside the record `text`."""
    return str(encodable(incident.cause)), incident.severity, len(text)


def _moments(incident: IncidentRecord) -> tuple[int | None, ...]:
    return (
        incident.began_at_ms,
        incident.opened_at_ms,
        incident.recovered_at_ms,
        incident.resolved_at_ms,
        incident.acknowledged_at_ms,
    )


def _walls(connection: sqlite3.Connection, incident: IncidentRecord, now: Moment) -> _Walls:
    """Take the moments over to the wall clock; those that stood there before stay.

    One that the same boot wrote with another time is another moment: of a second recovery.
    """
    query = f"SELECT {_ROW} FROM incidents WHERE number = ?"  # noqa: S608 - words of ours
    row = connection.execute(query, (incident.number,)).fetchone()
    before: _Walls = row[5:] if row else (None,) * len(_MOMENTS)
    told = proved(incident.number, row[0], row[1]) if row else None
    same_boot = told is not None and row[2] == now.boot_id
    were = _moments(told) if told is not None and same_boot else None
    walls: list[int | None] = []
    for place, at_ms in enumerate(_moments(incident)):
        if at_ms is None:
            walls.append(None)
        elif before[place] is not None and (were is None or were[place] == at_ms):
            walls.append(before[place])
        else:
            walls.append(now.wall_ms - (now.boottime_ms - at_ms))
    return tuple(walls)


def _carried_over(incident: IncidentRecord, carrying: Carrying) -> IncidentRecord:
    members = tuple(
        replace(
            member,
            joined_at_ms=carrying.past(member.joined_at_ms),
            well_since_ms=carrying.moved(member.well_since_ms),
            told_at_ms=carrying.past(member.told_at_ms),
            left_at_ms=carrying.moved(member.left_at_ms),
        )
        for member in incident.members
    )
    return replace(
        incident,
        members=members,
        began_at_ms=carrying.past(incident.began_at_ms),
        opened_at_ms=carrying.past(incident.opened_at_ms),
        recovered_at_ms=carrying.moved(incident.recovered_at_ms),
        resolved_at_ms=carrying.moved(incident.resolved_at_ms),
        acknowledged_at_ms=carrying.moved(incident.acknowledged_at_ms),
        remind_at_ms=carrying.due(incident.remind_at_ms),
    )


def _incident_row(row: Sequence[object]) -> IncidentRow | None:
    number, text, crc, _, _, _, *walls = row
    record = proved(number, text, crc)
    began, opened, recovered, resolved, acknowledged = (
        each if isinstance(each, int) else None for each in walls
    )
    if record is None or began is None or opened is None:
        return None
    return IncidentRow(record, began, opened, recovered, resolved, acknowledged)


def _encoded(incident: IncidentRecord) -> str:
    try:
        return _ENCODER.encode(incident).decode()
    except UnicodeEncodeError:
        builtins = msgspec.to_builtins(incident, enc_hook=plain)
        return _ENCODER.encode(encodable(builtins)).decode()


def _bounded(seen: Mapping[str, object]) -> bytes:
    """Return evidence as JSON within its bound: the largest parts go first, and say so."""
    parts = dict(seen)
    text = _packed(parts)
    if len(text) <= EVIDENCE_BYTES_MAX:
        return text
    sizes = {key: len(_packed({key: part})) for key, part in parts.items()}
    for key in sorted(sizes, key=lambda each: sizes[each], reverse=True):
        parts[key] = f"dropped: {sizes[key]} bytes were too many"
        text = _packed(parts)
        if len(text) <= EVIDENCE_BYTES_MAX:
            return text
    return _packed({"dropped": f"{len(parts)} parts were too many"})


def _packed(parts: Mapping[str, object]) -> bytes:
    try:
        return _EVIDENCE_ENCODER.encode(parts)
    except UnicodeEncodeError:
        return _EVIDENCE_ENCODER.encode(encodable(dict(parts)))


def _unpacked(data: object) -> dict[str, object] | None:
    if not isinstance(data, bytes):
        return None
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(data, EVIDENCE_BYTES_MAX)
        found = msgspec.json.decode(text) if unpacking.eof else None
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
