"""The link between this host's daemon and the fleet.

    the daemon ── channel ──► status, events ──► NATS ──► other links, dashboards, people
        ▲                                          │
        └── command `fleet`, commands from afar ◄──┘

Supervision goes on whatever happens here. While no server can be reached the daemon is told so;
its own store keeps the events. When the daemon goes, the channel ends, and so does this process.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Coroutine
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final

from agentd.client.aio import AsyncClient
from agentd.client.errors import AgentdError
from agentd.client.notify import tell
from agentd.fleet import streams
from agentd.fleet.connection import Connection
from agentd.fleet.cursor import Cursor
from agentd.fleet.documents import BREAKERS_MAX
from agentd.fleet.encoding import Document
from agentd.fleet.forwarding import Forwarder
from agentd.fleet.log import Log
from agentd.fleet.others import Others
from agentd.fleet.presence import Presences
from agentd.fleet.publishing import Publisher
from agentd.fleet.serving import Server
from agentd.fleet.settings import FleetSettings
from agentd.fleet.spending import SpendingFile
from agentd.fleet.tasks import cancel_all
from agentd.fleet.watching import Watcher

RETRY_S: Final = 0.25
"""The first pause before connecting again; it doubles up to a quarter of the TTL."""
REFUSED_RETRY_S: Final = 10.0
"""Where we are refused, time alone mends nothing; people with configurations do."""
SETTLED_BEATS: Final = 1.25
"""So many signs of life of each host are waited for after connecting: one, and a little."""
TELL_S: Final = 0.2
"""Changes that come closer together are told to the daemon in one."""
FOLLOW_AGAIN_S: Final = 1.0
_PRESENCE_BYTES: Final = 8


class Link:
    """One host's link, for as long as its daemon's channel lasts."""

    def __init__(
        self, daemon: AsyncClient, settings: FleetSettings, directory: Path, log: Log
    ) -> None:
        """`directory` holds what has to outlive this process; `storage_unavailable` without it."""
        cursor = Cursor.read(directory)
        self._daemon = daemon
        self._settings = settings
        self._log = log
        self._spending = SpendingFile(directory, log)
        self._others = Others(
            settings.host, Presences(settings.ttl_ms), spent=self._spending.read()
        )
        self._watcher = Watcher(settings, self._others, log, self._change)
        self._forwarder = Forwarder(daemon, settings, cursor, log)
        self._server = Server(daemon, settings, log)
        self._publisher: Publisher | None = None
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self._depends_on: list[str] = []
        self._date: str | None = None
        self._extra: Document = {}
        self._since_s = inf
        """When the connection of this moment was complete; never, while it isn't."""

    async def run(self) -> None:
        """Link until the daemon's channel ends."""
        tasks = [
            asyncio.ensure_future(work)
            for work in (self._follow_events(), self._tell_forever(), self._connect_forever())
        ]
        ended = asyncio.ensure_future(self._daemon.closed.wait())
        try:
            await asyncio.wait({*tasks, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            ends = await cancel_all(tasks)
        if not self._daemon.closed.is_set():
            _raise_first(ends)

    def _change(self) -> None:
        self._changed.set()

    async def _follow_events(self) -> None:
        """Follow the daemon's events, to look what is new whenever something happened."""
        while True:
            newest = None
            try:
                newest = (await self._daemon.ask("events", {"limit": 1}))["last_id"]
                async for _ in self._daemon.follow("events", {"after": newest}):
                    self._stir()
            except AgentdError as error:
                if error.code == "not_reachable":
                    return
                self._log.seldom("fleet.not_followed", why=error.message)
            self._stir()
            await asyncio.sleep(FOLLOW_AGAIN_S)

    def _stir(self) -> None:
        self._forwarder.due.set()
        if self._publisher is not None:
            self._publisher.due.set()

    # Being connected.

    async def _connect_forever(self) -> None:
        pause_s = RETRY_S
        longest_s = self._settings.beat_ms / 1000
        while True:
            self._since_s = inf
            try:
                await self._connected()
            except AgentdError as error:
                if monotonic() - self._since_s > self._settings.ttl_ms / 1000:
                    # It held for a while: this is another trouble, and told anew.
                    pause_s = RETRY_S
                    self._log.over("fleet.connected")
                    self._log.over("fleet.not_connected")
                self._log.seldom("fleet.not_connected", code=error.code, why=error.message)
                tell(f"STATUS=not connected to NATS, trying again: {error.message}")
                if error.code in {"forbidden", "invalid_config"}:
                    pause_s = REFUSED_RETRY_S
            self._publisher = self._connection = None
            self._change()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause_s = min(2 * pause_s, max(longest_s, RETRY_S))

    async def _connected(self) -> None:
        """Live through one connection; ends with the `AgentdError` that ended it."""
        settings = self._settings
        connection = await Connection.connect(settings)
        try:
            made = await streams.ensure(connection, settings)
            if made:
                self._log.say("fleet.made", streams=",".join(made))
            presence = os.urandom(_PRESENCE_BYTES).hex()
            publisher = Publisher(self._daemon, settings, self._log, presence)
            publisher.extra = self._extra
            await self._watcher.begin(connection, presence)
            await self._server.serve(connection)
            await self._watcher.depend_on(connection, self._needed_hosts())
            self._publisher, self._connection = publisher, connection
            self._since_s = monotonic()
            self._log.seldom("fleet.connected", server=connection.server, host=settings.host)
            tell(f"STATUS=connected to {connection.server} as {settings.host}")
            self._change()
            await _first_end(
                publisher.beat(connection),
                publisher.show(connection),
                self._forwarder.run(connection),
                self._watcher.run(connection),
                _until_closed(connection),
            )
        finally:
            await connection.close()

    def _is_common(self) -> bool:
        """Whether what we know of the others is what everybody knows.

        The servers hear us, and every host had the time for a sign of life since they do.
        """
        beat_s = self._settings.beat_ms / 1000
        return (
            self._publisher is not None
            and monotonic() - self._since_s > SETTLED_BEATS * beat_s
            and monotonic() - self._publisher.acked_s < 2 * beat_s
        )

    def _needed_hosts(self) -> set[str]:
        return {name.partition("/")[0] for name in self._depends_on}

    # What the daemon is told, and tells.

    async def _tell_forever(self) -> None:
        every_s = self._settings.ttl_ms / 2000
        while True:
            self._changed.clear()
            try:
                await self._tell()
            except AgentdError as error:
                if error.code == "not_reachable" and self._daemon.closed.is_set():
                    return
                self._log.seldom("fleet.not_told", code=error.code, why=error.message)
            await asyncio.sleep(TELL_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), every_s - TELL_S)

    async def _tell(self) -> None:
        others, connection = self._others, self._connection
        told: Document = {"connected": False, "hosts": [], "breakers": []}
        if self._is_common():
            told = others.document(self._depends_on, self._date)
            self._spending.write(others.spent)
        reply = await self._daemon.ask("fleet", told)
        self._take(reply)
        if not told["connected"]:
            return
        lost = [row["name"] for row in told["hosts"] if row["state"] == "lost" and row["announce"]]
        others.returned -= {row["name"] for row in told["hosts"] if row["state"] == "up"}
        if connection is None or connection is not self._connection:
            return  # another connection, or none, by now: it is told there
        await self._watcher.told(connection, lost)
        await self._watcher.depend_on(connection, self._needed_hosts())

    def _take(self, reply: Document) -> None:
        """Take what the daemon says of its own host."""
        self._depends_on = list(reply.get("depends_on") or ())
        spent = reply.get("spent_usd_day") or {}
        self._date = spent.get("date")
        self._extra = {"breakers": (reply.get("breakers") or [])[:BREAKERS_MAX]}
        if spent:
            self._extra["spent"] = {"date": spent["date"], "own": spent.get("own") or 0.0}
        if self._publisher is not None:
            self._publisher.extra = self._extra


async def run(daemon: AsyncClient, settings: FleetSettings, state_dir: Path, log: Log) -> None:
    """Link a daemon to the fleet until its channel ends."""
    link = Link(daemon, settings, state_dir / "fleet", log)
    tell("READY=1", "STATUS=not connected to NATS yet")
    await link.run()


async def _until_closed(connection: Connection) -> None:
    await connection.closed.wait()
    raise AgentdError("not_reachable", f"{connection.server}: {connection.reason or 'closed'}")


async def _first_end(*works: Coroutine[object, object, None]) -> None:
    """Do several things that all go on for ever, until one fails; raise what it failed with."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ends = await cancel_all(tasks)
    _raise_first(ends)


def _raise_first(ends: list[BaseException | None]) -> None:
    for end in ends:
        if isinstance(end, Exception):
            raise end
