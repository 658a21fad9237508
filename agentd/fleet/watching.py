"""Watching the other hosts: who is lost, who is back, and who of us announces it.

A host is lost when nothing was heard of it here for the TTL *and* the servers have forgotten its
last sign of life too, which they do after the same time. So whoever is cut off from the servers
never finds anybody lost: it gets no answer to the second question.

Of all who notice, one announces: the first to make an entry that can be made once. Whoever finds
it made looks again later, whether the announcement has reached a daemon; if not, it takes over.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from agentd.client.errors import AgentdError
from agentd.config.names import FLEET_HOST
from agentd.fleet import jetstream
from agentd.fleet.connection import Connection, Message
from agentd.fleet.documents import Claim, alive_of, claim_of, key_of, roster_of, status_of
from agentd.fleet.encoding import Unreadable, pack
from agentd.fleet.log import Log
from agentd.fleet.others import Others
from agentd.fleet.presence import News
from agentd.fleet.settings import FleetSettings
from agentd.fleet.tasks import each

EXPIRY_MS: Final = 1_000
"""The servers may be so late in forgetting an entry; then our own patience counts alone."""
TICKS_PER_TTL: Final = 20
_FORMER_MAX: Final = 8
"""Former presences of our own that are remembered: what was sent as one may arrive late."""


@dataclass(slots=True)
class _Loss:
    """A loss that we know of: which presence ended, and when to look how far its claim came."""

    presence: str
    look_ms: int | None = None
    seq: int | None = None
    """The number of our own claim; None: it is another's."""


class Watcher:
    """Watches over one connection after another; `changed` is called when others changed."""

    def __init__(
        self, settings: FleetSettings, others: Others, log: Log, changed: Callable[[], None]
    ) -> None:
        self.refused = 0
        """Documents that were not believed."""
        self.presence = ""
        """Our own, on the connection of this moment."""
        self._settings = settings
        self._others = others
        self._presences = others.presences
        self._log = log
        self._changed = changed
        self._losses: dict[str, _Loss] = {}
        self._former: deque[str] = deque(maxlen=_FORMER_MAX)
        self._listened: set[str] = set()
        """Hosts whose status comes over the connection of this moment."""

    async def begin(self, connection: Connection, presence: str) -> None:
        """Listen on a new connection, and learn of every host that ever was here."""
        settings = self._settings
        self._former.append(self.presence)
        self.presence = presence
        self._listened.clear()
        # It was us who didn't hear; they too may have to connect again, one after the other.
        patience_ms = _now_ms() + 2 * settings.ttl_ms
        self._presences.forgive(patience_ms)
        await connection.listen(settings.alive_subject("*"), self._hear_alive)
        subjects = await jetstream.subjects(
            connection, settings.hosts_stream, settings.roster_subject("*")
        )
        rostered = {key_of(subject) for subject in subjects}
        for name in sorted(rostered - {settings.host}):
            if FLEET_HOST.fullmatch(name):
                self._presences.expect(name, patience_ms)
        for name, host in list(self._presences.hosts.items()):
            if host.is_lost and name not in rostered:
                # Somebody has removed it on purpose, and it is silent.
                self._losses.pop(name, None)
                self._others.forget(name)

    async def depend_on(self, connection: Connection, hosts: set[str]) -> None:
        """Have the whole status of these hosts from now on."""
        for host in sorted(hosts - self._listened - {self._settings.host}):
            if not FLEET_HOST.fullmatch(host):
                continue
            subject = self._settings.status_subject(host)
            await connection.listen(subject, self._hear_status)
            self._listened.add(host)
            entry = await jetstream.last(connection, self._settings.status_stream, subject)
            if entry is not None:
                self._hear_status(Message(entry.subject, entry.data))

    async def run(self, connection: Connection) -> None:
        """Judge the silence of others until the connection ends, with the error that it met."""
        settings, ticked_ms = self._settings, _now_ms()
        while True:
            await asyncio.sleep(settings.ttl_ms / 1000 / TICKS_PER_TTL)
            now_ms = _now_ms()
            if now_ms - ticked_ms > settings.beat_ms:
                # We stood still: what came meanwhile is not read yet.
                self._presences.forgive(now_ms + settings.ttl_ms)
            ticked_ms = now_ms
            await each(self._presences.missed(now_ms), lambda name: self._judge(connection, name))
            due = [
                name
                for name, loss in self._losses.items()
                if loss.look_ms is not None and loss.look_ms <= _now_ms()
            ]
            await each(due, lambda name: self._look_again(connection, name))

    async def told(self, connection: Connection, hosts: list[str]) -> None:
        """Write down that our daemon has taken the loss of these hosts: it will send the alert."""
        for host in hosts:
            loss = self._losses.get(host)
            if loss is None or loss.seq is None:
                continue
            seq, loss.seq = loss.seq, None
            claim = Claim(host, self._settings.host, told=True)
            try:
                await self._store_claim(connection, loss.presence, claim, seq)
            except AgentdError as error:
                if error.code != jetstream.CONFLICT:
                    loss.seq = seq
                    raise

    def _hear_alive(self, message: Message) -> None:
        try:
            alive = alive_of(message.subject, message.data)
        except Unreadable as error:
            self._refuse(message.subject, str(error))
            return
        if alive.host == self._settings.host:
            if alive.presence != self.presence and alive.presence not in self._former:
                self._log.seldom("fleet.name_taken", host=alive.host, presence=alive.presence)
            return
        news = self._presences.heard(alive.host, alive.presence, alive.count, _now_ms())
        if news is News.REFUSED:
            self._refuse(message.subject, "sent again, or there are two of them")
            return
        due = self._others.take(alive)
        if news is News.BACK:
            self._welcome(alive.host)
        if due or news is not News.KNOWN:
            self._changed()

    def _welcome(self, host: str) -> None:
        self._losses.pop(host, None)
        self._others.back(host)
        self._log.say("fleet.host_back", host=host)

    def _hear_status(self, message: Message) -> None:
        try:
            status = status_of(message.subject, message.data)
        except Unreadable as error:
            self._refuse(message.subject, str(error))
            return
        self._others.statuses[status["host"]] = status
        self._changed()

    def _refuse(self, subject: str, why: str) -> None:
        self.refused += 1
        self._log.seldom("fleet.refused", subject=subject, why=why)

    async def _judge(self, connection: Connection, name: str) -> None:
        """Decide about a host that wasn't heard of for the TTL."""
        settings, host = self._settings, self._presences.hosts[name]
        subject = settings.alive_subject(name)
        entry = await jetstream.last(connection, settings.status_stream, subject)
        if host.until_ms > _now_ms():
            return  # it was heard of meanwhile
        if entry is not None:
            try:
                alive = alive_of(entry.subject, entry.data)
            except Unreadable as error:
                self._refuse(subject, str(error))
            else:
                news = self._presences.heard(name, alive.presence, alive.count, _now_ms())
                if news is not News.REFUSED or _now_ms() < host.until_ms + EXPIRY_MS:
                    return
        await self._lose(connection, name)

    async def _lose(self, connection: Connection, name: str) -> None:
        settings, host = self._settings, self._presences.hosts[name]
        subject = settings.roster_subject(name)
        entry = await jetstream.last(connection, settings.hosts_stream, subject)
        names: list[str] = []
        presence = host.presence
        if entry is None and not presence:
            self._others.forget(name)  # somebody has removed it on purpose
            return
        if entry is not None:
            try:
                roster = roster_of(entry.subject, entry.data)
            except Unreadable as error:
                self._refuse(subject, str(error))
            else:
                names, presence = roster.agents, presence or roster.presence
        loss = _Loss(presence)
        announce = bool(presence) and await self._claim(connection, name, loss)
        if host.until_ms > _now_ms():
            return
        self._presences.lose(name)
        self._losses[name] = loss
        self._others.announced.discard(name)
        self._others.lost(name, names, announce=announce)
        self._log.say("fleet.host_lost", host=name, announce=announce)
        self._changed()

    async def _claim(self, connection: Connection, name: str, loss: _Loss) -> bool:
        """Return whether the announcement of a loss is ours."""
        claim = Claim(name, self._settings.host)
        try:
            loss.seq = await self._store_claim(connection, loss.presence, claim, 0)
        except AgentdError as error:
            if error.code != jetstream.CONFLICT:
                raise
        else:
            return True
        found = await self._claimed(connection, name, loss.presence)
        if found is not None and found[1].by == self._settings.host:
            # Ours, from before this process was started: the daemon knows an alert that it sent.
            loss.seq = None if found[1].told else found[0]
            return True
        loss.look_ms = _now_ms() + self._settings.ttl_ms
        return False

    async def _look_again(self, connection: Connection, name: str) -> None:
        """Take over an announcement that never reached the daemon of whoever claimed it."""
        loss = self._losses.get(name)
        if loss is None:
            return  # it came back while others were looked at
        found = await self._claimed(connection, name, loss.presence)
        if found is None or found[1].told:
            loss.look_ms = None
            return
        loss.look_ms = _now_ms() + self._settings.ttl_ms
        claim = Claim(name, self._settings.host)
        try:
            loss.seq = await self._store_claim(connection, loss.presence, claim, found[0])
        except AgentdError as error:
            if error.code != jetstream.CONFLICT:
                raise
            return  # another was quicker
        loss.look_ms = None
        if self._losses.get(name) is not loss:
            return  # it came back meanwhile
        self._log.say("fleet.took_over", host=name, before=found[1].by)
        self._others.announced.add(name)
        self._changed()

    async def _claimed(
        self, connection: Connection, name: str, presence: str
    ) -> tuple[int, Claim] | None:
        """Return (number, claim) of a loss; None: there is none that could be believed."""
        settings = self._settings
        subject = settings.claim_subject(name, presence)
        entry = await jetstream.last(connection, settings.claims_stream, subject)
        if entry is None:
            return None
        try:
            return entry.seq, claim_of(entry.subject, entry.data)
        except Unreadable as error:
            self._refuse(subject, str(error))
            # Somebody spoilt it: as good as one that was never announced.
            return entry.seq, Claim(name, "nobody")

    async def _store_claim(
        self, connection: Connection, presence: str, claim: Claim, after_seq: int
    ) -> int:
        subject = self._settings.claim_subject(claim.host, presence)
        packed = pack({"host": claim.host, "by": claim.by, "told": claim.told})
        return await jetstream.store(connection, subject, packed, after_seq=after_seq)


def _now_ms() -> int:
    return int(monotonic() * 1000)
