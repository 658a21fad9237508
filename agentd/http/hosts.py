"""The other hosts of the fleet, where there is one; none of this goes through the daemon."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from agentd.client.errors import AgentdError
from agentd.http.link import Document


class Hosts(Protocol):
    """What is known of other hosts, and the way to them."""

    @property
    def own(self) -> str:
        """This host's name in the fleet; empty: it is in none."""
        ...

    def is_own(self, name: str) -> bool:
        """Whether a name means this host; the empty one does."""
        ...

    def all(self) -> Sequence[Document]:
        """Return `{"host","state","seen","status","error"}` of each; none without a fleet."""
        ...

    def status(self, host: str, agent: str = "") -> Document:
        """Return the status of a host as last heard of, whole or of one agent."""
        ...

    async def ask(self, host: str, cmd: str, args: Mapping[str, object]) -> Document:
        """Have a host carry out a command."""
        ...

    async def close(self) -> None: ...


class NoHosts:
    """No fleet: every other host is unknown."""

    own = ""

    def is_own(self, name: str) -> bool:
        return not name

    def all(self) -> Sequence[Document]:
        return ()

    def status(self, host: str, agent: str = "") -> Document:
        del agent
        raise _unknown(host)

    async def ask(self, host: str, cmd: str, args: Mapping[str, object]) -> Document:
        del cmd, args
        raise _unknown(host)

    async def close(self) -> None:
        """Nothing is open."""


def _unknown(host: str) -> AgentdError:
    return AgentdError("not_found", f"no host is called {host!r}", "this one is in no fleet")
