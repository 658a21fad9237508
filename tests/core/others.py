"""Other hosts in tests of the core: what the link tells, and a fleet with a link."""

from itertools import count
from typing import Any

from agentd.config.agent import AgentConfig
from agentd.config.schema import Config, FleetBudgetConfig, FleetConfig
from agentd.config.units import MicroDollars, Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.host_views import Common, HostsView, RemoteAgent, RemoteBreaker, RemoteHost
from agentd.core.supervisor import Supervisor
from tests.core.fleet import Fleet

TTL_MS = 10_000
PATIENCE_MS = 3 * TTL_MS


def link(usd_per_day: float | None = None) -> FleetConfig:
    budget = None if usd_per_day is None else MicroDollars(round(usd_per_day * 1e6))
    return FleetConfig(
        nats=["nats://127.0.0.1"],
        ttl_ms=Milliseconds(TTL_MS),
        budget=FleetBudgetConfig(usd_per_day_micros=budget),
    )


def linked(agents: dict[str, AgentConfig], fleet_config: FleetConfig | None = None) -> Fleet:
    """A fleet whose daemon has not begun, on a host with a link to others."""
    fleet = Fleet(agents)
    ids = count(1)
    config = Config(agents=agents, fleet=fleet_config or link())
    fleet.core = Supervisor(config, lambda: 0.0, lambda: f"id{next(ids)}")
    return fleet


def begun_anew(fleet: Fleet, common: Common | None = None) -> Fleet:
    """The daemon after one that crashed: it finds its agents alive, and its incidents."""
    incidents = {
        one.incident.number: one.incident
        for _, one in fleet.effects
        if isinstance(one, do.PersistIncident)
    }
    agents = {name: agent.config for name, agent in fleet.core.agents.items()}
    after = linked(agents, fleet.core.config.fleet)
    after.now_ms = fleet.now_ms
    if fleet.core.periods is not None:
        after.tell(ev.PeriodsBegan(fleet.core.periods))
    fates = {
        name: ev.Fate(agent.snapshot(), alive=agent.has_process, pid=agent.pid)
        for name, agent in fleet.core.agents.items()
    }
    number_next = max(incidents, default=0) + 1
    after.tell(ev.Started(fates, tuple(incidents.values()), number_next, common=common))
    return after


def host(name: str, *agents: RemoteAgent, lost: bool = False, announce: bool = False) -> RemoteHost:
    return RemoteHost(name, lost=lost, announce=announce, agents=agents)


def agent(name: str, *, ready: bool = True, reason: str | None = None) -> RemoteAgent:
    return RemoteAgent(name, ready=ready, reason=reason)


def see(
    fleet: Fleet,
    at_ms: int,
    *hosts: RemoteHost,
    connected: bool = True,
    breakers: tuple[RemoteBreaker, ...] = (),
    **spent: Any,  # noqa: ANN401 - as `HostsView` has it
) -> do.Reply:
    """The link tells; returns what it is answered."""
    view = HostsView(connected=connected, hosts=hosts, breakers=breakers, **spent)
    made = fleet.tell(ev.HostsSeen(f"see {at_ms}", view), at_ms)
    [reply] = [one for one in made if isinstance(one, do.Reply)]
    return reply


def see_until(fleet: Fleet, until_ms: int, *hosts: RemoteHost, **told: Any) -> None:  # noqa: ANN401 - as `see`
    """The same view, every half ttl, up to then."""
    while fleet.now_ms + TTL_MS // 2 <= until_ms:
        see(fleet, fleet.now_ms + TTL_MS // 2, *hosts, **told)
    fleet.pass_time(until_ms)
