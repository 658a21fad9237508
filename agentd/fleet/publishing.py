"""What this host tells the fleet of itself: signs of life, its status, its agents' names."""

import asyncio
import contextlib
from time import monotonic
from typing import Any, Final

from agentd.client.aio import AsyncClient
from agentd.client.errors import AgentdError
from agentd.fleet import jetstream
from agentd.fleet.connection import Connection
from agentd.fleet.encoding import Document, pack
from agentd.fleet.log import Log
from agentd.fleet.settings import FleetSettings

CHANGES_S: Final = 1.0
"""A status that keeps changing is sent so often and no more."""
# Figures that change with every heartbeat; they travel with the next regular document.
_FIGURES: Final = frozenset(
    {"uptime_s", "silence_s", "expected_silence_s", "heartbeats", "rss_bytes", "cpu_percent"}
    | {"memory_forecast_s", "tokens", "cost_usd", "tasks", "budgets", "cooldown_s", "parked_s"}
    | {"open_call", "progress", "counters"}
)


class Publisher:
    """Publishes as one presence; `due` is set when the status may have changed."""

    def __init__(
        self, daemon: AsyncClient, settings: FleetSettings, log: Log, presence: str
    ) -> None:
        self.due = asyncio.Event()
        self.acked_s = monotonic()
        """When the servers last confirmed a sign of life."""
        self.extra: Document = {}
        """What signs of life carry besides: `spent` and `breakers`."""
        self._daemon = daemon
        self._settings = settings
        self._log = log
        self._presence = presence
        self._roster: list[str] | None = None

    async def beat(self, connection: Connection) -> None:
        """Give signs of life until nobody confirms them: then `TimedOut`."""
        settings, count = self._settings, 0
        beat_s = settings.beat_ms / 1000
        while True:
            count += 1
            alive = {"host": settings.host, "presence": self._presence, "count": count}
            began_s = monotonic()
            try:
                await jetstream.store(
                    connection,
                    settings.alive_subject(settings.host),
                    pack({**alive, **self.extra}),
                    timeout_s=beat_s,
                )
                self.acked_s = monotonic()
            except AgentdError as error:
                # One may get lost. Two: others will soon believe that we are.
                if error.code != "timeout" or monotonic() - self.acked_s > 2 * beat_s:
                    raise
            await asyncio.sleep(max(0.0, began_s + beat_s - monotonic()))

    async def show(self, connection: Connection) -> None:
        """Publish the status: when it changes, and before the bucket forgets it."""
        beat_s = self._settings.beat_ms / 1000
        shown: object = None
        shown_s = -1e9
        while True:
            self.due.clear()
            asked_s = monotonic()
            status = await self._status()
            if status is not None:
                now = _significant(status)
                if now != shown or monotonic() - shown_s > 1.9 * beat_s:
                    await self._store_status(connection, status)
                    shown, shown_s = now, monotonic()
                await self._store_roster(connection, status)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.due.wait(), beat_s)
            await asyncio.sleep(max(0.0, asked_s + min(CHANGES_S, beat_s) - monotonic()))

    async def _status(self) -> Document | None:
        try:
            status = await self._daemon.ask("status", {}, timeout_s=self._settings.ttl_ms / 1000)
        except AgentdError as error:
            if error.code == "not_reachable":
                raise
            # A daemon that is busy: what it said last stands until the bucket forgets it.
            self._log.seldom("fleet.no_status", why=error.message)
            return None
        return {**status, "host": self._settings.host}

    async def _store_status(self, connection: Connection, status: Document) -> None:
        try:
            packed = pack(status)
        except AgentdError as error:
            self._log.seldom("fleet.status_too_large", why=error.message)
            packed = pack({**status, "agents": [], "error": error.message})
        await jetstream.store(
            connection, self._settings.status_subject(self._settings.host), packed
        )

    async def _store_roster(self, connection: Connection, status: Document) -> None:
        names = sorted(agent["name"] for agent in status["agents"])
        if names == self._roster:
            return
        settings = self._settings
        roster = {"host": settings.host, "presence": self._presence, "agents": names}
        await jetstream.store(connection, settings.roster_subject(settings.host), pack(roster))
        self._roster = names


def _significant(status: dict[str, Any]) -> object:
    """Return of a status what a person would call a change."""
    return [
        {key: value for key, value in agent.items() if key not in _FIGURES}
        for agent in status["agents"]
    ]
