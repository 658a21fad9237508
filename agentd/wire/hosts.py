"""The command `fleet`: what the link tells of the other hosts, checked, as values of the core.

What comes from other hosts may be wrong, or a lie: names are names, amounts are bounded, and
no text of theirs is taken over but these.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from agentd.core.host_views import HostsView, RemoteAgent, RemoteBreaker, RemoteHost
from agentd.wire.limits import Name

HOSTS_MAX: Final = 2_000
AGENTS_MAX: Final = 4_096
BREAKERS_MAX: Final = 4_096
# More than any fleet spends in a day; sums of it stay far below what an integer holds.
SPENT_USD_MAX: Final = 1e9
_MICROS_PER_USD: Final = 1_000_000

HostName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")]
AgentName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\Z")]
Reason = Annotated[str, Meta(pattern=r"^[A-Z_]{1,40}\Z")]
Date = Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?\Z")]


class AgentElsewhere(Struct):
    """One agent of another host; `ready` as `depends_on` means it."""

    name: AgentName
    ready: bool = False
    reason: Reason | None = None


class HostElsewhere(Struct):
    """Another host; `announce`: it falls to this one to tell that it is lost."""

    name: HostName
    state: Literal["up", "lost"]
    announce: bool = False
    agents: Annotated[list[AgentElsewhere], Meta(max_length=AGENTS_MAX)] = []


class Spent(Struct):
    """What the other hosts have spent in the civil day `date`, and how many hosts there are."""

    date: Date = ""
    others: Annotated[float, Meta(ge=0, le=SPENT_USD_MAX)] = 0.0
    hosts: Annotated[int, Meta(ge=1, le=HOSTS_MAX + 1)] = 1


class BreakerElsewhere(Struct):
    """A breaker of another host."""

    host: HostName
    name: Name
    state: Literal["open", "half_open", "closed"] = "open"


class FleetArgs(Struct):
    """`fleet`: how the other hosts are, all of it each time; of a link that is cut off, that."""

    connected: bool
    hosts: Annotated[list[HostElsewhere], Meta(max_length=HOSTS_MAX)] = []
    spent_usd_day: Spent | None = None
    breakers: Annotated[list[BreakerElsewhere], Meta(max_length=BREAKERS_MAX)] = []


def hosts_view(raw: Mapping[str, object]) -> HostsView:
    """Return what the core is told. Raises `msgspec.ValidationError`, which names the field."""
    args = msgspec.convert(raw, FleetArgs)
    spent = args.spent_usd_day or Spent()
    return HostsView(
        connected=args.connected,
        hosts=tuple(
            RemoteHost(
                host.name,
                lost=host.state == "lost",
                announce=host.announce,
                agents=tuple(RemoteAgent(one.name, one.ready, one.reason) for one in host.agents),
            )
            for host in args.hosts
        ),
        date=spent.date,
        others_micros=round(spent.others * _MICROS_PER_USD),
        hosts_total=spent.hosts,
        breakers=tuple(
            RemoteBreaker(one.host, one.name) for one in args.breakers if one.state != "closed"
        ),
    )
