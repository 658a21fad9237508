"""One connection to the daemon for programs that run an event loop of asyncio.

    client = await AsyncClient.connect(socket_path())
    status = await client.ask("status")
    async for line in client.follow("events", {"after": 0}):
        print(line["event"]["message"])

Any number of requests and of followed streams run on it at once, told apart by their ids. It
never connects anew: once `closed` is set, all that waits has failed with `NotReachable`, and
whoever wants to go on makes another. Standard library only; durations are seconds.
"""

import asyncio
import itertools
import json
import os
import socket
from collections.abc import AsyncGenerator, Mapping
from types import MappingProxyType
from typing import Any, Final, Self

from agentd.client.channel import CONNECT_S, REPLY_BYTES_MAX, decode, not_connected, start_hint
from agentd.client.errors import AgentdError, NotReachable, TimedOut
from agentd.client.link import Document, result_of

CHANNEL_ENV: Final = "AGENTD_CHANNEL"
"""Variable that holds the number of the descriptor which agentd gave to an internal agent."""
ASK_S: Final = 10.0
STREAM_LINES_MAX: Final = 10_000
"""Lines of one stream that may wait to be taken; a reader that is further behind is told so."""
NO_ARGS: Final[Mapping[str, object]] = MappingProxyType({})
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))


class AsyncClient:
    """A connected client; `closed` is set when the connection is over, whoever ended it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
    ) -> None:
        """Private: `connect` and `adopt` make one. `path` is named in errors."""
        self.closed = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._path = path
        self._prefix = os.urandom(6).hex()
        self._numbers = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Document]] = {}
        self._streams: dict[str, _Stream] = {}
        self._ended: AgentdError = NotReachable(
            f"agentd on {path} went away: connection closed", start_hint(path)
        )
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def connect(cls, path: str) -> Self:
        """Connect to the daemon's socket; `NotReachable`, `TimedOut` or `forbidden`."""
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_unix_connection(path, limit=REPLY_BYTES_MAX)
        except TimeoutError:
            raise TimedOut(
                f"agentd does not accept connections on {path}", "it is stopped or overloaded"
            ) from None
        except OSError as error:
            raise not_connected(path, error) from None
        return cls(reader, writer, path)

    @classmethod
    async def adopt(cls, fd: int) -> Self:
        """Take over an inherited end of a socketpair; `OSError` if it is none."""
        peer = socket.socket(fileno=fd)
        peer.set_inheritable(False)  # what we start must not have it
        peer.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=peer, limit=REPLY_BYTES_MAX)
        return cls(reader, writer, "its own channel")

    async def ask(
        self, cmd: str, args: Mapping[str, object] = NO_ARGS, timeout_s: float = ASK_S
    ) -> Document:
        """Return the result of one command of CONTRACT 5.2, or raise its `AgentdError`.

        `TimedOut` after so long: whether a write was carried out isn't known then.
        """
        answer: asyncio.Future[Document] = asyncio.get_running_loop().create_future()
        number = self._number()
        self._answers[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self._send({"id": number, "cmd": cmd, "args": dict(args)})
                return result_of(await answer)
        except TimeoutError:
            raise TimedOut(
                f"no answer in time from agentd on {self._path}", "it is stopped or overloaded"
            ) from None
        finally:
            self._answers.pop(number, None)

    async def follow(
        self, cmd: str, args: Mapping[str, object] = NO_ARGS
    ) -> AsyncGenerator[Document]:
        """Yield each line of a stream, and as `{"result":…}` a reply where there is one.

        Ends with an `AgentdError` only: the daemon's refusal, the connection's end, or that its
        reader is too far behind. However it ends here, the daemon is told to send no more of it.
        """
        number = self._number()
        stream = self._streams[number] = _Stream()
        try:
            await self._send({"id": number, "cmd": cmd, "args": dict(args), "follow": True})
            while True:
                line = await stream.take()
                yield {"result": result_of(line)} if "ok" in line else line
        finally:
            del self._streams[number]
            if not self.closed.is_set():
                self._write({"id": self._number(), "cmd": "unfollow", "args": {"id": number}})

    async def close(self) -> None:
        """End the connection; what waits fails with `NotReachable`."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._end()

    def _number(self) -> str:
        # Random in front: the daemon answers a known id of the same user as it did before.
        return f"{self._prefix}-{next(self._numbers)}"

    async def _send(self, line: Mapping[str, object]) -> None:
        if self.closed.is_set():
            raise self._ended
        self._write(line)
        try:
            await self._writer.drain()
        except OSError:
            self._end()
            raise self._ended from None

    def _write(self, line: Mapping[str, object]) -> None:
        self._writer.write(encoded(line) + b"\n")

    async def _read(self) -> None:
        """Hand each line to whoever waits for it, until the connection is over."""
        try:
            while True:
                self._take(decode(await self._reader.readuntil(), self._path))
        except (asyncio.IncompleteReadError, OSError):
            pass  # its end: `_ended` says so already
        except asyncio.LimitOverrunError:
            self._ended = AgentdError("internal", "an answer of more than 64 MiB was refused")
        except AgentdError as error:
            self._ended = error
        finally:
            self._end()

    def _take(self, line: dict[str, Any]) -> None:
        number = line.get("id")
        if number is None and line.get("ok") is False:
            # An error without an id comes before the daemon closes on a stranger.
            result_of(line)
        answer, stream = self._answers.get(str(number)), self._streams.get(str(number))
        if answer is not None and not answer.done():
            answer.set_result(line)
        elif stream is not None:
            stream.give(line)

    def _end(self) -> None:
        self.closed.set()
        self._writer.close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._ended)
                answer.exception()  # whoever asked may have gone: nothing to warn of
        for stream in self._streams.values():
            stream.end(self._ended)


def encoded(value: object) -> bytes:
    """Return JSON as it is sent: whoever fills a line up to its bound measures with this."""
    return _COMPACT.encode(value).encode()


class _Stream:
    """Lines of one follower between their arrival and their reader."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[Document | AgentdError] = asyncio.Queue()
        self._over = False

    def give(self, line: Document) -> None:
        if self._over:
            return
        if self._lines.qsize() >= STREAM_LINES_MAX:
            self.end(AgentdError("too_busy", "the reader of a stream is too far behind"))
        else:
            self._lines.put_nowait(line)

    def end(self, error: AgentdError) -> None:
        if not self._over:
            self._over = True
            self._lines.put_nowait(error)

    async def take(self) -> Document:
        line = await self._lines.get()
        if isinstance(line, AgentdError):
            raise line
        return line
