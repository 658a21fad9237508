"""Group D: an agent forks, escapes and leaks; "stopped" is said of an empty tree only."""

import ctypes
import errno
import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest

from agentd.config.schema import Config
from agentd.daemon.access import isolation_of
from tests.daemon.harness import PYTHON, Daemon, alive, daemon
from tests.daemon.process_bench import v1_group
from tests.faults.guard import PROGRAMS, Fleet, environ_of
from tests.stopwatch import Stopwatch

__all__ = ["daemon"]

SURVIVORS_S_MAX = 2.0
PTRACE_ATTACH = 16
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")

# Signals 32 and 33: no program can set them back, whatever a launcher did.
KEPT_BY_THE_C_LIBRARY = 0b11 << 31


def members(fleet: Fleet, name: str) -> list[int]:
    """Every living process that was started with this agent's name."""
    return [pid for pid in fleet.survivors() if environ_of(pid).get("AGENTD_AGENT") == name]


def test_d1_a_tree_of_sessions_is_empty_when_stopped_is_said(fleet: Fleet) -> None:
    fleet.shell("family", "setsid sh -c 'setsid sleep 600 & sleep 600' & exec sleep 600")
    fleet.start()
    fleet.until_state("family", "running")
    fleet.until_true(lambda: len(members(fleet, "family")) >= 3)
    watch = Stopwatch()
    fleet.ask("stop", select=["family"])
    fleet.until_state("family", "stopped")
    assert members(fleet, "family") == []
    assert watch.within(SURVIVORS_S_MAX)


def test_d1_a_restart_begins_only_when_the_old_tree_is_empty(fleet: Fleet) -> None:
    fleet.shell("family", "setsid sleep 600 & trap '' TERM; sleep 600", 'stop_timeout = "500ms"')
    fleet.start()
    first = fleet.until_state("family", "running")["pid"]
    fleet.until_true(lambda: len(members(fleet, "family")) >= 2)
    old = members(fleet, "family")
    fleet.ask("restart", select=["family"])
    fleet.until("family", lambda s: s["state"] == "running" and s["pid"] not in (None, first))
    assert not [pid for pid in old if alive(pid)]
    assert fleet.copies()["family"] == 1


def test_d3_sixty_processes_in_sessions_of_their_own_are_killed(fleet: Fleet) -> None:
    script = "i=0; while [ $i -lt 60 ]; do setsid sleep 600 & i=$((i+1)); done; wait"
    fleet.shell("bomb", script)
    fleet.start()
    fleet.until_true(lambda: len(members(fleet, "bomb")) >= 60)
    watch = Stopwatch()
    fleet.ask("kill", select=["bomb"])
    fleet.until_state("bomb", "stopped")
    assert members(fleet, "bomb") == []
    assert watch.within(5)


@pytest.mark.root
def test_d3_a_fork_bomb_under_a_limit_is_contained_and_killed(fleet: Fleet) -> None:
    """The limit is an outer group's; it is hit, and the rest of the host has room."""
    with v1_group("pids") as group:
        (group / "pids.max").write_text("64")
        words = [PYTHON, "-S", str(PROGRAMS / "bomb.py"), str(group / "cgroup.procs")]
        fleet.agent("bomb", words, "[heartbeat]\nrequired = false")
        fleet.start()
        fleet.until_true(lambda: refused_forks(group) > 0)
        assert len(members(fleet, "bomb")) <= 64
        watch = Stopwatch()
        fleet.ask("kill", select=["bomb"])
        fleet.until_state("bomb", "stopped")
        assert watch.within(5)
        assert members(fleet, "bomb") == []
        assert (group / "cgroup.procs").read_text() == ""
        fleet.seen.append(f"64 processes, {refused_forks(group)} forks refused")


def refused_forks(group: Path) -> int:
    return int((group / "pids.events").read_text().split()[1])


def test_d7_the_exit_of_one_that_daemonises_is_the_exit(fleet: Fleet) -> None:
    script = "(setsid sleep 600 &) ; exit 5"
    fleet.shell("forker", script, "[restart]\npolicy = 'never'")
    fleet.start()
    shown = fleet.until("forker", lambda s: s["last_exit"] is not None)
    assert (shown["last_exit"]["reason"], shown["last_exit"]["code"]) == ("EXITED", 5)
    fleet.until_true(lambda: not members(fleet, "forker"))
    assert "outlived" in shown["last_exit"]["evidence"]


def test_d9_d10_an_agent_inherits_three_files_and_nothing_of_the_launcher(fleet: Fleet) -> None:
    fleet.sleeper("clean")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    umask = os.umask(0o077)
    try:
        fleet.start(env={"LISTEN_FDS": "1", "SECRET_OF_THE_LAUNCHER": "x", "WATCHDOG_USEC": "1"})
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.umask(umask)
    pid = fleet.until_state("clean", "running")["pid"]
    assert sorted(os.listdir(f"/proc/{pid}/fd"), key=int) == ["0", "1", "2"]  # noqa: PTH208 - numbers
    told = status_of(pid)
    assert told["Umask"] == "0022"
    assert int(told["SigBlk"], 16) == 0
    assert int(told["SigIgn"], 16) & ~KEPT_BY_THE_C_LIBRARY == 0
    environ = environ_of(pid)
    assert not {"LISTEN_FDS", "SECRET_OF_THE_LAUNCHER", "WATCHDOG_USEC"} & set(environ)
    assert environ["NOTIFY_SOCKET"] != str(fleet.root / "notify")
    assert environ["AGENTD_AGENT"] == "clean"
    fleet.ask("stop", select=["clean"])
    assert fleet.until_state("clean", "stopped")["last_exit"]["signal"] == signal.SIGTERM


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status as a mapping."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:  # noqa: PTH123 - one of proc's
        return {name: rest.strip() for name, _, rest in (line.partition(":") for line in file)}


def test_d12_an_agent_that_runs_out_of_files_fails_alone(fleet: Fleet) -> None:
    words = [PYTHON, "-S", str(PROGRAMS / "greedy.py")]
    fleet.agent("greedy", words, "[heartbeat]\nrequired = false\n[restart]\npolicy = 'never'")
    fleet.start()
    last = fleet.until("greedy", lambda s: s["last_exit"] is not None)["last_exit"]
    assert (last["reason"], last["code"]) == ("EXITED", 1)
    logs = str(fleet.ask("logs", select=["greedy"]))
    assert "Too many open files" in logs
    assert fleet.counters()["sockets"]["accept_pauses"] == 0


@pytest.mark.root
def test_d13_an_agent_with_its_own_user_cannot_touch_the_daemon(fleet: Fleet) -> None:
    attempt = (
        "echo $PPID; bad=0; kill -TERM $PPID && bad=1;"
        " for file in environ maps auxv; do cat /proc/$PPID/$file && bad=2; done; exit $bad"
    )
    text = 'user = "nobody"\ndirectory = "/"\n[restart]\npolicy = "never"\n'
    fleet.shell("spy", attempt, text)
    fleet.start()
    shown = fleet.until("spy", lambda s: s["last_exit"] is not None)
    assert shown["last_exit"]["code"] == 0, shown["last_exit"]
    assert str(fleet.pid) in str(fleet.ask("logs", select=["spy"]))
    assert traced_as("nobody", fleet.pid) == errno.EPERM


@pytest.mark.root
@pytest.mark.skipif(YAMA.exists() and YAMA.read_text() != "0\n", reason="no stranger may trace")
def test_d13_what_refuses_a_tracer_is_the_user() -> None:
    group = pwd.getpwnam("nobody").pw_gid
    own = subprocess.Popen(["sleep", "600"], user="nobody", group=group, extra_groups=[])
    try:
        assert traced_as("nobody", own.pid) == 0
    finally:
        own.kill()
        own.wait(10)


def traced_as(user: str, pid: int) -> int:
    """Attach to a process as that user does, from a process of its own: 0, or the errno."""
    libc, entry = ctypes.CDLL(None, use_errno=True), pwd.getpwnam(user)
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 255
    try:
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        code = 0 if libc.ptrace(PTRACE_ATTACH, pid, None, None) == 0 else ctypes.get_errno()
    finally:
        os._exit(code)


@pytest.mark.root
def test_d13_it_is_said_what_keeps_agents_off_the_daemon(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    told = daemon.ask("daemon")["daemon"]["isolation"]
    assert told.startswith("none for agents without a `user`: they run as root")
    daemon.sleeper("one", 'user = "nobody"\ndirectory = "/"')
    daemon.ask("reload")
    assert daemon.ask("daemon")["daemon"]["isolation"].startswith("by user; ")


def test_d13_of_a_daemon_without_root_no_isolation_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    told = isolation_of(Config(), cgroups=True)
    assert told.startswith("none: all agents run as the daemon's own user, who can do anything")


def test_d14_a_name_with_brackets_changes_nothing(fleet: Fleet) -> None:
    odd = fleet.root / "a) R 1 2"
    odd.symlink_to("/bin/sleep")
    fleet.agent("odd", [str(odd), "600"], "[heartbeat]\nrequired = false")
    fleet.start()
    shown = fleet.until("odd", lambda s: s["rss_bytes"])
    assert shown["processes"] == 1
    fleet.ask("stop", select=["odd"])
    fleet.until_state("odd", "stopped")
    assert not alive(shown["pid"])
