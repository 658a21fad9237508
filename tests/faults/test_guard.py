"""The guard itself: a daemon that blocks, leaks and forgets is noticed by each of its looks."""

import pytest

from tests.daemon import harness
from tests.faults.conftest import a_fleet
from tests.faults.measures import Idle

# Whenever the daemon is asked of itself, its loop stands still and it loses memory and a file.
PLANTED = """
import time; from agentd.daemon import facts
lost, measured = [], facts.own_rss_bytes
def own_rss_bytes():
    until = time.thread_time() + 0.4
    while time.thread_time() < until: pass
    lost.append((b"x" * (8 << 20), open("/dev/null"))); return measured()
facts.own_rss_bytes = own_rss_bytes
"""
ASKED = 3


def test_the_guard_notices_a_daemon_that_blocks_and_leaks(
    monkeypatch: pytest.MonkeyPatch, idle: Idle
) -> None:
    monkeypatch.setattr(harness, "RUN", PLANTED + harness.RUN)
    with a_fleet() as fleet:
        fleet.idle_files, fleet.idle_bytes = idle.files, idle.anonymous_bytes
        fleet.start()
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
