"""A real daemon in a process of its own, on a directory of its own, driven through its socket.

Every wait has a bound and looks at what the daemon shows; nothing sleeps and hopes.
"""

import contextlib
import itertools
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentd.daemon import grounds
from agentd.daemon.assembly import ground_name
from tests.places import short_root

PROGRAMS = Path(__file__).parent / "programs"
PYTHON = sys.executable
RUN = (
    "import sys; from pathlib import Path; from agentd.daemon.main import run; "
    "sys.exit(run(Path(sys.argv[1]), None))"
)
# As systemd does: the descriptors begin at 3, and LISTEN_PID is whoever is exec'ed.
HAND_OVER = (
    "import fcntl, os, sys; fds = [int(one) for one in sys.argv[1].split(',')]; "
    "high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in fds]; "
    "[os.close(fd) for fd in fds]; [os.dup2(fd, 3 + place) for place, fd in enumerate(high)]; "
    "os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, sys.argv[2:])"
)
WAIT_S = 15.0
# A start takes a second or two of CPU time, of which a busy machine gives little.
START_S = 90.0
# Whether the kernel tells how a process ended when its parent, not ours to ask, has reaped it.
KERNEL_REMEMBERS = tuple(map(int, platform.release().split(".")[:2])) >= (6, 15)

# Thresholds scaled down, so that a test takes a second where life takes minutes.
DEFAULTS = """
[defaults]
stop_timeout = "2s"
startup_timeout = "10s"
[defaults.heartbeat]
interval = "300ms"
degraded_after = "1s"
unreachable_after = "3s"
[defaults.restart]
cooldown = "2s"
stable_after = "30s"
[defaults.memory]
sample = "1s"
"""

Document = dict[str, Any]


class Refused(AssertionError):  # noqa: N818 - named after what happened
    """The daemon answered with an error; `.error` is its code, message and hint."""

    def __init__(self, error: Document) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.error = error


class Daemon:
    """One agentd on a directory, started, killed and started again at will."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "agentd.toml"
        self.socket = root / "run" / "agentd.sock"
        self.run = RUN
        """What the daemon's interpreter is told to run, also by a re-exec."""
        self.process: subprocess.Popen[bytes] | None = None
        self.notified: list[str] = []
        self.kept: dict[str, int] = {}
        """Descriptors that the daemon had its service manager keep, by name."""
        self._ids = itertools.count(1)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(root / "notify"))
        (root / "agents.d").mkdir(mode=0o755)
        (root / "run").mkdir(mode=0o755)
        self.configure()

    def configure(self, daemon: str = "", extra: str = DEFAULTS) -> None:
        """Write agentd.toml: `daemon` are further keys of [daemon]."""
        self.config.write_text(
            f'[daemon]\nsocket = "{self.socket}"\nstate_dir = "{self.root}/state"\n'
            f'log_dir = "{self.root}/logs"\nwatch = false\n{daemon}\n{extra}\n'
        )

    def agent(self, name: str, command: list[str], text: str = "") -> None:
        """Write agents.d/NAME.toml; `text` are further keys and tables."""
        (self.root / "agents.d" / f"{name}.toml").write_text(
            f"command = {json.dumps(command)}\n{text}\n"
        )

    def beater(self, name: str, *words: str, text: str = "") -> None:
        """An agent that beats over the raw socket."""
        self.agent(name, [PYTHON, "-S", str(PROGRAMS / "beater.py"), *words], text)

    def sleeper(self, name: str, text: str = "", seconds: int = 600) -> None:
        """An agent of which no heartbeat is asked."""
        self.agent(name, ["sleep", str(seconds)], f"{text}\n[heartbeat]\nrequired = false")

    def start(self, *, ready: bool = True, env: dict[str, str] | None = None) -> "Daemon":
        """Start it; with `ready`, wait for its READY=1."""
        self._spawn([PYTHON, "-c", self.run, str(self.config)], env or {})
        if ready:
            self.await_notify("READY=1")
        return self

    def start_with_kept(self) -> "Daemon":
        """Start it as a service manager does that has kept descriptors for it."""
        self.heard()
        names, fds = list(self.kept), list(self.kept.values())
        env = {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(names)}
        words = [PYTHON, "-c", RUN, str(self.config)]
        told = ",".join(map(str, fds))
        self._spawn([PYTHON, "-c", HAND_OVER, told, *words], env, fds)
        self.await_notify("READY=1")
        return self

    def _spawn(self, words: list[str], env: dict[str, str], fds: Sequence[int] = ()) -> None:
        self.heard()  # what one that is gone has said is not the next one's word
        self.process = subprocess.Popen(
            words,
            env={**environment(), "NOTIFY_SOCKET": str(self.root / "notify"), **env},
            stderr=(self.root / "stderr").open("ab"),
            start_new_session=True,
            pass_fds=fds,
        )

    def await_notify(self, word: str) -> None:
        """Wait until the daemon says `word` to its service manager."""
        end = time.monotonic() + START_S
        while (left := end - time.monotonic()) > 0:
            self._notify.settimeout(min(left, 0.2))
            with contextlib.suppress(TimeoutError):
                said = self._hear()
                self.notified.append(said)
                if word in said.splitlines():
                    return
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended ({self.process.returncode}): {self.log()}")
        raise AssertionError(f"no {word} within {START_S} s: {self.log()}")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        """What it wrote to stderr, the last of it."""
        return (self.root / "stderr").read_text()[-4000:]

    def crash(self) -> None:
        """End it as SIGKILL does: nothing is left of the daemon itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(WAIT_S)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        """SIGTERM, and wait for its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(WAIT_S)

    def ask(self, cmd: str, timeout_s: float = 5.0, **args: object) -> Document:
        """One command on a connection of its own; an error reply raises `Refused`."""
        with self.connect(timeout_s) as channel:
            return self.ask_on(channel, cmd, **args)

    def connect(self, timeout_s: float = 5.0) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(timeout_s)
        channel.connect(str(self.socket))
        return channel

    def ask_on(
        self, channel: socket.socket, cmd: str, request: str = "", **args: object
    ) -> Document:
        line = {"id": request or f"t{os.getpid()}-{next(self._ids)}", "cmd": cmd, "args": args}
        channel.sendall(json.dumps(line).encode() + b"\n")
        reply = json.loads(read_line(channel))
        if not reply["ok"]:
            raise Refused(reply["error"])
        result: Document = reply["result"]
        return result

    def follow(self, cmd: str, **args: object) -> Iterator[Document]:
        """Stream a followed command; the connection closes with the iterator."""
        with self.connect(WAIT_S) as channel:
            line = {"id": "f", "cmd": cmd, "args": args, "follow": True}
            channel.sendall(json.dumps(line).encode() + b"\n")
            with channel.makefile("rb") as lines:
                yield from map(json.loads, lines)

    def status(self, name: str) -> Document:
        """One agent's part of the status document."""
        agents = self.ask("status", select=[name])["agents"]
        found: Document = agents[0]
        return found

    def until(self, name: str, wanted: Callable[[Document], object]) -> Document:
        """Wait until what is shown of an agent is as wanted; return it."""
        shown: Document = {}

        def look() -> bool:
            shown.clear()
            shown.update(self.status(name))
            return bool(wanted(shown))

        self.until_true(look, lambda: f"{name}: {json.dumps(shown)}")
        return shown

    def heard(self) -> list[str]:
        """Return what it has told its service manager since last asked."""
        self._notify.setblocking(False)
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(self._hear())
        return heard

    def _hear(self) -> str:
        """Take one message, and keep or drop the descriptor it is about."""
        raw, fds, _, _ = socket.recv_fds(self._notify, 4096, 8)
        said = raw.decode()
        told = dict(line.partition("=")[::2] for line in said.splitlines())
        if "FDSTORE" in told:
            self.kept[told["FDNAME"]] = fds.pop()
        elif "FDSTOREREMOVE" in told and told["FDNAME"] in self.kept:
            os.close(self.kept.pop(told["FDNAME"]))
        for fd in fds:
            os.close(fd)
        return said

    def until_state(self, name: str, state: str) -> Document:
        return self.until(name, lambda shown: shown["state"] == state)

    def until_true(self, look: Callable[[], object], story: Callable[[], str] = str) -> None:
        """Wait until `look` says so, at most WAIT_S; `story` tells what was seen instead."""
        end = time.monotonic() + WAIT_S
        while not look():
            if time.monotonic() > end:
                raise AssertionError(f"not within {WAIT_S} s; {story()}\n{self.log()}")
            time.sleep(0.03)

    def events(self, name: str = "", kind: str = "") -> list[Document]:
        """What the journal holds, of one agent and one kind where asked."""
        args = {"select": [name] if name else [], "types": [kind] if kind else [], "limit": 1000}
        found: list[Document] = self.ask("events", **args)["events"]
        return found

    def close(self) -> None:
        """End it and whatever it supervised, however the test went."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self._notify.close()
        for fd in self.kept.values():
            os.close(fd)
        self.kept.clear()
        for pid in self.survivors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._remove_groups()

    def _remove_groups(self) -> None:
        """Remove what a daemon that was killed could not: its empty cgroups."""
        mount = grounds.mount_point()
        base = mount / ground_name(self.root / "state") if mount is not None else None
        if base is not None and base.exists():
            for leaf in [*base.glob("*/"), base]:
                # Whatever was killed just now may still be dying in there.
                self.until_true(lambda leaf=leaf: _is_empty(leaf))
                leaf.rmdir()

    def survivors(self) -> list[int]:
        """Pids whose environment names this daemon's socket: agents, wherever they hide."""
        mark = f"AGENTD_SOCKET={self.socket}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon that isn't started yet, on a directory with a short path (a socket's limit)."""
    with short_root() as root, contextlib.closing(Daemon(root)) as under_test:
        yield under_test


def environment() -> dict[str, str]:
    """Ours, without what would lead the daemon to another one's places."""
    return {key: word for key, word in os.environ.items() if not key.startswith("AGENTD_")}


def _is_empty(group: Path) -> bool:
    return "populated 0" in (group / "cgroup.events").read_text()


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def no_thread_left(_: threading.Thread) -> None:
    """`threading.Thread.start` on a host that has no thread left."""
    raise RuntimeError("can't start new thread")


def read_line(channel: socket.socket) -> bytes:
    """One line, however it is cut, and nothing of the next one."""
    buffer = b""
    while not buffer.endswith(b"\n"):
        seen = channel.recv(65536, socket.MSG_PEEK)
        if not seen:
            raise ConnectionError(f"closed after {buffer!r}")
        buffer += channel.recv(seen.find(b"\n") + 1 or len(seen))
    return buffer
