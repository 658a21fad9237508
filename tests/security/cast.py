"""One daemon in system mode, and everybody who may come to its socket, each as a real process.

Each of them is a relay (`programs/relay.py`) that a test speaks through. What the daemon sees is
the relay: its user, its groups, its ancestors, its environment.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from tests.daemon.harness import DEFAULTS, WAIT_S, Daemon, Document, Refused, read_line
from tests.places import short_root

Seen = TypeVar("Seen")

RELAY = Path(__file__).parent / "programs" / "relay.py"
# One that every user may run; a virtual environment's may lie in somebody's home.
PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or "python3"
NOBODY, AGENTS_USER, STRANGER = 65534, 1, 2
VIEWERS_GID = 60  # `games` on every Debian; a number needs no name
QUIET = "[heartbeat]\nrequired = false\n"
EXTERNAL_TOKEN = "e" * 32
Line = Document | bytes


@dataclass
class Part:
    """Somebody who comes to the socket."""

    daemon: Daemon
    path: Path
    """Where to reach whoever speaks: a relay, or the daemon itself."""
    token: str = ""
    """Presented on each connection before anything else."""

    def connect(self) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(WAIT_S)
        channel.connect(str(self.path))
        if self.token:
            hello = {"type": "hello", "token": self.token, "id": "hello"}
            channel.sendall(json.dumps(hello).encode() + b"\n")
            assert json.loads(read_line(channel))["ok"]
        return channel

    def ask(self, *lines: Line) -> list[Document | None]:
        """Say lines one after the other; None is an answer that never came: it was closed."""
        answers: list[Document | None] = []
        channel = self.connect()
        for line in lines:
            found = _say(channel, line)
            while found is not None and (found.get("error") or {}).get("code") == "too_busy":
                found = _say(channel, line)  # more than fifty a second, and patience
            answers.append(found)
            if found is None:
                channel.close()
                channel = self.connect()
        channel.close()
        return answers


def _say(channel: socket.socket, line: Line) -> Document | None:
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    try:
        channel.sendall(raw + b"\n")
        answer: Document = json.loads(read_line(channel))
    except (ConnectionError, BrokenPipeError):
        return None
    return answer


@dataclass
class Cast:
    """The daemon with everybody around it; `parts` by name."""

    daemon: Daemon
    parts: dict[str, Part] = field(default_factory=dict)
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def relay(
        self, name: str, uid: int, groups: Sequence[int] = (), env: dict[str, str] | None = None
    ) -> None:
        """Start one outside of every agent."""
        path = self.place(name)
        self.children.append(
            subprocess.Popen(
                [PYTHON, "-S", str(self.program), str(path), str(self.daemon.socket)],
                user=uid,
                group=uid,
                extra_groups=list(groups),
                cwd="/",
                env={"PATH": "/usr/bin:/bin", **(env or {})},
            )
        )
        self.add(name, path)

    def add(self, name: str, path: Path, token: str = "") -> None:
        self.daemon.until_true(path.exists, lambda: f"no {name}: {self.daemon.log()}")
        self.parts[name] = Part(self.daemon, path, token)

    def place(self, name: str) -> Path:
        return self.daemon.root / "relays" / name

    @property
    def program(self) -> Path:
        return self.daemon.root / "relay.py"

    def words(self, name: str) -> list[str]:
        """The command of an agent that is a relay."""
        return [PYTHON, "-S", str(self.program), str(self.place(name)), str(self.daemon.socket)]

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        program = os.fsencode(self.program)
        for entry in Path("/proc").iterdir():  # a helper of a daemon that crashed is nobody's
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and program in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)


@contextmanager
def everybody(configure: Callable[[Daemon], None] = lambda _: None) -> Iterator[Cast]:
    """Start a daemon of root's, two victims, and one of each kind who may come."""
    with short_root() as root:
        daemon = Daemon(root)
        cast = Cast(daemon)
        try:
            _write(cast, configure)
            daemon.start()
            _gather(cast)
            yield cast
        finally:
            cast.close()
            daemon.close()


def prepared(cast: Cast) -> None:
    """Put the relays' program where every user may run it, and make room for them."""
    shutil.copy(RELAY, cast.program)
    cast.program.chmod(0o644)
    cast.place("").mkdir(mode=0o777)
    cast.place("").chmod(0o777)


def _write(cast: Cast, configure: Callable[[Daemon], None]) -> None:
    daemon = cast.daemon
    prepared(cast)
    (daemon.root / "token").write_text(EXTERNAL_TOKEN)
    (daemon.root / "token").chmod(0o600)
    extra = DEFAULTS.replace('stop_timeout = "2s"', 'stop_timeout = "2s"\nautostart = true')
    daemon.configure(f'viewer_group = "{VIEWERS_GID}"\noperator_group = ""', extra)
    for name in ("victim", "other"):
        daemon.sleeper(name, 'environment = { SECRET_KEY = "k-77-hidden" }')
    daemon.agent("tree", cast.words("agent by tree"), f'user = "daemon"\ndirectory = "/"\n{QUIET}')
    daemon.sleeper("rootish")
    daemon.sleeper("dying")
    (daemon.root / "agents.d" / "outer.toml").write_text(
        f'external = true\ntoken_file = "{daemon.root}/token"\n'
    )
    helper = ["/bin/sh", "-c", f"exec {' '.join(cast.words('helper'))}"]
    daemon.agent(
        "fails",
        ["/bin/sh", "-c", "exit 1"],
        f"[restart]\nfailures_max = 1\non_escalate = {json.dumps(helper)}\n{QUIET}",
    )
    configure(daemon)


def _gather(cast: Cast) -> None:
    daemon = cast.daemon
    cast.parts["operator"] = Part(daemon, daemon.socket)
    cast.add("helper", cast.place("helper"))  # it lives for a minute only: first of all
    dead = token_of(daemon, "dying")
    cast.relay("agent's user", AGENTS_USER)
    cast.relay("viewer", NOBODY, (VIEWERS_GID,))
    cast.relay("none", STRANGER)
    cast.relay("dead token", 0, env={"AGENTD_TOKEN": dead, "AGENTD_SOCKET": str(daemon.socket)})
    cast.add("agent by tree", cast.place("agent by tree"))
    cast.parts["agent by token"] = Part(daemon, daemon.socket, token_of(daemon, "rootish"))
    cast.parts["external agent"] = Part(daemon, cast.parts["none"].path, EXTERNAL_TOKEN)
    daemon.ask("kill", select=["dying"])
    daemon.until("dying", lambda shown: shown["pid"] is None)
    for name in ("victim", "other", "rootish", "tree"):
        daemon.until_state(name, "running")
    daemon.until_true(lambda: daemon.ask("incidents")["incidents"])


def token_of(daemon: Daemon, name: str) -> str:
    pid = daemon.until_state(name, "running")["pid"]
    raw = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    words = dict(os.fsdecode(word).partition("=")[::2] for word in raw)
    return words["AGENTD_TOKEN"]


def picture(daemon: Daemon) -> Document:
    """Everything that a refused command must leave as it is."""
    return patiently(lambda: _picture(daemon))


def patiently(look: Callable[[], Seen]) -> Seen:
    """Look at the daemon as an operator does, and again where that was too often."""
    while True:
        try:
            return look()
        except Refused as refused:  # looked at too often: an operator too has a rate
            if refused.error["code"] != "too_busy":
                raise
            time.sleep(0.2)


def _picture(daemon: Daemon) -> Document:
    keep = (
        *("name", "pid", "state", "intent", "held", "restarts", "failures", "incarnation"),
        *("tokens", "cost_usd", "heartbeats", "dropped_lines", "last_exit"),
    )
    agents = [{key: one[key] for key in keep} for one in daemon.ask("status", all=True)["agents"]]
    events = [
        event["event"]
        for event in daemon.events()
        if event["event"] not in ("security.refused", "daemon.stalled")
    ]
    files = {
        str(path.relative_to(daemon.root)): path.read_bytes()
        for path in daemon.root.rglob("*.toml")
    }
    return {
        "agents": agents,
        "events": events,
        "files": files,
        "names": sorted(entry.name for entry in daemon.root.iterdir()),
        "incidents": daemon.ask("incidents")["incidents"],
        "checkpoints": daemon.ask("checkpoints"),
        "breakers": daemon.ask("breakers")["breakers"],
        "pid": daemon.pid,
    }


AS_ROOT = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else"),
]
