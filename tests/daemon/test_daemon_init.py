"""Where pid 1 is no init: a parent of orphans that never reaps, and the daemon as pid 1 itself."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.core.events import Exited, TreeEmpty
from agentd.daemon import host, pidfds, procfs, runs
from agentd.daemon.launch import GATE_NAME
from tests.daemon.harness import PYTHON, RUN, WAIT_S, Daemon, alive
from tests.daemon.process_bench import Bench, bench, config

__all__ = ["bench"]

# As pid 1 of a namespace of its own, with its own /proc; killed with whoever waits for it.
AS_PID_1 = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
# A daemon that dies when the child at the gate is on record, before it is let go.
DIES_AT_RELEASE = (
    "import os; from agentd.daemon.processes import Processes; "
    "Processes.release = lambda *_: os.kill(os.getpid(), 9)"
)
# Its child is an orphan at once, and dead soon after.
ORPHANING = "(sh -c 'sleep 0.3' &); exec sleep 600"


@pytest.fixture
def no_reaping() -> Iterator[None]:
    """Be the parent of orphans, and reap none: a container with `sleep infinity` as pid 1."""
    host.become_subreaper()
    yield
    for stat in _dead_children():
        os.waitpid(stat.pid, 0)
    host._prctl(host._PR_SET_CHILD_SUBREAPER, 0)


@pytest.mark.usefixtures("no_reaping")
def test_an_adopted_agent_that_nobody_reaps_is_seen_dead_and_how(daemon: Daemon) -> None:
    daemon.sleeper("dies", "[restart]\npolicy = 'never'")
    daemon.sleeper("again", "[restart]\ncooldown = '0s'")
    daemon.start()
    pids = {name: daemon.until_state(name, "running")["pid"] for name in ("dies", "again")}
    daemon.crash()
    daemon.start()
    for name, pid in pids.items():
        assert daemon.until_state(name, "running")["pid"] == pid
        os.kill(pid, signal.SIGKILL)
    shown = daemon.until("dies", lambda s: s["state"] == "stopped")
    assert (shown["last_exit"]["reason"], shown["last_exit"]["signal"]) == ("CRASHED", 9)
    daemon.until(
        "again", lambda s: s["state"] == "running" and s["pid"] not in (None, pids["again"])
    )
    for pid in pids.values():
        stat = procfs.stat_of(pid)
        assert stat is not None, "a zombie to the end"
        assert stat.dead


@pytest.mark.usefixtures("no_reaping")
@pytest.mark.parametrize("kept", [False, True])
def test_an_agent_that_ended_between_two_daemons_and_that_nobody_reaped_is_no_living_one(
    daemon: Daemon, *, kept: bool
) -> None:
    daemon.agent("done", ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"], "ready = 'spawn'")
    daemon.sleeper("dies", "[restart]\npolicy = 'never'")
    daemon.start()
    pids = {name: daemon.until_state(name, "running")["pid"] for name in ("done", "dies")}
    daemon.heard()
    daemon.crash()
    os.kill(pids["dies"], signal.SIGSEGV)
    os.kill(pids["done"], signal.SIGTERM)
    daemon.until_true(lambda: not any(alive(pid) for pid in pids.values()))
    if kept:
        daemon.start_with_kept()
    else:
        daemon.start()
    shown = daemon.until("dies", lambda s: s["state"] == "stopped")
    assert (shown["last_exit"]["reason"], shown["last_exit"]["signal"]) == ("CRASHED", 11)
    shown = daemon.until("done", lambda s: s["last_exit"] is not None)
    assert (shown["last_exit"]["reason"], shown["last_exit"]["code"]) == ("COMPLETED", 0)


@pytest.mark.usefixtures("no_reaping")
def test_a_start_cut_short_at_its_gate_is_no_end_of_the_agent(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon._spawn([PYTHON, "-c", f"{DIES_AT_RELEASE}; {RUN}", str(daemon.config)], {})
    assert daemon.process is not None
    assert daemon.process.wait(WAIT_S) == -signal.SIGKILL
    daemon.until_true(lambda: _dead_children_called(GATE_NAME))
    daemon.heard()  # it may have been ready before it died
    daemon.start()
    assert daemon.until_state("one", "running")["failures"] == 0
    kinds = {event["event"] for event in daemon.events("one")}
    assert not kinds & {"agent.exited", "agent.completed"}


@pytest.mark.usefixtures("no_reaping")
def test_a_stop_of_an_adopted_tree_is_done_though_its_dead_stay_around(daemon: Daemon) -> None:
    daemon.agent("one", ["sh", "-c", "setsid sleep 600 & exec sleep 600"], "ready = 'spawn'")
    daemon.start()
    daemon.until_state("one", "running")
    daemon.until_true(lambda: len(daemon.survivors()) == 2)
    daemon.crash()
    daemon.start()
    daemon.until_state("one", "running")
    daemon.ask("stop", select=["one"])
    assert daemon.until_state("one", "stopped")["pid"] is None
    assert daemon.survivors() == []


@pytest.mark.usefixtures("no_reaping")
async def test_an_end_that_nobody_may_tell_is_unknown_and_the_run_is_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the zombie is another user's and its parent doesn't reap."""
    prepared = await bench.start(config("sleep 600"))
    monkeypatch.setattr(pidfds, "peek", _not_ours)
    monkeypatch.setattr(pidfds, "ending_of_stranger", lambda _: None)
    monkeypatch.setattr(runs, "_STATUS_PAUSE_S", 0.001)
    os.kill(prepared.pid, signal.SIGKILL)
    exited = await bench.event(Exited)
    assert (exited.code, exited.signal) == (None, None)
    await bench.event(TreeEmpty)


def _not_ours(_pidfd: int) -> None:
    raise ChildProcessError


@pytest.mark.root
def test_as_pid_1_of_a_container_it_reaps_what_others_leave_and_ends_when_told(
    daemon: Daemon,
) -> None:
    if subprocess.run([*AS_PID_1, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no pid namespace may be made here")
    daemon.agent("one", ["sh", "-c", ORPHANING], "[heartbeat]\nrequired = false")
    daemon._spawn([*AS_PID_1, PYTHON, "-c", RUN, str(daemon.config)], {})
    daemon.await_notify("READY=1")
    [inside] = _children(daemon.pid)
    daemon.until_true(lambda: len(_children(inside)) == 2)
    daemon.until_true(lambda: len(_children(inside)) == 1)
    [agent] = _children(inside)
    assert alive(agent)
    os.kill(inside, signal.SIGTERM)
    assert daemon.process is not None
    assert daemon.process.wait(WAIT_S) == 0


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _dead_children() -> list[procfs.Stat]:
    stats = map(procfs.stat_of, procfs.own_children())
    return [stat for stat in stats if stat is not None and stat.dead]


def _dead_children_called(name: str) -> bool:
    return any(stat.comm == name for stat in _dead_children())
