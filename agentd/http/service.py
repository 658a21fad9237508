"""What the handlers of requests work with."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from agentd.client.errors import AgentdError
from agentd.http import parameters
from agentd.http.access import Access, Visitor
from agentd.http.hosts import Hosts
from agentd.http.hub import Hub
from agentd.http.link import Document, Link
from agentd.http.refusals import no_such_agent, refused_by_daemon
from agentd.http.settings import Settings
from agentd.http.stream import Streams


@dataclass(slots=True)
class Service:
    """Everything of one server that outlives a request."""

    settings: Settings
    link: Link
    hub: Hub
    streams: Streams
    access: Access
    hosts: Hosts

    async def read(self, call: "Call", cmd: str, args: Mapping[str, object]) -> Document:
        """Ask the host that is meant; `Refused` with what it refuses with."""
        try:
            if call.host:
                return await self.hosts.ask(call.host, cmd, args)
            return await self.link.ask(cmd, args)
        except AgentdError as error:
            raise refused_by_daemon(error) from None

    async def write(self, call: "Call", cmd: str, args: Mapping[str, object]) -> Document:
        """Change something on the host that is meant."""
        self.access.check_write(call.request, call.visitor)
        try:
            if call.host:
                return await self.hosts.ask(call.host, cmd, args)
            return await self.link.change(cmd, args)
        except AgentdError as error:
            raise refused_by_daemon(error) from None

    async def status(self, call: "Call", name: str = "") -> Document:
        """Return the status of a host, of one agent or of all."""
        try:
            if call.host:
                return self.hosts.status(call.host, name)
            return await self.link.status(select=[name] if name else [])
        except AgentdError as error:
            raise refused_by_daemon(error) from None

    def as_in_fleet(self, status: Document) -> Document:
        """Return this host's status under its name in the fleet, which may not be the system's."""
        return {**status, "host": self.hosts.own} if self.hosts.own else status

    async def agent(self, call: "Call", name: str) -> Document:
        """Return the document of one agent."""
        found = (await self.status(call, name))["agents"]
        if not found:
            raise no_such_agent(name)
        agent: Document = found[0]
        return agent


@dataclass(slots=True)
class Call:
    """One request whose sender is known."""

    service: Service
    request: Request
    visitor: Visitor

    @property
    def host(self) -> str:
        """Return the host that is meant; empty: this one."""
        name = parameters.host(self.request)
        return "" if self.service.hosts.is_own(name) else name
