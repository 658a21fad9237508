"""Events of this host to the stream: read from the daemon's own store, from a cursor on.

The store is the buffer. While the servers are away nothing is read; once they are back, the
pages that they missed are.
"""

import asyncio
import contextlib
from typing import Any, Final

from agentd.client.aio import AsyncClient
from agentd.client.errors import AgentdError
from agentd.fleet import jetstream, streams
from agentd.fleet.connection import Connection
from agentd.fleet.cursor import Cursor
from agentd.fleet.encoding import Document, pack
from agentd.fleet.log import Log
from agentd.fleet.settings import FleetSettings
from agentd.fleet.visible import for_viewers

PAGE: Final = 256
AT_ONCE: Final = 32
"""Events under way at a time: more is no faster, and all of them wait in memory."""
BUSY_S: Final = 1.0
"""A daemon that couldn't answer is asked again after so long, and servers that took no event."""
LOOK_S: Final = 30.0
"""So often the store is looked at without being told: a lost word costs no more than this."""


class Forwarder:
    """Sends what the servers don't have yet; `due` is set when there may be something."""

    def __init__(
        self, daemon: AsyncClient, settings: FleetSettings, cursor: Cursor, log: Log
    ) -> None:
        self.due = asyncio.Event()
        self._daemon = daemon
        self._settings = settings
        self._cursor = cursor
        self._log = log

    async def run(self, connection: Connection) -> None:
        """Forward until the connection ends, with the `AgentdError` that ended it.

        What keeps events alone from being stored ends nothing: signs of life and commands go on.
        """
        while True:
            self.due.clear()
            try:
                events = await self._page()
            except AgentdError as error:
                if error.code == "not_reachable":
                    raise
                self._log.seldom("fleet.no_events", why=error.message)
                await asyncio.sleep(BUSY_S)
                continue
            if events:
                try:
                    await self._send(connection, events)
                except AgentdError as error:
                    if connection.closed.is_set():
                        raise
                    await self._refused(connection, error)
                    await asyncio.sleep(BUSY_S)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.due.wait(), LOOK_S)

    async def _page(self) -> list[Document]:
        after = self._cursor.last_id
        page = await self._daemon.ask("events", {"after": after, "limit": PAGE})
        events: list[Document] = page["events"]
        if not events and after:
            newest = (await self._daemon.ask("events", {"limit": 1}))["last_id"]
            if newest < after:
                self._log.say("fleet.epoch", after=after, newest=newest)
                await asyncio.to_thread(self._cursor.renew)
                return await self._page()
        elif events and events[0]["id"] > after + 1:
            # Away for longer than the daemon keeps events: those are gone for good.
            self._log.seldom("fleet.events_gone", first=after + 1, last=events[0]["id"] - 1)
        return events

    async def _send(self, connection: Connection, events: list[Document]) -> None:
        """Store events in their order; the cursor moves over those that all are stored."""
        for start in range(0, len(events), AT_ONCE):
            some = events[start : start + AT_ONCE]
            ends = await asyncio.gather(
                *(self._store(connection, event) for event in some), return_exceptions=True
            )
            stored = next((i for i, end in enumerate(ends) if end is not None), len(some))
            if stored:
                await self._move(some[stored - 1]["id"])
            if stored < len(some):
                failure = ends[stored]
                assert failure is not None
                raise failure

    async def _refused(self, connection: Connection, refusal: AgentdError) -> None:
        """Tell why no event was stored; where the stream itself is gone, have it made again."""
        self._log.seldom("fleet.events_not_stored", code=refusal.code, why=refusal.message)
        if refusal.code != jetstream.NOT_FOUND:
            return
        try:
            made = await streams.ensure(connection, self._settings)
        except AgentdError as error:
            self._log.seldom("fleet.not_made", code=error.code, why=error.message)
        else:
            if made:
                self._log.say("fleet.made", streams=",".join(made))

    async def _move(self, last_id: int) -> None:
        try:
            # A disk that stands still must not keep the signs of life waiting.
            await asyncio.to_thread(self._cursor.move, last_id)
        except AgentdError as error:
            # A full disk is no reason to fall silent: at worst some events are sent again.
            self._log.seldom("fleet.cursor_not_saved", why=error.message)

    async def _store(self, connection: Connection, event: Document) -> None:
        settings, epoch = self._settings, self._cursor.epoch
        told = {**for_viewers(event), "host": settings.host, "epoch": epoch}
        try:
            await jetstream.store(
                connection,
                settings.event_subject(settings.host),
                _packed(told),
                message_id=f"{settings.host}:{epoch}:{event['id']}",
            )
        except AgentdError as error:
            if error.code != jetstream.TOO_LARGE:
                raise
            # It will never be smaller, and those after it wait.
            self._log.seldom("fleet.event_left_out", id=event["id"], why=error.message)


def _packed(event: dict[str, Any]) -> bytes:
    """Return an event as bytes; one that is too large goes without its data."""
    try:
        return pack(event)
    except AgentdError:
        return pack({**event, "data": {}, "message": str(event.get("message", ""))[:4096]})
