"""M3 under a real daemon: what is asked of an old store is answered as fast as of a new one.

Here it holds a hundred thousand events; `make bench f=history` has the figures of a million.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import closing

from agentd.core.effects import Journal
from agentd.core.records import Record
from agentd.store.connection import open_writer
from agentd.store.schema import migrate
from agentd.store.snapshots import Moment
from agentd.store.statements import write
from agentd.store.store import FILE_NAME
from tests.faults.conftest import a_fleet
from tests.faults.guard import Fleet
from tests.faults.measures import SEEN

EVENTS = 100_000
# So many events share a moment, as those of one group commit do.
GROUP = 500
ROUNDS = 40
# An operator may ask fifty times a second; who asks more often is told to wait.
PACE_S = 0.06
# Of two medians of some milliseconds on a machine that has other work. What grew with the store
# would be a thousand times as slow.
RATIO_MAX = 3.0


def furnish(fleet: Fleet) -> None:
    """Give a fleet that isn't started yet a store of many events, of the last hours."""
    state = fleet.root / "state"
    state.mkdir(mode=0o700)
    path = state / FILE_NAME
    now_ms = int(time.time() * 1000)
    with closing(open_writer(path)) as connection:
        migrate(connection, path)
        path.chmod(0o600)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        for first in range(0, EVENTS, GROUP):
            rows = [
                Journal(Record("agent.degraded", "warning", f"event {first + number}", "old", 1))
                for number in range(GROUP)
            ]
            write(connection, rows, Moment("boot", 0, now_ms - EVENTS + first), first)
        connection.execute("COMMIT")


def medians_ms(*questions: Callable[[], object]) -> list[float]:
    """What each takes, asked in turns, so that other work on this machine meets all alike."""
    took: list[list[float]] = [[] for _ in questions]
    for _ in range(ROUNDS):
        for mine, question in zip(took, questions, strict=True):
            began = time.perf_counter()
            question()
            mine.append((time.perf_counter() - began) * 1000)
        time.sleep(PACE_S)
    return [statistics.median(mine) for mine in took]


def test_m3_an_old_store_slows_neither_status_nor_the_last_events(
    record_property: Callable[[str, object], None],
) -> None:
    with a_fleet() as old, a_fleet() as new:
        furnish(old)
        old.start()
        new.start()
        assert old.events()[-1]["id"] >= EVENTS
        status_ms, new_status_ms, last_ms, new_last_ms = medians_ms(
            lambda: old.ask("status"),
            lambda: new.ask("status"),
            lambda: old.ask("events", limit=5),
            lambda: new.ask("events", limit=5),
        )
    seen = (
        f"{EVENTS} events against none: status {status_ms:.1f} and {new_status_ms:.1f} ms, "
        f"the last events {last_ms:.1f} and {new_last_ms:.1f} ms"
    )
    record_property(SEEN, seen)
    assert status_ms < RATIO_MAX * new_status_ms, seen
    assert last_ms < RATIO_MAX * new_last_ms, seen
