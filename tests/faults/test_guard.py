"""The guard itself: a daemon that blocks, leaks and forgets is noticed by each of its looks."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from agentd.daemon import procfs
from tests.daemon import harness
from tests.faults import guard
from tests.faults.conftest import a_fleet
from tests.faults.guard import INNOCENT, Fleet
from tests.faults.measures import Idle

# Whenever the daemon is asked of itself, its loop stands still and it loses memory and a file.
PLANTED = """
import time; from agentd.daemon import facts
lost, measured = [], facts.own_rss_bytes
def spin(until):
    while time.thread_time() < until: pass
def own_rss_bytes():
    {stand}
    lost.append((b"x" * (8 << 20), open("/dev/null"))); return measured()
facts.own_rss_bytes = own_rss_bytes
"""
SPIN = "spin(time.thread_time() + 0.4)"
SLEEP = "time.sleep(0.4)"
ASKED = 3
# Beside each run a control group that nobody removes, and a child that nobody reaps.
REMAINS = """
import subprocess; from agentd.daemon import leftovers
lost = []
def leave(directory): lost.append(subprocess.Popen(["true"])); return True
leftovers._remove = leave
"""


@contextmanager
def crowded() -> Iterator[None]:
    """Two that want the same core: somebody here waits for one, all the time."""
    core = max(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    with ExitStack() as ending:
        for _ in range(2):
            hog = ending.enter_context(subprocess.Popen([harness.PYTHON, "-S", "-c", code]))
            ending.callback(hog.kill)
        yield


def planted(fleet: Fleet, idle: Idle, stand: str) -> Fleet:
    """A daemon that stands still so whenever it is asked of itself."""
    fleet.run = PLANTED.format(stand=stand) + fleet.run
    fleet.idle_files, fleet.idle_bytes = idle.files, idle.anonymous_bytes
    return fleet.start()


def test_the_guard_notices_a_daemon_that_blocks_and_leaks(
    monkeypatch: pytest.MonkeyPatch, idle: Idle
) -> None:
    with a_fleet() as fleet:
        planted(fleet, idle, SPIN)
        for _ in range(ASKED):
            fleet.ask("status", timeout_s=15)
        with pytest.raises(AssertionError, match="the loop stood still"):
            fleet.verify_answers()
        fleet.stop_watching()
        monkeypatch.setattr(harness, "WAIT_S", 1.0)
        with pytest.raises(AssertionError, match=r"more open files than before.*null"):
            fleet.verify_descriptors()
        with pytest.raises(AssertionError, match="MiB more than an idle daemon"):
            fleet.verify_memory()
    assert fleet.measures.lag_ms is not None
    assert fleet.measures.lag_ms > 250


@pytest.mark.parametrize("stand", [SPIN, SLEEP])
def test_the_guard_notices_a_loop_that_stands_still_on_a_busy_machine(
    idle: Idle, stand: str
) -> None:
    """Sleep stands for whatever needs no core: a disk, a name server."""
    with a_fleet() as fleet:
        planted(fleet, idle, stand)
        with crowded():
            for _ in range(ASKED):
                fleet.ask("status", timeout_s=15)
        with pytest.raises(AssertionError, match="the loop stood still"):
            fleet.verify_answers()
        fleet.stop_watching()


def test_inv12_the_guard_notices_a_zombie_and_a_group_that_nobody_removes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with a_fleet() as fleet:
        fleet.run = REMAINS + fleet.run
        fleet.shell("short", "exit 0")
        fleet.start()
        fleet.until("short", lambda shown: shown["state"] == "completed")
        fleet.stop_watching()
        if "run-" not in (procfs.cgroup_of(fleet.status(INNOCENT)["pid"]) or ""):
            pytest.skip("agents have no control groups here")
        monkeypatch.setattr(harness, "WAIT_S", 0.5)
        with pytest.raises(AssertionError, match="1 zombies of the daemon"):
            fleet.verify_remains()
        monkeypatch.setattr(guard, "zombies_of", lambda _: 0)
        with pytest.raises(AssertionError, match="groups without a process"):
            fleet.verify_remains()
