"""The events of all hosts, as the stream has them: a page of the newest, and what comes next."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Final

from agentd.client.errors import AgentdError
from agentd.fleet import jetstream
from agentd.fleet.connection import Connection, Message
from agentd.fleet.documents import event_of
from agentd.fleet.encoding import Document, Unreadable
from agentd.fleet.settings import FleetSettings
from agentd.fleet.tasks import each

PAGE_MAX: Final = 10_000
_WAITING_MAX: Final = 10_000
_NUMBERINGS_MAX: Final = 40_000
"""Numberings of hosts that are remembered: twice the hosts of the largest fleet."""


class EventReader:
    """Reads events in the order in which the servers got them, each once.

    A link whose machine died between storing an event and writing that down sends it again.
    The stream drops what it saw in the last ten minutes; what is older is dropped here: the
    events of one numbering of a host rise.
    """

    def __init__(self, connection: Connection, settings: FleetSettings) -> None:
        self.refused = 0
        """Events that were not believed: another host's, or torn."""
        self._connection = connection
        self._settings = settings
        self._newest: dict[tuple[str, str], int] = {}

    async def page(self, limit: int = 50, hosts: Iterable[str] = ()) -> list[Document]:
        """Return the newest events, of some hosts or of all, the oldest first."""
        wanted = set(hosts)
        stream = self._settings.events_stream
        state = (await jetstream.info(self._connection, stream))["state"]
        first, upto = int(state["first_seq"]), int(state["last_seq"])
        found: dict[int, Document] = {}

        async def fetch(seq: str) -> None:
            entry = await jetstream.at(self._connection, stream, int(seq))
            event = None if entry is None else self._event(entry.subject, entry.data)
            if event is not None and (not wanted or event["host"] in wanted):
                found[int(seq)] = event

        looked = 0
        while len(found) < limit and upto >= first and upto > 0 and looked < PAGE_MAX:
            start = max(first, upto - limit + 1)
            await each(map(str, range(start, upto + 1)), fetch)
            looked += upto - start + 1
            upto = start - 1
        return [event for seq in sorted(found)[-limit:] if (event := self._once(found[seq]))]

    async def follow(self, hosts: Iterable[str] = ()) -> AsyncGenerator[Document]:
        """Yield what comes from now on, until an `AgentdError`.

        `not_reachable`: the connection ended; `too_busy`: the reader of this is too far behind.
        """
        wanted = set(hosts)
        queue: asyncio.Queue[Message] = asyncio.Queue(_WAITING_MAX)
        late = asyncio.Event()

        def hear(message: Message) -> None:
            if queue.full():
                late.set()
            else:
                queue.put_nowait(message)

        await self._connection.listen(self._settings.event_subject("*"), hear)
        ended = asyncio.ensure_future(self._connection.closed.wait())
        try:
            while True:
                coming = asyncio.ensure_future(queue.get())
                await asyncio.wait({coming, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    raise AgentdError("not_reachable", f"lost: {self._connection.reason}")
                if late.is_set():
                    raise AgentdError("too_busy", "the reader of events is too far behind")
                message = coming.result()
                event = self._event(message.subject, message.data)
                if event is None or (wanted and event["host"] not in wanted):
                    continue
                once = self._once(event)
                if once is not None:
                    yield once
        finally:
            ended.cancel()

    def _event(self, subject: str, data: bytes) -> Document | None:
        try:
            return event_of(subject, data)
        except Unreadable:
            self.refused += 1
            return None

    def _once(self, event: Document) -> Document | None:
        """Return an event without what only we need, or None if it was seen before."""
        key = event["host"], str(event.pop("epoch", ""))
        if event["id"] <= self._newest.get(key, 0):
            return None
        self._newest[key] = event["id"]
        if len(self._newest) > _NUMBERINGS_MAX:
            del self._newest[next(iter(self._newest))]
        return event
