"""The end of a daemon whose agents don't all end: bounded, and said as it is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agentd.core.remains import GIVE_UP_MS
from tests.daemon.harness import Daemon, alive, daemon
from tests.daemon.test_processes_trees import v1_group

__all__ = ["daemon"]

# Beyond the patience itself: a stop_timeout of half a second, and a machine that is busy.
LATE_S = 30.0


@contextmanager
def unkillable(pid: int) -> Iterator[None]:
    """Have a process stand where SIGKILL doesn't reach it."""
    with v1_group("freezer") as group:
        (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        (group / "freezer.state").write_text("FROZEN", encoding="ascii")
        try:
            yield
        finally:
            (group / "freezer.state").write_text("THAWED", encoding="ascii")


@pytest.mark.root
def test_b7_a_shutdown_ends_without_what_sigkill_cannot_end(daemon: Daemon) -> None:
    """Nobody waits for ever, nobody is told that it is stopped, and the next daemon has it."""
    daemon.sleeper("stuck", 'stop_timeout = "500ms"')
    daemon.sleeper("base")
    daemon.sleeper("needs", 'depends_on = ["base"]')
    daemon.start()
    for name in ("stuck", "base", "needs"):
        daemon.until_state(name, "running")
    pid = daemon.status("stuck")["pid"]
    process = daemon.process
    assert process is not None
    with unkillable(pid):
        begun_s = time.monotonic()
        process.terminate()
        code = process.wait(GIVE_UP_MS / 1000 + LATE_S)
        assert time.monotonic() - begun_s >= GIVE_UP_MS / 1000
        assert code == 0
        assert f"agentd ends, and could not stop stuck: kill pending, pid {pid}" in daemon.log()
        assert alive(pid)
        daemon.start()
        shown = daemon.status("stuck")
        assert (shown["state"], shown["pid"]) == ("stopping", pid)
        ended = [event["agent"] for event in daemon.events(kind="agent.exited")]
        assert sorted(ended) == ["base", "needs"]
    # Its disk is back: what was sent to it long ago ends it, and it was to run.
    again = daemon.until("stuck", lambda s: s["state"] == "running" and s["pid"] != pid)
    assert again["restarts"] == 1
    [incident] = daemon.ask("incidents")["incidents"]
    assert incident["cause"] == "DAEMON_STOPPED"
    assert "can't be killed" in incident["summary"]
