"""Server-sent events: what one open page, or one program, is told.

First a `snapshot`, again after each gap; then `status` with what has changed, `event` with
each event and its id, and `daemon` when the daemon is gone or back. A stream is never ahead of
its reader: it looks at what is true when there is room, and skips what lies between.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from time import monotonic
from typing import Any, Final, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentd.client.errors import AgentdError
from agentd.http.encoding import encoded
from agentd.http.hub import Hub, Moment
from agentd.http.refusals import Refused

STREAMS_MAX: Final = 64
COMMENT_S: Final = 10.0
PAGE: Final = 500
RECONNECT_MS: Final = 1_000
"""So soon a browser comes back after a lost connection."""


class Wording(Protocol):
    """How a moment is put into words for one reader, which remembers what it said last."""

    def told(self, moment: Moment) -> bytes | None:
        """Return the data of the next `snapshot` or `status` as JSON; None: nothing is new."""
        ...

    def forget(self) -> None:
        """Begin anew: the next is a `snapshot`."""
        ...


class Documents:
    """The wording for programs: the documents themselves, whole and then what changed."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._before: Moment | None = None

    def told(self, moment: Moment) -> bytes | None:
        before, self._before = self._before, moment
        if before is moment:
            return None

        def made() -> bytes:
            return encoded(moment.whole() if before is None else moment.since(before))

        return self._hub.once(("documents", before), made)

    def forget(self) -> None:
        self._before = None


class Streams:
    """All open streams, at most STREAMS_MAX."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._open = 0

    def open(self, wording: Wording, last_event_id: int | None) -> "EventStream":
        """Return a stream that isn't begun; `Refused` if there are as many as there may be."""
        if self._open >= STREAMS_MAX:
            told = f"{STREAMS_MAX} streams are open already"
            raise Refused("too_busy", told, "close a page", {"Retry-After": "10"})
        return EventStream(self._hub, wording, last_event_id, self._count)

    def _count(self, change: int) -> None:
        self._open += change


class EventStream(Response):
    """The answer to one `GET /api/v1/stream`, as an ASGI application."""

    def __init__(
        self,
        hub: Hub,
        wording: Wording,
        last_event_id: int | None,
        count: Callable[[int], None],
    ) -> None:
        super().__init__()
        self._hub = hub
        self._wording = wording
        self._cursor = last_event_id
        self._count = count
        self._was_reachable = True
        self._was_told = False
        self._comment_at_s = monotonic() + COMMENT_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._count(1)  # before anything is waited for: whoever comes next is told the truth
        try:
            await self._begin(scope, receive, send)
        finally:
            self._count(-1)

    async def _begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        telling = asyncio.create_task(self._tell(send))
        leaving = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            telling.cancel()
            await asyncio.wait({telling, leaving})
        if not telling.cancelled():
            telling.result()  # raises what went wrong

    async def _tell(self, send: Send) -> None:
        with self._hub.look():
            async with aclosing(self.chunks()) as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield pieces of the stream until the server ends."""
        yield f"retry: {RECONNECT_MS}\n\n".encode()
        while not self._hub.closed:
            news = self._hub.news  # before looking, so that nothing is missed in between
            for frame in self._frames():
                yield frame
            async for frame in self._events():
                yield frame
            if monotonic() >= self._comment_at_s:
                self._comment_at_s = monotonic() + COMMENT_S
                yield b": here\n\n"
            try:
                async with asyncio.timeout(max(0.0, self._comment_at_s - monotonic())):
                    await news.wait()
            except TimeoutError:
                continue

    def _frames(self) -> Iterator[bytes]:
        """Yield what is to be told of the daemon and its status."""
        hub = self._hub
        if hub.is_reachable is None:
            return
        if hub.is_reachable != self._was_reachable:
            self._was_reachable = hub.is_reachable
            told: dict[str, object] = {"reachable": hub.is_reachable}
            if not hub.is_reachable:
                self._wording.forget()
                self._was_told = False
                told |= {"last_seen": hub.last_seen, "message": hub.why_not}
            yield frame_of("daemon", encoded(told))
        if hub.moment is not None:
            data = self._wording.told(hub.moment)
            if data is not None:
                yield frame_of("status" if self._was_told else "snapshot", data)
                self._was_told = True

    async def _events(self) -> AsyncIterator[bytes]:
        """Yield the events past the cursor: those kept here, else from the daemon's journal."""
        hub = self._hub
        if hub.last_id is None:
            return
        if self._cursor is None or self._cursor > hub.last_id:
            self._cursor = hub.last_id
        while True:
            found = hub.events_after(self._cursor)
            if found is None:
                try:
                    found = await hub.events_from_daemon(self._cursor, PAGE)
                except AgentdError:
                    return  # told as `daemon`; the cursor stays, so that nothing is left out
            if not found:
                return
            for event in found:
                self._cursor = event["id"]
                yield frame_of("event", encoded(event), event["id"])


def frame_of(name: str, data: bytes, number: int | None = None) -> bytes:
    """Return one message of the stream; JSON has no bare line break, so that it is one line."""
    head = f"event: {name}\n" if number is None else f"event: {name}\nid: {number}\n"
    return b"%sdata: %s\n\n" % (head.encode(), data)


def last_event_id(sent: str | None) -> int | None:
    """Return the id that a browser sends when it comes back; None: none, or none of ours."""
    if sent is None or not sent.isascii() or not sent.isdecimal() or len(sent) > 15:  # noqa: PLR2004
        return None
    return int(sent)


async def _until_gone(receive: Receive) -> None:
    message: Any = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
