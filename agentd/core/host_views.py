"""What a host is told of the others, and what of it outlives the daemon, as plain values."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class RemoteAgent:
    """One agent of another host."""

    name: str
    ready: bool = False
    reason: str | None = None
    """Why it ended last, or is down."""


@dataclass(frozen=True, slots=True)
class RemoteHost:
    """Another host, as the fleet sees it."""

    name: str
    lost: bool = False
    announce: bool = False
    """It falls to this host to tell people that it is lost."""
    agents: tuple[RemoteAgent, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoteBreaker:
    """A breaker of another host that isn't closed."""

    host: str
    name: str


@dataclass(frozen=True, slots=True)
class HostsView:
    """What the link knows, the whole of it each time. `connected`: False, and only that counts."""

    connected: bool
    hosts: tuple[RemoteHost, ...] = ()
    date: str = ""
    """The civil day that `others_micros` is about."""
    others_micros: int = 0
    """What the other hosts have spent in it."""
    hosts_total: int = 1
    """Hosts in all, this one too."""
    breakers: tuple[RemoteBreaker, ...] = ()


@dataclass(frozen=True, slots=True)
class FleetSpending:
    """What all had spent when all were last seen; it outlives the daemon."""

    day_begins_ms: int
    own_micros: int
    others_micros: int
    hosts_total: int
    gone_micros: int = 0
    """What agents have spent in that day, here, that are here no more."""
    limit_micros: int = 0
    """The budget as it was configured last; 0: there was none."""


def alone(spending: FleetSpending) -> FleetSpending:
    """Return what is left of it for a host that hears of no other any more."""
    return replace(spending, own_micros=0, others_micros=0, hosts_total=1)
