"""All hosts of a fleet in one view, for a dashboard or a command: looks on, and says nothing."""

import asyncio
import contextlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Final, Self

from agentd.client.errors import AgentdError
from agentd.config.names import FLEET_HOST
from agentd.fleet import jetstream
from agentd.fleet.connection import Connection, Message
from agentd.fleet.documents import alive_of, key_of, status_of
from agentd.fleet.encoding import Document, Unreadable
from agentd.fleet.presence import News, Presences
from agentd.fleet.settings import FleetSettings
from agentd.fleet.tasks import cancel_all, each

_RETRY_S: Final = (0.25, 2.5)
"""The first pause before connecting again, and the longest."""
_TICKS_PER_TTL: Final = 20


@dataclass(slots=True)
class _Seen:
    """What the view has of one host."""

    at: str = ""
    status: Document | None = None
    status_ms: int = 0
    """When the status came, by the monotonic clock."""
    error: str | None = None


class FleetView:
    """Every host, up or lost, with its last status. Use it as `async with FleetView(…) as view`.

    It connects, and connects again, by itself. `ready` is set once it has been complete;
    `changed` each time something is different (whoever waits for it clears it); `error` says
    why nothing new comes, and is None while all is well.
    """

    def __init__(self, settings: FleetSettings) -> None:
        self.ready = asyncio.Event()
        self.changed = asyncio.Event()
        self.error: str | None = "not connected yet"
        self.refused = 0
        """Documents that were not believed: forged, torn, or sent again."""
        self.connection: Connection | None = None
        """The connection that the view stands on at this moment, for commands to use as well."""
        self._settings = settings
        self._presences = Presences(settings.ttl_ms)
        self._seen: dict[str, _Seen] = {}
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running is not None:
            await cancel_all([self._running])

    def hosts(self) -> list[Document]:
        """Return all hosts by name: `{"host","state","seen","status","error"}`.

        `state` is `up` or `lost`, `seen` when it was last heard (our clock; None: not since we
        look), `status` the last document of CONTRACT 6.1 or None.
        """
        rows: list[Document] = []
        for name, host in sorted(self._presences.hosts.items()):
            seen = self._seen.get(name, _Seen())
            error = seen.error
            if not host.is_lost and _now_ms() - seen.status_ms > 2 * self._settings.ttl_ms:
                error = "its link is there, its agentd gives no status"
            if host.is_lost:
                error = f"silent since {seen.at}" if seen.at else "silent"
            rows.append(
                {
                    "host": name,
                    "state": "lost" if host.is_lost else "up",
                    "seen": seen.at or None,
                    "status": seen.status,
                    "error": self.error or error,
                }
            )
        return rows

    async def _run(self) -> None:
        try:
            await self._look_on()
        except Exception as error:
            # Our own mistake. Whoever looks must not take what he sees for news.
            self._tell(f"looking at the fleet ended: {error!r}")
            raise

    async def _look_on(self) -> None:
        pause_s = _RETRY_S[0]
        while True:
            try:
                connection = await Connection.connect(self._settings)
            except AgentdError as error:
                self._tell(error.message)
            else:
                pause_s = _RETRY_S[0]
                try:
                    await self._look(connection)
                except AgentdError as error:
                    self._tell(error.message)
                finally:
                    self.connection = None
                    await connection.close()
            # Not all at once, after a server has been away.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause_s = min(2 * pause_s, _RETRY_S[1])

    def _tell(self, error: str | None) -> None:
        if error != self.error:
            self.error = error
            self.changed.set()

    async def _look(self, connection: Connection) -> None:
        """Watch until the connection ends."""
        settings = self._settings
        self._presences.forgive(_now_ms() + 2 * settings.ttl_ms)
        await connection.listen(settings.alive_subject("*"), self._hear_alive)
        await connection.listen(settings.status_subject("*"), self._hear_status)
        await self._take_stock(connection)
        self.connection = connection
        self._tell(None)
        self.ready.set()
        self.changed.set()
        tick_s = settings.ttl_ms / 1000 / _TICKS_PER_TTL
        ticked_ms = _now_ms()
        while not connection.closed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.closed.wait(), tick_s)
            now_ms = _now_ms()
            if now_ms - ticked_ms > settings.beat_ms:
                # We stood still, not they.
                self._presences.forgive(now_ms + settings.ttl_ms)
            ticked_ms = now_ms
            for name in self._presences.missed(now_ms):
                self._presences.lose(name)
                self.changed.set()
        raise AgentdError("not_reachable", f"{connection.server}: {connection.reason or 'closed'}")

    async def _take_stock(self, connection: Connection) -> None:
        """Learn of all hosts that there are and were, and what the servers have of them."""
        settings = self._settings
        every = await jetstream.subjects(
            connection, settings.hosts_stream, settings.roster_subject("*")
        )
        alive = await jetstream.subjects(
            connection, settings.status_stream, settings.alive_subject("*")
        )
        here = {key_of(subject) for subject in alive}
        now_ms = _now_ms()
        for name in sorted(here | {key_of(subject) for subject in every}):
            if FLEET_HOST.fullmatch(name):
                # The servers forget a sign of life after the TTL: who has none is silent.
                self._presences.expect(name, now_ms + settings.ttl_ms if name in here else now_ms)
        await each(sorted(here), lambda name: self._fetch(connection, name))
        for name in self._presences.missed(now_ms):
            self._presences.lose(name)
        # A host that was forgotten on purpose, and is silent.
        known = here | {key_of(subject) for subject in every}
        for name, host in list(self._presences.hosts.items()):
            if host.is_lost and name not in known:
                self._presences.forget(name)
                self._seen.pop(name, None)

    async def _fetch(self, connection: Connection, name: str) -> None:
        stream, settings = self._settings.status_stream, self._settings
        entry = await jetstream.last(connection, stream, settings.status_subject(name))
        if entry is not None:
            self._take_status(entry.subject, entry.data)

    def _hear_alive(self, message: Message) -> None:
        try:
            alive = alive_of(message.subject, message.data)
        except Unreadable:
            self.refused += 1
            return
        news = self._presences.heard(alive.host, alive.presence, alive.count, _now_ms())
        if news is News.REFUSED:
            self.refused += 1
            return
        self._seen.setdefault(alive.host, _Seen()).at = _now_text()
        if news is not News.KNOWN:
            self.changed.set()

    def _hear_status(self, message: Message) -> None:
        self._take_status(message.subject, message.data)

    def _take_status(self, subject: str, data: bytes) -> None:
        try:
            status = status_of(subject, data)
        except Unreadable:
            self.refused += 1
            return
        self._presences.expect(status["host"], _now_ms() + self._settings.ttl_ms)
        if status["host"] not in self._presences.hosts:
            self.refused += 1  # one host too many
            return
        seen = self._seen.setdefault(status["host"], _Seen())
        seen.status, seen.error = status, status.pop("error", None)
        seen.at, seen.status_ms = _now_text(), _now_ms()
        self.changed.set()


def _now_ms() -> int:
    return int(monotonic() * 1000)


def _now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
