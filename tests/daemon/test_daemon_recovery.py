"""What the next daemon makes of processes that nobody could record, and of kept pidfds."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentd.daemon import grounds, pidfds, procfs
from tests.daemon.harness import KERNEL_REMEMBERS, PYTHON, Daemon, Refused, alive

# Connects, says one line without a token, and is gone before anybody accepts.
HASTY = """
import json, os, socket, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
channel = socket.socket(socket.AF_UNIX)
channel.connect(os.environ["AGENTD_SOCKET"])
channel.sendall(b'{"status":"done"}\\n')
"""


@contextmanager
def unrecorded(daemon: Daemon) -> Iterator[None]:
    """A life of the daemon, begun and ended here, of which the disk has taken nothing."""
    daemon.crash()
    state, copy = daemon.root / "state", daemon.root / "copy"
    shutil.copytree(state, copy)
    daemon.start()
    yield
    daemon.crash()
    shutil.rmtree(state)
    shutil.copytree(copy, state)


def test_inv1_an_incarnation_that_could_not_be_recorded_is_adopted_and_not_doubled(
    daemon: Daemon,
) -> None:
    daemon.sleeper("one")
    daemon.start()
    begun = daemon.until_state("one", "running")["pid"]
    with unrecorded(daemon):
        daemon.ask("restart", select=["one"])
        shown = daemon.until(
            "one", lambda s: s["state"] == "running" and s["pid"] not in (None, begun)
        )
    daemon.start()
    after = daemon.until_state("one", "running")
    assert (after["pid"], after["incarnation"]) == (shown["pid"], shown["incarnation"])
    assert daemon.survivors() == [shown["pid"]]
    daemon.crash()
    assert daemon.start().until_state("one", "running")["pid"] == shown["pid"]
    # The first of the two adoptions says that no start is on record (INV7), the second needn't.
    daemon.until_true(lambda: len(daemon.events("one", "agent.adopted")) > 1)
    first, second = daemon.events("one", "agent.adopted")
    assert (first["data"].get("unrecorded"), second["data"].get("unrecorded")) == (True, None)
    assert "its start is not on record" in first["message"]
    daemon.ask("stop", select=["one"])
    daemon.until_state("one", "stopped")
    assert daemon.survivors() == []


def test_inv2_a_pause_that_could_not_be_recorded_leaves_nobody_standing(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    with unrecorded(daemon):
        daemon.ask("pause", select=["one"])
        daemon.until_true(lambda: _stands(pid))
    daemon.start()
    assert daemon.until_state("one", "running")["pid"] == pid
    daemon.until_true(lambda: not _stands(pid))


def test_inv3_what_was_stopped_for_good_does_not_live_on_unrecorded(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    daemon.until_state("one", "running")
    daemon.ask("stop", select=["one"])
    daemon.until_state("one", "stopped")
    with unrecorded(daemon):
        daemon.ask("start", select=["one"])
        daemon.until_state("one", "running")
    daemon.start()
    daemon.until_true(lambda: daemon.survivors() == [])
    assert daemon.until_state("one", "stopped")["intent"] == "stopped"


def test_an_agent_of_which_the_store_knows_nothing_is_adopted(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.crash()
    shutil.rmtree(daemon.root / "state")
    daemon.start()
    assert daemon.until_state("one", "running")["pid"] == pid
    assert daemon.survivors() == [pid]
    daemon.until_true(lambda: daemon.events("one", "agent.adopted") != [])
    assert daemon.events("one", "agent.adopted")[0]["data"]["unrecorded"] is True


def test_g3_a_kept_pidfd_tells_exactly_how_an_agent_ended_meanwhile(daemon: Daemon) -> None:
    daemon.sleeper("dies", "[restart]\npolicy = 'never'")
    daemon.sleeper("lives")
    daemon.start()
    dies, lives = (daemon.until_state(name, "running") for name in ("dies", "lives"))
    daemon.heard()
    assert daemon.kept.keys() == {dies["incarnation"], lives["incarnation"]}
    unknown = daemon.root / "agentd.toml"
    daemon.kept["nobody-knows"] = os.open(unknown, os.O_RDONLY)
    daemon.crash()
    os.kill(dies["pid"], signal.SIGKILL)
    daemon.until_true(lambda: not alive(dies["pid"]))
    daemon.start_with_kept()
    last = daemon.until("dies", lambda s: s["last_exit"] is not None)["last_exit"]
    forgotten = [] if KERNEL_REMEMBERS else [("UNKNOWN", None)]
    assert (last["reason"], last["signal"]) in [("CRASHED", 9), *forgotten]
    assert daemon.status("lives")["pid"] == lives["pid"]
    until_kept(daemon, lives["incarnation"])
    # The adopted one is watched by the descriptor that came back.
    os.kill(lives["pid"], signal.SIGKILL)
    again = daemon.until("lives", lambda s: s["pid"] not in (None, lives["pid"]))
    until_kept(daemon, again["incarnation"])
    opened = [str(fd.readlink()) for fd in Path(f"/proc/{daemon.pid}/fd").iterdir() if fd.exists()]
    assert str(unknown) not in opened


def until_kept(daemon: Daemon, *incarnations: str) -> None:
    """Wait until these alone are kept: one that is over, until its end is on disk."""

    def are_kept() -> bool:
        daemon.heard()
        return daemon.kept.keys() == set(incarnations)

    daemon.until_true(are_kept, lambda: str(daemon.kept))


def test_kept_pidfds_are_not_taken_up_again_after_a_reexec(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.crash()
    daemon.start_with_kept()
    daemon.signal(signal.SIGUSR2)
    daemon.await_notify("READY=1")
    shown = daemon.until_state("one", "running")
    assert shown["pid"] == pid
    daemon.heard()
    assert daemon.kept.keys() == {shown["incarnation"]}
    daemon.ask("stop", select=["one"])
    daemon.until_state("one", "stopped")
    until_kept(daemon)


@pytest.mark.skipif(not pidfds.has_pidfs(), reason="pidfds have no inodes of their own here")
@pytest.mark.parametrize("adopted", [False, True])
def test_the_last_word_of_an_agent_counts_though_it_is_gone_before_it_is_let_in(
    daemon: Daemon, *, adopted: bool
) -> None:
    go = daemon.root / "go"
    # Not judged by its silence here.
    patient = 'heartbeat.degraded_after = "50s"\nheartbeat.unreachable_after = "60s"'
    daemon.agent("hasty", [PYTHON, "-S", "-c", HASTY, str(go)], f'ready = "spawn"\n{patient}')
    daemon.start()
    pid = daemon.until_state("hasty", "running")["pid"]
    if adopted:
        daemon.crash()
        daemon.start()
        daemon.until_state("hasty", "running")
    daemon.signal(signal.SIGSTOP)
    go.touch()
    daemon.until_true(lambda: not alive(pid))
    daemon.signal(signal.SIGCONT)
    shown = daemon.until("hasty", lambda s: s["last_exit"] is not None)
    assert shown["last_exit"]["reason"] == "COMPLETED"
    assert shown["status"] == "done"


@pytest.mark.root
def test_g15_h7_on_a_read_only_disk_a_daemon_goes_on_from_what_it_can_read(daemon: Daemon) -> None:
    state = daemon.root / "state"
    state.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "none", str(state)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        for name in ("lives", "dies", "killed"):
            daemon.sleeper(name)
        daemon.start()
        pids = {name: daemon.until_state(name, "running")["pid"] for name in ("lives", "dies")}
        daemon.ask("kill", select=["killed"])
        daemon.until("killed", lambda s: s["pid"] is None)
        daemon.crash()
        os.kill(pids["dies"], signal.SIGKILL)
        subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
        daemon.start()
        assert daemon.status("lives")["pid"] == pids["lives"]
        assert daemon.status("killed")["intent"] == "killed"
        again = daemon.until("dies", lambda s: s["state"] == "running")["pid"]
        assert daemon.ask("status")["daemon"]["storage"].startswith("degraded: ")
        with pytest.raises(Refused, match="storage_unavailable"):
            daemon.ask("start", select=["killed"])
        # Killed by the next crash as well, it knows its unrecorded child again.
        daemon.crash()
        daemon.start()
        assert daemon.until_state("dies", "running")["pid"] == again
        assert sorted(daemon.survivors()) == sorted([again, pids["lives"]])
        subprocess.run(["mount", "-o", "remount,rw", str(state)], check=True)
        daemon.until_true(lambda: daemon.ask("status")["daemon"]["storage"] == "ok")
        assert daemon.ask("stop", select=["dies"])
        daemon.until_state("dies", "stopped")
        daemon.until_true(lambda: len(daemon.events(kind="daemon.storage")) >= 2)
        daemon.crash()
        daemon.start()
        assert daemon.status("dies")["intent"] == "stopped"
        assert daemon.status("lives")["pid"] == pids["lives"]
    finally:
        daemon.close()
        subprocess.run(["umount", "-l", str(state)], check=True)


def _stands(pid: int) -> bool:
    """Whether it was stopped, or its control group frozen."""
    stopped = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    mount, group = grounds.mount_point(), procfs.cgroup_of(pid)
    if mount is None or not group:
        return stopped
    events = mount / group.lstrip("/") / "cgroup.events"
    return stopped or (events.exists() and "frozen 1" in events.read_text())
