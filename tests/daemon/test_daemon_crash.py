"""What the daemon owes its agents when it is killed, doubled, replaced, or stands still."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from agentd.daemon import host
from tests.daemon.harness import PYTHON, RUN, WAIT_S, Daemon, alive, read_line
from tests.daemon.process_bench import give_pid_away
from tests.stopwatch import Stopwatch


def test_g1_a_killed_daemon_leaves_agents_alive_and_the_next_adopts_them(daemon: Daemon) -> None:
    daemon.beater("a")
    daemon.sleeper("b")
    daemon.start()
    before = {name: daemon.until(name, lambda s: s["state"] == "running") for name in ("a", "b")}
    daemon.crash()
    assert all(alive(shown["pid"]) for shown in before.values())
    daemon.start()
    for name, shown in before.items():
        after = daemon.until_state(name, "running")
        assert after["pid"] == shown["pid"]
        assert after["incarnation"] == shown["incarnation"]
        assert (after["restarts"], after["failures"]) == (0, 0)
        daemon.until_true(lambda name=name: len(daemon.events(name, "agent.adopted")) == 1)
    assert len(daemon.survivors()) == 2
    # It is heard again on a connection of its own making, under the token of its start.
    more = daemon.status("a")["heartbeats"] + 3
    daemon.until("a", lambda s: s["heartbeats"] >= more and s["health"] == "healthy")
    # An adopted agent is still ours to stop.
    daemon.ask("stop", select=["all"])
    for name in before:
        daemon.until_state(name, "stopped")
    assert daemon.survivors() == []


def test_g1_counters_are_as_they_were(daemon: Daemon) -> None:
    daemon.beater("a", "every=0.05")
    daemon.start()
    first = daemon.until("a", lambda s: s["heartbeats"] > 5)["pid"]
    os.kill(first, signal.SIGKILL)
    daemon.until("a", lambda s: s["state"] == "running" and s["pid"] not in (None, first))
    before = daemon.until("a", lambda s: s["heartbeats"] > 20)
    daemon.crash()
    after = daemon.start().status("a")
    assert (after["restarts"], after["failures"]) == (before["restarts"], before["failures"])
    for field in ("code", "signal", "reason", "evidence"):
        assert after["last_exit"][field] == before["last_exit"][field]
    assert after["execution"] == before["execution"]


def test_k1_a_kill_survives_the_daemon_with_reason_and_who(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.ask("kill", select=["one"], reason="cost spike")
    daemon.crash()
    daemon.start()
    shown = daemon.until("one", lambda s: s["pid"] is None)
    assert (shown["intent"], shown["health"]) == ("killed", "killed")
    assert not alive(pid)
    killed = daemon.events("one", "agent.killed")[0]
    assert "cost spike" in json.dumps(killed)


def test_k5_a_request_repeated_after_a_crash_is_answered_alike_and_not_run_again(
    daemon: Daemon,
) -> None:
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    with daemon.connect() as channel:
        first = daemon.ask_on(channel, "restart", request="once", select=["one"])
    daemon.until("one", lambda s: s["state"] == "running" and s["pid"] not in (None, pid))
    daemon.crash()
    daemon.start()
    before = daemon.until_state("one", "running")["pid"]
    with daemon.connect() as channel:
        assert daemon.ask_on(channel, "restart", request="once", select=["one"]) == first
    assert daemon.status("one")["pid"] == before
    assert len(daemon.events("one", "agent.starting")) == 2


def test_an_agent_whose_file_broke_is_left_alone_and_taken_back_when_it_is_mended(
    daemon: Daemon,
) -> None:
    daemon.sleeper("lives")
    daemon.sleeper("killed")
    daemon.start()
    pid = daemon.until_state("lives", "running")["pid"]
    daemon.until_state("killed", "running")
    daemon.ask("kill", select=["killed"])
    daemon.until("killed", lambda s: s["pid"] is None)
    daemon.crash()
    files = {name: daemon.root / "agents.d" / f"{name}.toml" for name in ("lives", "killed")}
    texts = {name: path.read_text() for name, path in files.items()}
    for path in files.values():
        path.write_text("comand = 'oops'\n")
    daemon.start()
    assert daemon.ask("status")["agents"] == []
    assert alive(pid)
    for name, path in files.items():
        path.write_text(texts[name])
    assert daemon.ask("reload")["added"] == ["killed", "lives"]
    assert daemon.until_state("lives", "running")["pid"] == pid
    assert daemon.status("killed")["intent"] == "killed"
    assert daemon.survivors() == [pid]


def test_a_stop_survives_the_daemon(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    daemon.until_state("one", "running")
    daemon.ask("stop", select=["one"])
    daemon.until_state("one", "stopped")
    daemon.crash()
    daemon.start()
    assert daemon.status("one")["intent"] == "stopped"
    assert len(daemon.events("one", "agent.starting")) == 1
    assert daemon.survivors() == []


def test_a_stop_under_way_is_finished_by_the_next_daemon(daemon: Daemon) -> None:
    daemon.beater("deaf", "ignore=TERM", text='stop_timeout = "1s"')
    daemon.start()
    pid = daemon.until("deaf", lambda s: s["heartbeats"] > 0)["pid"]
    daemon.ask("stop", select=["deaf"])
    daemon.crash()
    assert alive(pid)
    daemon.start()
    shown = daemon.until_state("deaf", "stopped")
    assert shown["last_exit"]["reason"] == "USER_STOPPED"
    assert not alive(pid)


def test_g3_an_agent_that_ended_unseen_is_decided_once_and_nothing_is_invented(
    daemon: Daemon,
) -> None:
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.crash()
    os.kill(pid, signal.SIGKILL)
    daemon.start()
    shown = daemon.until("one", lambda s: s["state"] == "running" and s["pid"] not in (None, pid))
    assert len(daemon.events("one", "agent.exited")) == 1
    assert shown["restarts"] == 1
    assert shown["last_exit"]["reason"] in {"UNKNOWN", "CRASHED"}
    if shown["last_exit"]["reason"] == "UNKNOWN":
        assert (shown["last_exit"]["code"], shown["last_exit"]["signal"]) == (None, None)


def test_g5_a_process_that_was_never_recorded_is_found_and_not_doubled(daemon: Daemon) -> None:
    """Not for a moment: whoever starts a second copy and ends one of them afterwards is seen."""
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.crash()
    forget_spawns(daemon.root / "state")
    with Lookout(daemon) as lookout:
        daemon.start()
        assert daemon.until_state("one", "running")["pid"] == pid
        lookout.until_looked()
    assert lookout.most == {pid}
    assert [event["data"]["pid"] for event in daemon.events("one", "agent.adopted")] == [pid]
    assert len(daemon.events("one", "agent.starting")) == 1


class Lookout:
    """Looks at all processes again and again; knows the most that lived at once."""

    def __init__(self, daemon: Daemon) -> None:
        self.most: set[int] = set()
        self._daemon = daemon
        self._looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def until_looked(self) -> None:
        """Wait until a look that begins from now on is over."""
        enough = self._looks + 2
        self._daemon.until_true(lambda: self._looks >= enough)

    def _look(self) -> None:
        while not self._over.wait(0.01):
            living = {pid for pid in self._daemon.survivors() if alive(pid)}
            self.most = max(self.most, living, key=len)
            self._looks += 1


def forget_spawns(state: Path) -> None:
    """Delete every spawn record, as if the daemon had died before writing one."""
    code = (
        "import sqlite3, sys, glob\n"
        "for path in glob.glob(sys.argv[1] + '/*.db'):\n"
        "    base = sqlite3.connect(path)\n"
        '    names = [r[0] for r in base.execute("SELECT name FROM sqlite_master")]\n'
        "    assert 'spawns' in names, names\n"
        "    base.execute('DELETE FROM spawns')\n"
        "    base.commit()\n"
    )
    subprocess.run([PYTHON, "-c", code, str(state)], check=True, timeout=30)


@pytest.mark.root
@pytest.mark.usefixtures("orphans")
@pytest.mark.parametrize("deed", ["stop", "kill"])
def test_d5_a_stranger_with_the_pid_of_an_adopted_agent_is_left_untouched(
    daemon: Daemon, deed: str
) -> None:
    """It isn't the daemon's own child: its pid is free before the daemon knows of its end.

    A helper outlives it, so that there is somebody to be signalled.
    """
    script = "setsid sleep 600 & exec sleep 600"
    daemon.agent("one", ["/bin/sh", "-c", script], "[heartbeat]\nrequired = false")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.until_true(lambda: len(daemon.survivors()) == 2)
    daemon.crash()
    assert daemon.start().status("one")["pid"] == pid
    with daemon.connect(WAIT_S) as channel:
        daemon.ask_on(channel, "ping")
        daemon.signal(signal.SIGSTOP)
        # What is asked comes before the news of the end.
        line = {"id": "d5", "cmd": deed, "args": {"select": ["one"]}}
        channel.sendall(json.dumps(line).encode() + b"\n")
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED)
        with stranger_with(pid) as stranger:
            daemon.signal(signal.SIGCONT)
            assert json.loads(read_line(channel))["ok"]
            daemon.until("one", lambda s: s["state"] == "stopped" and s["pid"] is None)
            assert daemon.survivors() == []
            assert stranger.poll() is None


@pytest.fixture
def orphans() -> Iterator[None]:
    """Orphans of what is started here are ours to reap, at a moment of our own choice."""
    host.become_subreaper()
    yield
    host._prctl(host._PR_SET_CHILD_SUBREAPER, 0)


@contextmanager
def stranger_with(pid: int) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process of somebody else's that has this pid, which must be free."""
    for _ in range(200):
        give_pid_away(pid)
        stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
        try:
            if stranger.pid == pid:
                yield stranger
                return
        finally:
            stranger.kill()
            stranger.wait()
    pytest.skip(f"pid {pid} was not to be had")


def test_g6_a_second_daemon_is_refused_and_names_the_first(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    before = daemon.until_state("one", "running")
    second = subprocess.run(
        [PYTHON, "-c", RUN, str(daemon.config)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert second.returncode == 1
    assert str(daemon.pid) in second.stderr
    assert daemon.status("one")["pid"] == before["pid"]
    assert len(daemon.survivors()) == 1


def test_g8_a_reexec_keeps_pid_agents_and_socket(daemon: Daemon) -> None:
    daemon.beater("a", "every=0.02")
    daemon.start()
    before = daemon.until("a", lambda s: s["heartbeats"] > 10)
    daemon.heard()
    daemon.signal(signal.SIGUSR2)
    daemon.await_notify("READY=1")
    after = daemon.until("a", lambda s: s["heartbeats"] > before["heartbeats"] + 20)
    assert (after["pid"], after["incarnation"]) == (before["pid"], before["incarnation"])
    assert (after["failures"], after["restarts"], after["health"]) == (0, 0, "healthy")
    assert daemon.ask("ping")
    assert daemon.ask("status")["daemon"]["pid"] == daemon.pid
    # The new image is the parent still: an exit is exact.
    os.kill(after["pid"], signal.SIGKILL)
    shown = daemon.until("a", lambda s: s["last_exit"] is not None)
    assert shown["last_exit"]["signal"] == signal.SIGKILL


def test_i3_a_cooldown_ends_when_it_would_have_ended(daemon: Daemon) -> None:
    daemon.sleeper("one", '[restart]\ncooldown = "6s"')
    daemon.start()
    first = daemon.until_state("one", "running")["pid"]
    os.kill(first, signal.SIGKILL)
    second = daemon.until(
        "one", lambda s: s["state"] == "running" and s["pid"] not in (None, first)
    )
    os.kill(second["pid"], signal.SIGKILL)
    left_s = daemon.until_state("one", "cooldown")["cooldown_s"]
    watch = Stopwatch()
    daemon.crash()
    daemon.start()
    shown = daemon.status("one")
    assert shown["state"] == "cooldown"
    assert abs(watch.wall_s + shown["cooldown_s"] - left_s) < 0.5 + watch.starved_s
    daemon.until_state("one", "running")


def test_b10_a_stopped_daemon_charges_nobody_with_its_own_silence(daemon: Daemon) -> None:
    daemon.beater("a", "every=0.2")
    daemon.start()
    before = daemon.until("a", lambda s: s["health"] == "healthy")
    daemon.signal(signal.SIGSTOP)
    # Longer than `unreachable_after`: a wait is the very thing that is tested here.
    time.sleep(4)
    daemon.signal(signal.SIGCONT)
    shown = daemon.until("a", lambda s: s["heartbeats"] > before["heartbeats"] + 3)
    assert (shown["pid"], shown["health"], shown["failures"]) == (before["pid"], "healthy", 0)
    daemon.until_true(lambda: daemon.events(kind="daemon.stalled"))
    kinds = {event["event"] for event in daemon.events("a")}
    assert not kinds & {"agent.degraded", "agent.unreachable", "agent.exited"}


def test_k6_a_stopped_daemon_does_not_answer_and_a_dead_one_refuses(daemon: Daemon) -> None:
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        daemon.ask("ping", timeout_s=0.3)
    daemon.signal(signal.SIGCONT)
    assert daemon.ask("ping")
    daemon.crash()
    with pytest.raises(ConnectionRefusedError):
        daemon.ask("ping")


def test_g15_an_unreadable_store_is_set_aside_and_agents_live_on(daemon: Daemon) -> None:
    daemon.beater("a")
    daemon.start()
    pid = daemon.until("a", lambda s: s["heartbeats"] > 2)["pid"]
    daemon.crash()
    for path in (daemon.root / "state").glob("*.db*"):
        path.write_bytes(b"\xff" * 8192)
    daemon.start()
    shown = daemon.until("a", lambda s: s["state"] == "running" and s["heartbeats"] > 0)
    assert shown["pid"] == pid
    assert len(daemon.survivors()) == 1
    assert "quarantine" in daemon.log()
