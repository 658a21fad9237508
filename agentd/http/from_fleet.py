"""The other hosts, as the fleet's servers know them: looked at and asked directly."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentd.client.errors import AgentdError, NotReachable
from agentd.config.schema import FleetConfig
from agentd.http.hosts import Hosts, NoHosts
from agentd.http.link import Document

if TYPE_CHECKING:
    from agentd.fleet.settings import FleetSettings
    from agentd.fleet.view import FleetView

EXTRA: Final = "pip install 'agentd-supervisor[fleet]'"


async def hosts_of(config: FleetConfig, directory: Path) -> Hosts:
    """Return the hosts of the fleet that [fleet] names; where it names none, there are none.

    Whatever is wrong with the fleet is told in the log and costs its hosts, never the rest.
    """
    if not config.nats:
        return NoHosts()
    try:
        from agentd.fleet.settings import FleetSettings  # noqa: PLC0415 - needs the extra

        return await hosts_by(FleetSettings.from_config(config, directory))
    except ModuleNotFoundError as error:
        print(f"agentd-http: no fleet: {error.name} is not installed: {EXTRA}", file=sys.stderr)  # noqa: T201 - to its log
        return NoHosts()
    except AgentdError as error:
        print(f"agentd-http: no fleet: {error.message}", file=sys.stderr)  # noqa: T201 - as above
        return NoHosts()


async def hosts_by(settings: "FleetSettings") -> "FleetHosts":
    """Return the hosts of the fleet that these settings lead to; it is looked at from now on."""
    from agentd.fleet.view import FleetView  # noqa: PLC0415 - needs the extra

    hosts = FleetHosts(FleetView(settings), settings)
    await hosts.open()
    return hosts


class FleetHosts:
    """A fleet that is being looked at, whoever has a page open."""

    def __init__(self, view: "FleetView", settings: "FleetSettings") -> None:
        self._view = view
        self._settings = settings
        self._open = contextlib.AsyncExitStack()

    async def open(self) -> None:
        await self._open.enter_async_context(self._view)

    async def close(self) -> None:
        await self._open.aclose()

    @property
    def own(self) -> str:
        return self._settings.host

    def is_own(self, name: str) -> bool:
        return name in {"", self.own}

    def all(self) -> Sequence[Document]:
        return self._view.hosts()

    def status(self, host: str, agent: str = "") -> Document:
        """Return a host's status; `NotReachable` while it is silent: what was is not what is."""
        found = next((each for each in self._view.hosts() if each["host"] == host), None)
        if found is None:
            raise AgentdError("not_found", f"no host is called {host!r}", "agentctl fleet status")
        status = found["status"]
        if found["state"] == "lost" or status is None:
            why = found["error"] or "nothing was heard of it yet"
            raise NotReachable(f"host {host}: {why}", "agentctl fleet status")
        if not agent:
            return dict(status)
        agents = [each for each in status["agents"] if each["name"] == agent]
        return {**status, "agents": agents}

    async def ask(self, host: str, cmd: str, args: Mapping[str, object]) -> Document:
        from agentd.fleet.commands import request  # noqa: PLC0415 - needs the extra

        if self._view.connection is None:
            why = self._view.error or "not connected"
            raise NotReachable(f"the fleet is out of reach: {why}", "agentctl fleet status")
        return await request(self._view.connection, self._settings, host, cmd, args)
