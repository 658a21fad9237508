"""kill -9 of the daemon at each step of an alert, from the failure to the mark that it was sent.

The failure and its alert are one commit; the attempt comes after it, and the mark after the
receiver's 2xx. Killed anywhere in between, the next daemon sends again what is not marked: each
alert arrives at least once, in order per agent, and what comes twice bears the same key.
`make test-crash` takes each write to the disk, `make test` every fourteenth.
"""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.daemon.alert_receivers import (
    RESTLESS,
    check_arrived,
    told_ids,
    until_delivered,
    webhook,
    with_sinks,
)
from tests.daemon.harness import WAIT_S, Document
from tests.faults.forked import ForkedDaemon, ForkServer
from tests.faults.test_crash_points import POINTS_MAX, STRACE, STRIDE, Tracer
from tests.places import short_root
from tests.sinks.receiver import Received, Receiver

AGENTS = ["a", "b"]
# The thread of the store writes to the disk, those of the attempts to their sockets.
WRITES = "pwrite64"
SYNCS = "fdatasync"
SOCKETS = "connect,sendto"
BENCHES = 3


class Deadly(Receiver):
    """Kills the daemon when it has a message and has not answered it, so often."""

    def __init__(self) -> None:
        super().__init__()
        self.victims: list[ForkedDaemon] = []

    def note(self, received: Received) -> None:
        super().note(received)
        if self.victims:
            os.kill(self.victims.pop().pid, signal.SIGKILL)


class Bench:
    """A daemon with two agents that fail when told to, and a receiver."""

    def __init__(self, root: Path, receiver: Deadly, server: ForkServer) -> None:
        self.daemon, self.receiver = ForkedDaemon(root, server), receiver
        with_sinks(self.daemon, webhook("ops", receiver.url))
        for name in AGENTS:
            self.daemon.sleeper(name, RESTLESS)

    def pids(self) -> list[int]:
        """Those of both agents, once they run."""
        return [
            self.daemon.until(name, lambda s: s["state"] == "running" and s["pid"])["pid"]
            for name in AGENTS
        ]

    def failures(self) -> list[Document]:
        return [one for name in AGENTS for one in self.daemon.events(name, "agent.exited")]

    def await_end(self, before: int) -> None:
        """Wait until the daemon is dead, or a failure has arrived and all are marked."""
        process = self.daemon.process
        assert process is not None
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if process.poll() is not None:
                assert process.returncode == -signal.SIGKILL, self.daemon.log()
                return
            if len(self.receiver.accepted()) > before and self._marked():
                return
            time.sleep(0.02)
        raise AssertionError(f"neither dead nor delivered\n{self.daemon.log()}")

    def _marked(self) -> bool:
        """Look into the store itself: an answer of the daemon's is made of calls that count."""
        place = f"file:{self.daemon.root}/state/agentd.db?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as store:
            query = "SELECT count(*) FROM deliveries WHERE state = 'waiting'"
            return bool(store.execute(query).fetchone()[0] == 0)

    def _lives(self) -> bool:
        """Ask it: one that is being killed has an id until it is gone."""
        process = self.daemon.process
        assert process is not None
        try:
            self.daemon.ask("ping")
        except OSError:
            assert process.wait(WAIT_S) == -signal.SIGKILL, self.daemon.log()
        return process.poll() is None

    def kill_at(self, calls: str, points: Sequence[int]) -> int:
        """Kill the daemon at each of these calls of an alert, until it survives; how often."""
        self.daemon.start()
        for killed, point in enumerate(points):
            pids, before = self.pids(), len(self.receiver.accepted())
            with Tracer(self.daemon.pid, calls, point) as tracer:
                if not tracer.attached:
                    pytest.skip(f"no process may be traced here: {tracer.said}")
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                self.await_end(before)
            if self._lives():
                self.check((calls, "survived"))  # it is not traced any more
                return killed
            self.daemon.start()
            self.check((calls, point, self.daemon.log()[-500:]))
        raise AssertionError("it never survived")

    def check(self, story: object) -> None:
        self.pids()  # by then whatever failed is in the journal
        failed = {one["id"] for one in self.failures()}
        until_delivered(self.daemon, "ops")
        missing = failed - told_ids(self.receiver)
        assert not missing, (story, missing)
        check_arrived(self.daemon, self.receiver, AGENTS)


@contextmanager
def a_bench(server: ForkServer) -> Iterator[Bench]:
    with short_root() as root, Deadly() as receiver:
        bench = Bench(root, receiver, server)
        try:
            yield bench
        finally:
            bench.daemon.close()


@pytest.fixture
def bench(fork_server: ForkServer) -> Iterator[Bench]:
    with a_bench(fork_server) as bench:
        yield bench


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("calls", "stride"),
    [(SYNCS, 1), (WRITES, 1 if STRIDE == 1 else 2 * STRIDE), (SOCKETS, 1)],
    ids=["syncs", "writes", "sockets"],
)
def test_k8_g2_the_daemon_is_killed_at_each_system_call_of_an_alert(
    fork_server: ForkServer, calls: str, stride: int
) -> None:
    """Each point is mostly waiting, for company to an alert; so several benches share them."""
    points = range(1, POINTS_MAX, stride)

    def share(first: int) -> int:
        with a_bench(fork_server) as bench:
            return bench.kill_at(calls, points[first::BENCHES])

    with ThreadPoolExecutor(BENCHES) as pool:
        killed = sum(pool.map(share, range(BENCHES)))
    assert killed > 1, "nothing was ever hit"


@pytest.mark.timeout(120)
def test_k8_the_daemon_is_killed_while_the_receiver_has_the_message(bench: Bench) -> None:
    """What was taken and not marked comes again, and is known by its id and its key."""
    bench.daemon.start()
    for _ in range(3):
        bench.receiver.victims = [bench.daemon]
        before = len(bench.receiver.received)
        for pid in bench.pids():
            os.kill(pid, signal.SIGKILL)
        assert bench.daemon.process is not None
        bench.daemon.process.wait(WAIT_S)
        bench.daemon.start()
        bench.check(before)
    ids = [one.json()["alert_id"] for one in bench.receiver.received]
    assert len(ids) > len(set(ids)), "the same message came twice"
