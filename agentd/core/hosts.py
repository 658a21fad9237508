"""What is known of the other hosts of a fleet: who is lost, who is ready, what all have spent.

Rule 1: supervision never depends on that knowledge. Whoever is told nothing, for so long that
the link or its servers must be out, waits for nobody elsewhere any more.
Rule 2: who is cut off learns nothing. What was last known by a whole view stands.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from agentd.config.schema import FleetConfig
from agentd.core.agent import Agent
from agentd.core.host_views import FleetSpending, HostsView, RemoteAgent, alone

# Views come at least every half ttl; after so many ttls without one, none is to be had.
SILENT_TTLS: Final = 3
DEPENDENCIES_MAX: Final = 4_096
"""Agents of other hosts that are kept in mind; the config of one host hardly names so many."""


class Remote(StrEnum):
    """How an agent of another host is, as far as it is known here."""

    READY = "ready"
    OUT = "out"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Hosts:
    """The other hosts. Bounded: agents are kept only where one of ours depends on them."""

    configured: bool = False
    """There is a link to other hosts."""
    patience_ms: int = 0
    """How long after the last view waiting for others goes on."""
    budget_micros: int | None = None
    """`[fleet.budget] usd_per_day`."""
    connected: bool | None = None
    """Whether the last view was a whole one; None: there was none since the daemon began."""
    patience_ends_ms: int | None = None
    """None: nothing is waited for any more."""
    lost: frozenset[str] = frozenset()
    here: frozenset[str] = frozenset()
    """Hosts that were up in the last whole view."""
    agents: Mapping[str, RemoteAgent] = field(default_factory=dict)
    """`host/agent` → how it was in the last whole view."""
    open_elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Dependency → hosts on which its breaker isn't closed."""
    spending: FleetSpending | None = None
    over_budget: bool = False
    """No more may be spent on this host today."""

    def configure(self, config: FleetConfig, now_ms: int) -> None:
        """Take over `[fleet]`: a link that is new is waited for, without one all is forgotten."""
        began = bool(config.nats) and not self.configured
        self.configured = bool(config.nats)
        self.patience_ms = SILENT_TTLS * int(config.ttl_ms)
        budget = config.budget.usd_per_day_micros
        self.budget_micros = None if budget is None else int(budget)
        if not self.configured:
            self._forget_others()
        elif began:
            self.patience_ends_ms = now_ms + self.patience_ms

    def _forget_others(self) -> None:
        """Nothing is heard of others any more, and nothing is waited for."""
        self.patience_ends_ms = self.connected = None
        self.lost = self.here = frozenset()
        self.agents, self.open_elsewhere = {}, {}
        self.spending = alone(self.spending) if self.spending is not None else None

    def begin(self, spending: FleetSpending | None, now_ms: int) -> None:
        """The daemon begins: the link may take a while to come up."""
        self.spending = spending
        if self.configured:
            self.patience_ends_ms = now_ms + self.patience_ms
        else:
            self._forget_others()

    def take(self, view: HostsView, wanted: Iterable[str], now_ms: int) -> None:
        """Go by a view; one that isn't whole changes nothing of what was last known."""
        self.connected = view.connected
        if not view.connected:
            return
        self.patience_ends_ms = now_ms + self.patience_ms
        self.lost = frozenset(host.name for host in view.hosts if host.lost)
        self.here = frozenset(host.name for host in view.hosts if not host.lost)
        names = set(wanted)
        known = (
            (f"{host.name}/{agent.name}", agent) for host in view.hosts for agent in host.agents
        )
        self.agents = {name: agent for name, agent in known if name in names}
        found: dict[str, list[str]] = {}
        for breaker in view.breakers:
            found.setdefault(breaker.name, []).append(breaker.host)
        self.open_elsewhere = {name: tuple(sorted(set(who))) for name, who in found.items()}

    def give_up(self, now_ms: int) -> bool:
        """Wait for nobody any more, if no view came for long enough; True if that begins now."""
        if self.patience_ends_ms is None or now_ms < self.patience_ends_ms:
            return False
        self.patience_ends_ms = None
        self.connected = False
        return True

    @property
    def is_unheard(self) -> bool:
        """Whether the daemon has only begun, and nothing is known yet."""
        return self.configured and self.connected is None

    def shift(self, gap_ms: int) -> None:
        """The daemon stood still: nobody could have told it anything."""
        if self.patience_ends_ms is not None:
            self.patience_ends_ms += gap_ms

    def how_is(self, dependency: str) -> Remote:
        """Tell how `host/agent` is, by what was last known."""
        if dependency.partition("/")[0] in self.lost:
            return Remote.OUT
        agent = self.agents.get(dependency)
        if agent is None:
            return Remote.UNKNOWN
        return Remote.READY if agent.ready else Remote.OUT

    def holds_back(self, dependency: str) -> bool:
        """Whether a start has to wait for it."""
        waits = self.configured and self.patience_ends_ms is not None
        return waits and self.how_is(dependency) is not Remote.READY

    def why_out(self, dependency: str) -> str:
        """Name it, with why it is out as far as that is known."""
        if dependency.partition("/")[0] in self.lost:
            return f"{dependency} (its host is lost)"
        agent = self.agents.get(dependency)
        return f"{dependency} ({agent.reason})" if agent and agent.reason else dependency

    def outages(self, agent: Agent) -> list[str]:
        """Return what it depends on elsewhere and is known to be out."""
        if not self.configured:
            return []
        return [name for name in remote_dependencies(agent) if self.how_is(name) is Remote.OUT]


def remote_dependencies(agent: Agent) -> Iterator[str]:
    """The agents of other hosts that it depends on, as `host/agent`."""
    return (name for name in agent.config.depends_on if "/" in name)


def wanted_by(agents: Iterable[Agent]) -> list[str]:
    """Return the agents of other hosts that any of ours depends on, by name."""
    names = sorted({name for agent in agents for name in remote_dependencies(agent)})
    return names[:DEPENDENCIES_MAX]
