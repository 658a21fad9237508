"""What waits to be written to one peer: bounded, never blocking, never waited for."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

BUFFER_BYTES_MAX: Final = 256 << 10
# Below this a stream goes on; above it its source had better wait.
LOW_BYTES: Final = 64 << 10


class Outbox:
    """Bytes for one socket. A peer that doesn't read in time is given up, not waited for."""

    def __init__(
        self,
        aio: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_empty: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        """`on_empty`: all is written; `on_failed`: `slow` or `gone`, and no more is written."""
        self._aio = aio
        self._sock = sock
        self._on_empty = on_empty
        self._on_failed = on_failed
        self._waiting: deque[memoryview] = deque()
        self._watched = False
        self._closed = False
        self._low: asyncio.Future[None] | None = None
        self._grace = 0
        self.size = 0

    def send(self, data: bytes) -> None:
        """Write at once as far as it goes, and keep the rest for when there is room."""
        if self._closed:
            return
        rest = memoryview(data)
        if not self._waiting:
            rest = rest[self._write(rest) :]
            if not rest or self._closed:
                return
        if self.size > BUFFER_BYTES_MAX + self._grace:
            self._on_failed("slow")
            return
        # One answer may be longer than the buffer: what counts is whether it is read.
        self._grace = max(self._grace, len(rest))
        self._waiting.append(rest)
        self.size += len(rest)
        if not self._watched:
            self._aio.add_writer(self._sock.fileno(), self._writable)
            self._watched = True

    async def drained(self) -> None:
        """Wait until little is left to write, or the peer is given up."""
        while self.size > LOW_BYTES and not self._closed:
            if self._low is None or self._low.done():
                self._low = self._aio.create_future()
            await asyncio.shield(self._low)

    def close(self) -> None:
        """Forget what is not written; nothing more will be."""
        self._closed = True
        if self._watched:
            self._aio.remove_writer(self._sock.fileno())
            self._watched = False
        self._waiting.clear()
        self.size = 0
        self._wake()

    def _writable(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            sent = self._write(first)
            if not sent:
                break
            self.size -= sent
            if sent < len(first):
                self._waiting[0] = first[sent:]
            else:
                self._waiting.popleft()
        if self.size <= LOW_BYTES:
            self._wake()
        if not self._waiting and self._watched:
            self._aio.remove_writer(self._sock.fileno())
            self._watched = False
            self._grace = 0
            self._on_empty()

    def _write(self, data: memoryview) -> int:
        """Return how much was taken: 0 for nothing just now, or never again."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._on_failed("gone")
            return 0

    def _wake(self) -> None:
        if self._low is not None and not self._low.done():
            self._low.set_result(None)
