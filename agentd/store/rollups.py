"""What agents did, minute by minute; of older times by the hour, and then by the day.

One table, a column a figure: SQLite writes a small number in as few bytes, and sums up in one
statement. Rows of the same agent and time add up, so that two daemons may share a minute, and
a chunk that was folded already takes what comes late. Latencies are a packed list of counts.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Literal

from agentd.core.effects import SaveRollups
from agentd.core.records import Rollup
from agentd.store import counts
from agentd.store.connection import open_reader
from agentd.store.globs import named

Span = Literal["minute", "hour", "day"]

_MINUTE_MS: Final = 60_000
_DAY_MINUTES: Final = 1_440
# The spans that are kept, in minutes, as the column has them.
SPANS: Final[dict[Span, int]] = {"minute": 1, "hour": 60, "day": _DAY_MINUTES}
# How long minutes and hours stay what they are: people look at two days by the minute, and the
# report compares the hours of two months.
_FOLDED_AFTER_MINUTES: Final = ((1, 60, 2 * _DAY_MINUTES), (60, _DAY_MINUTES, 60 * _DAY_MINUTES))
# One chunk takes some ten milliseconds, and a commit waits no longer than that.
FOLD_CHUNK: Final = 2_000
DELETE_CHUNK: Final = 2_000
ROLLUPS_MAX: Final = 200_000

_SUMMED: Final = (
    "heartbeats", "cycles", "tokens", "cost_micros", "unpriced", "successes", "failures",
    "restarts", "healthy_ms", "degraded_ms", "unreachable_ms", "unknown_ms", "down_ms", "rest_ms",
)  # fmt: skip
_COLUMNS: Final = (*_SUMMED, "rss_min_bytes", "rss_max_bytes", "latency_counts")
_NAMES: Final = ", ".join(_COLUMNS)
_FIGURES: Final = attrgetter(*_COLUMNS[:-1])
_SUMS: Final = (
    ", ".join(f"sum({name})" for name in _SUMMED)
    + ", min(rss_min_bytes), max(rss_max_bytes), sum_counts(latency_counts)"
)
_ADDED: Final = (
    "ON CONFLICT (span, begins, agent) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMMED)
    # min() and max() of two are NULL where either is.
    + ", rss_min_bytes = coalesce(min(rss_min_bytes, excluded.rss_min_bytes),"
    " rss_min_bytes, excluded.rss_min_bytes)"
    ", rss_max_bytes = coalesce(max(rss_max_bytes, excluded.rss_max_bytes),"
    " rss_max_bytes, excluded.rss_max_bytes)"
    ", latency_counts = add_counts(latency_counts, excluded.latency_counts)"
)
SAVE: Final = (
    f"INSERT INTO rollups (span, begins, agent, {_NAMES})"  # noqa: S608 - words of ours
    f" VALUES (1, ?, ?, {', '.join('?' * len(_COLUMNS))}) {_ADDED}"
)
_FOLD: Final = (
    f"INSERT INTO rollups (span, begins, agent, {_NAMES})"  # noqa: S608 - words of ours
    f" SELECT :target, begins - begins % :target, agent, {_SUMS} FROM rollups"
    " WHERE span = :source AND begins >= :first AND begins < :until GROUP BY 2, 3"
    f" {_ADDED}"
)
_FOLDED: Final = "DELETE FROM rollups WHERE span = ? AND begins >= ? AND begins < ?"
_FIRST: Final = "SELECT min(begins) FROM rollups WHERE span = ?"
_END_OF_CHUNK: Final = (
    "SELECT begins FROM rollups WHERE span = ? AND begins >= ? ORDER BY begins LIMIT 1 OFFSET ?"
)
_OLD: Final = (
    "DELETE FROM rollups WHERE (span, begins, agent) IN (SELECT span, begins, agent FROM rollups"
    " WHERE span = ? AND begins < ? ORDER BY begins LIMIT ?)"
)


def save(connection: sqlite3.Connection, row: SaveRollups) -> None:
    """Write what agents did in one minute, or add it to what is known of that minute."""
    connection.executemany(SAVE, map(columns, row.rollups)).close()


def fold(connection: sqlite3.Connection, wall_ms: int) -> bool:
    """Fold one chunk of minutes into hours, or of hours into days; True if there may be more.

    Inside the caller's transaction: what is folded is there and its parts are gone, or neither.
    """
    for source, target, kept_minutes in _FOLDED_AFTER_MINUTES:
        ends = wall_ms // _MINUTE_MS - kept_minutes
        ends -= ends % target
        first = connection.execute(_FIRST, (source,)).fetchone()[0]
        if first is None or first >= ends:
            continue
        beyond = connection.execute(_END_OF_CHUNK, (source, first, FOLD_CHUNK)).fetchone()
        # Of one moment all agents at once, however many they are.
        until = min(ends, max(first + source, beyond[0]) if beyond else ends)
        span = {"source": source, "target": target, "first": first, "until": until}
        connection.execute(_FOLD, span).close()
        connection.execute(_FOLDED, (source, first, until)).close()
        return True
    return False


def forget_old(connection: sqlite3.Connection, until_wall_ms: int) -> bool:
    """Delete a chunk of what lies before; True if there may be more."""
    until = until_wall_ms // _MINUTE_MS
    deleted = 0
    for span in SPANS.values():
        # What began before and ends after stays.
        values = (span, until - span + 1, DELETE_CHUNK)
        deleted = max(deleted, connection.execute(_OLD, values).rowcount)
    return deleted >= DELETE_CHUNK


def forget_oldest(connection: sqlite3.Connection) -> bool:
    """Delete a chunk of the longest spans that are left; False: there are none."""
    for span in reversed(SPANS.values()):
        if connection.execute(_OLD, (span, 1 << 62, DELETE_CHUNK)).rowcount:
            return True
    return False


def rollups(
    path: Path,
    *,
    agents: Sequence[str],
    since_wall_ms: int,
    until_wall_ms: int,
    span: Span | int,
) -> list[Rollup]:
    """Return what agents did within [since, until), by time and then by agent.

    Shorter spans are folded up to `span`, a kept one or any number of minutes; where only longer
    ones are kept, those are what comes: each is told at its beginning, which is one of UTC.
    `agents` are names or globs.
    """
    query, values = rollups_query(agents)
    until = -(-until_wall_ms // _MINUTE_MS)
    minutes = span if isinstance(span, int) else SPANS[span]
    asked = (minutes, since_wall_ms // _MINUTE_MS, until, *values)
    with closing(open_reader(path)) as connection:
        counts.prepare(connection)
        return [_rollup(row) for row in connection.execute(query, asked)]


def rollups_query(agents: Sequence[str]) -> tuple[str, list[object]]:
    """Return the SQL for them, and its values but the span, since and until (minutes)."""
    text, values = named("agent", agents)
    more = f" AND {text}" if text else ""
    wanted = "begins - begins % max(span, ?)"
    spans = ", ".join(str(span) for span in SPANS.values())
    query = (
        f"SELECT {wanted}, agent, {_SUMS} FROM rollups"  # noqa: S608 - words of ours
        f" WHERE span IN ({spans}) AND begins >= ? AND begins < ?{more}"
        f" GROUP BY 1, 2 ORDER BY 1, 2 LIMIT {ROLLUPS_MAX}"
    )
    return query, values


def columns(rollup: Rollup) -> tuple[object, ...]:
    """Return one minute of one agent as the values of `SAVE`: its time first, in minutes."""
    latencies = counts.pack(rollup.latency_counts) if rollup.latency_counts else None
    begins = rollup.begins_ms // _MINUTE_MS
    return (begins, rollup.agent, *_FIGURES(rollup), latencies)


def _rollup(row: Sequence[object]) -> Rollup:
    begins, agent, *figures, latencies = row
    assert isinstance(begins, int)
    told: dict[str, Any] = dict(zip(_COLUMNS[:-1], figures, strict=True))
    told["latency_counts"] = counts.unpack(latencies)
    return Rollup(str(agent), begins * _MINUTE_MS, **told)
