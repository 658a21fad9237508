"""What lies on disk, and what the daemon itself is: nothing is open wider than it has to be."""

import ctypes
import os
import stat
import subprocess
from pathlib import Path

from tests.daemon.harness import PYTHON, Daemon

PR_GET_DUMPABLE = 3
SETTLED = (
    "import ctypes, resource; from agentd.daemon import host; host.settle();"
    " host.renounce_privileges();"
    f" print(ctypes.CDLL(None).prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0),"
    " resource.getrlimit(resource.RLIMIT_CORE)[0])"
)
SECRETIVE = stat.S_IRWXG | stat.S_IRWXO


def test_nothing_of_the_state_is_readable_by_others_whatever_the_umask(daemon: Daemon) -> None:
    daemon.beater("one")
    umask = os.umask(0)
    try:
        daemon.start()
    finally:
        os.umask(umask)
    daemon.until("one", lambda shown: shown["heartbeats"] >= 1)
    state, logs = daemon.root / "state", daemon.root / "logs"
    directories = {path: stat.S_IMODE(path.stat().st_mode) for path in (state, logs)}
    assert directories == {state: 0o700, logs: 0o750}
    for path in state.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        # Agents of other users have to reach their own notify socket, and the gate.
        if stat.S_ISREG(path.lstat().st_mode):
            assert not mode & SECRETIVE, (path, oct(mode))
    for path in logs.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert not mode & (stat.S_IRWXO | stat.S_IWGRP), (path, oct(mode))
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600


def test_the_daemon_may_not_be_dumped_and_gains_no_privilege(daemon: Daemon) -> None:
    told = subprocess.run([PYTHON, "-c", SETTLED], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["0", "0"]
    daemon.start()
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    assert "\nNoNewPrivs:\t1\n" in status
    limits = Path(f"/proc/{daemon.pid}/limits").read_text().splitlines()
    assert [line.split()[4] for line in limits if line.startswith("Max core")] == ["0"]
    assert ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1  # or it would prove nothing


def test_an_agent_gets_of_the_launchers_environment_what_is_listed_and_no_more(
    daemon: Daemon,
) -> None:
    daemon.sleeper("one")
    daemon.start(env={"LAUNCHER_SECRET": "x", "LD_DEBUG_OUTPUT": "/dev/null", "LC_TIME": "C"})
    pid = daemon.until_state("one", "running")["pid"]
    raw = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    names = {word.partition(b"=")[0].decode() for word in raw if word}
    allowed = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "NOTIFY_SOCKET"}
    assert {name for name in names - allowed if not name.startswith(("AGENTD_", "LC_"))} == set()
    ours = {"AGENTD_SOCKET", "AGENTD_AGENT", "AGENTD_INCARNATION", "AGENTD_TOKEN"}
    assert {name for name in names if name.startswith("AGENTD_")} == ours
