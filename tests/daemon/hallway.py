"""A real socket server in the test's own loop, and peers to meet it.

Peers of the test's own process are whoever the test says (`who`); peers in processes of
their own are judged for what they are.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from agentd.config.schema import DaemonConfig
from agentd.core.lines import Line, Question
from agentd.daemon import procfs
from agentd.daemon.exchange import Exchange
from agentd.daemon.hall import Hall
from agentd.daemon.listener import Listener
from agentd.daemon.peers import Access
from agentd.daemon.questions import Speaker
from agentd.daemon.refusals import Refusal
from agentd.daemon.registry import Incarnation, Registry
from agentd.daemon.sockets import SocketServer
from agentd.wire import replies
from agentd.wire.limits import LineId

WAIT_S = 10.0
# Connects when it is first told something, sends that, and says what comes back.
TALKER = """
import socket, sys
peer = None
for line in sys.stdin.buffer:
    if peer is None:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(sys.argv[1])
    if line == b"read\\n":
        print(peer.makefile("r").readline(), end="", flush=True)
    elif line == b"eof\\n":
        print(repr(peer.recv(1)), flush=True)
    else:
        peer.sendall(line)
        print("sent", flush=True)
"""

Document = dict[str, Any]


class Recorder:
    """A handler that keeps what it is told, and answers every command."""

    def __init__(self) -> None:
        self.lines_of: dict[tuple[str, int], list[Line]] = {}
        self.batches: list[int] = []
        self.dropped_lines: list[tuple[str, int, int, list[Line]]] = []
        self.commands: list[Exchange] = []
        self.gone: list[Exchange] = []
        self.refusals: list[Refusal] = []
        self.answers = True
        self.fails = False

    def lines(self, agent: str, incarnation: int, lines: list[Line]) -> None:
        self.batches.append(len(lines))
        self.lines_of.setdefault((agent, incarnation), []).extend(lines)
        if self.fails:
            raise RuntimeError("a bug of ours")

    def asked(
        self, agent: str, incarnation: int, line: Question, line_id: LineId | None, speaker: Speaker
    ) -> None:
        self.lines_of.setdefault((agent, incarnation), []).append(line)
        speaker.send(replies.ok(line_id, {"asked": type(line).__name__}))

    def dropped(self, agent: str, incarnation: int, count: int, spent: list[Line]) -> None:
        self.dropped_lines.append((agent, incarnation, count, spent))

    def command(self, exchange: Exchange) -> None:
        self.commands.append(exchange)
        if self.fails:
            raise RuntimeError("a bug of ours")
        if self.answers:
            result = {"cmd": exchange.command.cmd, "number": len(self.commands)}
            exchange.send(replies.ok(exchange.command.id, result))

    def left(self, exchange: Exchange) -> None:
        self.gone.append(exchange)

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)


class Peer:
    """A client in the test's own process."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *documents: object) -> None:
        for one in documents:
            raw = one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n"
            self.writer.write(raw)

    async def receive(self) -> Document:
        line = await asyncio.wait_for(self.reader.readline(), WAIT_S)
        assert line, "closed"
        return json.loads(line)  # type: ignore[no-any-return]

    async def ask(self, document: object) -> Document:
        self.send(document)
        return await self.receive()

    async def error(self, document: object) -> str:
        reply = await self.ask(document)
        assert reply["ok"] is False, reply
        return str(reply["error"]["code"])

    async def closed(self) -> bytes:
        """Wait until the server closes; return what it said before."""
        with contextlib.suppress(ConnectionResetError):
            return await asyncio.wait_for(self.reader.read(), WAIT_S)
        return b""

    def close(self) -> None:
        self.writer.close()


class Proc:
    """/proc as it is, but for the test's own process, which is whoever the test says."""

    def __init__(self) -> None:
        self.cgroup = "/elsewhere"

    def stat_of(self, pid: int, /) -> procfs.Stat | None:
        return procfs.stat_of(pid)

    def cgroup_of(self, pid: int, /) -> str | None:
        return self.cgroup if pid == os.getpid() else procfs.cgroup_of(pid)

    def environ(self, pid: int, /) -> dict[bytes, bytes] | None:
        return {} if pid == os.getpid() else procfs.environ(pid)


class Hallway:
    """The server with its surroundings, for the length of a test."""

    def __init__(self, access: Access | None = None, mode: int = 0o600, **daemon: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hall"))
        self.directory.chmod(0o755)
        self.path = self.directory / "agentd.sock"
        self.registry = Registry()
        self.recorder = Recorder()
        self.proc = Proc()
        self._access = access or Access(daemon_pid=-1)
        self._mode = mode
        self._config = DaemonConfig(**daemon)
        self._peers: list[Peer] = []
        self._children: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        aio = asyncio.get_running_loop()
        self.hall = Hall.build(aio, self.registry, self.recorder, self._config)
        self.counters = self.hall.counters
        listener = Listener.open(self.path, mode=self._mode)
        self.server = SocketServer(self.hall, listener, self._access, self.proc)
        self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.close()
        for child in self._children:
            if child.returncode is None:
                child.kill()
            await child.wait()
        self.server.close()
        shutil.rmtree(self.directory)

    def live(self, name: str = "a", ordinal: int = 1, **facts: int) -> Incarnation:
        """Have an incarnation live in a cgroup of its own."""
        incarnation = Incarnation(
            name,
            ordinal,
            f"{name}-{ordinal}",
            f"token-of-{name}-{ordinal}",
            cgroup=f"/agents/{name}.{ordinal}",
            **facts,
        )
        self.registry.add(incarnation)
        return incarnation

    async def connect(self, who: Incarnation | None = None) -> Peer:
        """Connect as an agent, or as the operator that the test's own user is."""
        self.proc.cgroup = who.cgroup if who else "/elsewhere"
        accepted = self.counters.connections_accepted + self.counters.connections_refused
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        peer = Peer(reader, writer)
        self._peers.append(peer)
        counters = self.counters
        await until(lambda: counters.connections_accepted + counters.connections_refused > accepted)
        return peer

    async def talker(self, env: dict[str, str] | None = None) -> "Talker":
        """Start a peer in a process of its own."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            "-c",
            TALKER,
            str(self.path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=env,
        )
        self._children.append(child)
        return Talker(child)

    def heard(self, name: str = "a", ordinal: int = 1) -> list[Line]:
        return self.recorder.lines_of.get((name, ordinal), [])

    async def hears(self, count: int, name: str = "a", ordinal: int = 1) -> list[Line]:
        """Wait until so many lines of an incarnation have come."""
        await until(lambda: len(self.heard(name, ordinal)) >= count)
        return self.heard(name, ordinal)


class Talker:
    """A peer in a process of its own."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child

    async def say(self, document: object) -> str:
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(raw + b"\n")
        line = await asyncio.wait_for(self.child.stdout.readline(), WAIT_S)
        return line.decode().strip()

    async def ask(self, document: object) -> Document:
        assert await self.say(document) == "sent"
        return json.loads(await self.say(b"read"))  # type: ignore[no-any-return]


async def until(true: Callable[[], bool]) -> None:
    """Wait until something holds; looks at it between turns of the loop."""
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110 - what is waited for doesn't tell anybody
            await asyncio.sleep(0.002)


def raw_socket(path: Path) -> socket.socket:
    """Connect without a reader that takes what comes."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return sock
