"""What each agent's work usually costs, one row an agent, written now and then.

Compressed, because a day of minutes is much text, and the checksum of the compression tells
damage. A row that is damaged is one that was never written: a baseline is learnt anew.
"""

import sqlite3
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from agentd.core.effects import PersistBaseline
from agentd.core.records import Baseline
from agentd.store.connection import open_reader
from agentd.store.snapshots import Moment

# Beyond what any agent can have; more is not ours.
_JSON_BYTES_MAX: Final = 4 << 20
_LEVEL: Final = 1

_SAVE: Final = "REPLACE INTO baselines VALUES (?, ?, ?, ?, ?)"
_DECODER: Final = msgspec.json.Decoder(Baseline)


def save(connection: sqlite3.Connection, row: PersistBaseline, now: Moment) -> None:
    """Write an agent's baseline in place of the one before."""
    data = zlib.compress(msgspec.json.encode(row.baseline), _LEVEL)
    connection.execute(_SAVE, (row.agent, data, now.boot_id, now.boottime_ms, now.wall_ms))


def forget(connection: sqlite3.Connection, agent: str) -> None:
    """Delete the baseline of an agent that was removed."""
    connection.execute("DELETE FROM baselines WHERE agent = ?", (agent,))


def baselines(path: Path, now: Moment) -> dict[str, Baseline]:
    """Return the baselines with their time in BOOTTIME of this boot, damaged ones left out."""
    found: dict[str, Baseline] = {}
    query = "SELECT agent, data, boot_id, boottime_ms, wall_ms FROM baselines"
    with closing(open_reader(path)) as connection:
        rows = connection.execute(query).fetchall()
    for agent, data, boot_id, boottime_ms, wall_ms in rows:
        baseline = _decoded(data)
        if baseline is not None:
            found[agent] = _carried_over(baseline, Moment(boot_id, boottime_ms, wall_ms), now)
    return found


def _decoded(data: object) -> Baseline | None:
    if not isinstance(data, bytes):
        return None
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(data, _JSON_BYTES_MAX)
        return _DECODER.decode(text) if unpacking.eof else None
    except (zlib.error, msgspec.MsgspecError):
        return None


def _carried_over(baseline: Baseline, written: Moment, now: Moment) -> Baseline:
    """After a reboot the wall clock alone says how long ago it was; never in the future."""
    if written.boot_id == now.boot_id and written.boottime_ms <= now.boottime_ms:
        return baseline
    away_ms = max(0, now.wall_ms - written.wall_ms)
    at_ms = now.boottime_ms + (baseline.at_ms - written.boottime_ms) - away_ms
    return replace(baseline, at_ms=at_ms)
