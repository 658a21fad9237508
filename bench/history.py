"""The store when it is old: a million events, and a year of fifty agents by the minute.

    make bench f=history
    .venv/bin/python bench/history.py --days 30      a shorter year, and nothing else

The year goes through the writer's own SQL, a day a transaction, and is folded as it comes, as a
daemon would fold it; what takes a daemon a year takes some minutes here.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from daemons import Agentd

from agentd.core.effects import Journal
from agentd.core.records import Record, Rollup
from agentd.core.tally import LATENCY_BUCKETS
from agentd.store import rollups
from agentd.store.connection import open_writer
from agentd.store.reader import Reader
from agentd.store.retention import Bounds, tidy, used_bytes
from agentd.store.schema import migrate
from agentd.store.snapshots import Moment
from agentd.store.statements import write
from agentd.store.store import FILE_NAME

EVENTS = 1_000_000
EVENTS_DAYS = 300
WEEK_DAYS = 7
# So many events share a moment, as those of one group commit do.
GROUP = 10
MINUTE_MS = 60_000
DAY_MINUTES = 1_440
DAY_MS = DAY_MINUTES * MINUTE_MS
# What a journal is mostly made of: restarts and what leads there, checkpoints, warnings.
_TOLD = (
    *(("agent.starting", None), ("agent.started", None), ("agent.ready", None)),
    *(("agent.healthy", None), ("agent.degraded", None), ("agent.exited", "CRASHED")),
    *(("agent.cooldown", "CRASHED"), ("agent.restarting", "CRASHED"), ("agent.recovered", None)),
    *(("agent.checkpoint", None), ("latency.warning", None), ("cost.spike", "LOOP_DETECTED")),
)


@dataclass(frozen=True, slots=True)
class Growth:
    """The store at the end of one day."""

    day: int
    rows: int
    used_bytes: int
    file_bytes: int


def journal(path: Path, count: int, days: float, now_ms: int) -> None:
    """Make a store whose events came evenly over the last days."""
    draw = random.Random(count)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(open_writer(path)) as connection:
        migrate(connection, path)
        path.chmod(0o600)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        for first in range(0, count, GROUP):
            at_ms = now_ms - int((count - first) * days * DAY_MS / count)
            rows = [Journal(_record(draw)) for _ in range(min(GROUP, count - first))]
            write(connection, rows, Moment("bench", 0, at_ms), first)
        connection.execute("COMMIT")


def _record(draw: random.Random) -> Record:
    event, reason = draw.choice(_TOLD)
    agent = f"a{draw.randrange(50)}"
    message = f"{agent}: what happened, in a sentence that a person can act on ({draw.random()})"
    incarnation = draw.randrange(1, 500)
    data: dict[str, object] = {"code": 1, "uptime_ms": draw.randrange(1 << 30)}
    return Record(event, "info", message, agent, incarnation, f"i{incarnation}", reason, data)


class Furnished(Agentd):
    """A daemon that begins with a store of events."""

    source: Path

    def configure(self) -> None:
        super().configure()
        state = self.home / "state"
        state.mkdir(mode=0o700)
        shutil.copy2(self.source, state / FILE_NAME)


def asked_ms(daemons: list[Agentd], *words: str, rounds: int = 15) -> list[float]:
    """What a command takes at each daemon, median, turn by turn."""
    took: list[list[float]] = [[] for _ in daemons]
    for _ in range(rounds):
        for daemon, mine in zip(daemons, took, strict=True):
            began = time.perf_counter()
            subprocess.run(daemon.ctl(*words), capture_output=True, check=False, timeout=60)
            mine.append((time.perf_counter() - began) * 1e3)
    return [statistics.median(mine) for mine in took]


def week_ms(path: Path, now_ms: int, rounds: int = 5) -> tuple[float, int]:
    """What the lives of the last week take to read, in CPU, and how many events that is."""
    reader = Reader(path, "bench")
    took: list[float] = []
    found = 0
    for _ in range(rounds):
        began = time.process_time()
        since_ms = now_ms - WEEK_DAYS * DAY_MS
        found = len(reader.lifecycle(since_wall_ms=since_ms, until_wall_ms=now_ms))
        took.append((time.process_time() - began) * 1e3)
    return statistics.median(took), found


def minutes(agents: list[str], draw: random.Random) -> list[tuple[object, ...]]:
    """Return what all of them did in some minute, as the columns behind its time."""
    rows = []
    for agent in agents:
        counts = [draw.choice((0, 0, 1, 3)) for _ in range(LATENCY_BUCKETS)]
        rollup = Rollup(
            agent,
            0,
            heartbeats=draw.randrange(6),
            cycles=draw.randrange(6),
            tokens=draw.randrange(90_000),
            cost_micros=draw.randrange(400_000),
            successes=draw.randrange(6),
            failures=draw.randrange(2),
            latency_counts=tuple(counts),
            rss_min_bytes=draw.randrange(100 << 20, 200 << 20),
            rss_max_bytes=draw.randrange(200 << 20, 300 << 20),
            healthy_ms=MINUTE_MS,
        )
        rows.append(rollups.columns(rollup)[1:])
    return rows


def year(path: Path, agents: int, days: int) -> Iterator[Growth]:
    """Feed every minute of `days` days; tell how large the store is at the end of each."""
    names = [f"worker-{number:02}-eu-west" for number in range(agents)]
    draw = random.Random(agents)
    # The same hundred and twenty minutes again and again: drawing them would take longer.
    pool = [minutes(names, draw) for _ in range(120)]
    first = 20_000 * DAY_MINUTES
    with closing(open_writer(path)) as connection:
        migrate(connection, path)
        # The size is what is asked for, and not how often this disk can flush.
        connection.execute("PRAGMA synchronous = OFF")
        for day in range(days):
            connection.execute("BEGIN IMMEDIATE")
            for begins in range(first + day * DAY_MINUTES, first + (day + 1) * DAY_MINUTES):
                rows = pool[begins % len(pool)]
                connection.executemany(rollups.SAVE, [(begins, *row) for row in rows]).close()
            connection.execute("COMMIT")
            while tidy(connection, Bounds(), (first + (day + 1) * DAY_MINUTES) * MINUTE_MS):
                pass
            kept = connection.execute("SELECT count(*) FROM rollups").fetchone()[0]
            yield Growth(day + 1, kept, used_bytes(connection), path.stat().st_size)


def show_year(agents: int, days: int) -> Growth:
    """Print how the store grows, ten times over the year; return how it ends."""
    with tempfile.TemporaryDirectory(prefix="bench-year-") as home:
        growth = None
        largest = 0
        for growth in year(Path(home) / "year.db", agents, days):
            largest = max(largest, growth.file_bytes)
            if growth.day in (1, 2, 3, 7, 30, 61, days) or growth.day % 60 == 0:
                print(
                    f"    day {growth.day:3}: {agents * DAY_MINUTES * growth.day:10,} minutes fed,"
                    f" {growth.rows:7,} rows kept, {growth.file_bytes / 2**20:6.1f} MB",
                    flush=True,
                )
    assert growth is not None
    return Growth(growth.day, growth.rows, growth.used_bytes, largest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--days", type=int, default=365)
    arguments = parser.parse_args()
    began = time.perf_counter()
    growth = show_year(arguments.agents, arguments.days)
    print(
        f"{growth.file_bytes / 2**20:.1f} MB at most, {growth.used_bytes / growth.rows:.0f} bytes"
        f" a row, in {time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
