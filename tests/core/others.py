"""Other hosts in tests of the core: what the link tells, and a fleet with a link."""

from itertools import count
from typing import Any

from agentd.config.agent import AgentConfig
from agentd.config.schema import Config, FleetBudgetConfig, FleetConfig
from agentd.config.units import MicroDollars, Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.accounts import Periods
from agentd.core.host_views import HostsView, RemoteAgent, RemoteBreaker, RemoteHost
from agentd.core.lines import Heartbeat
from agentd.core.states import Intent
from agentd.core.supervisor import Supervisor
from tests.core.cases import SILENT_OK, S
from tests.core.fleet import Fleet, config

TTL_MS = 10_000
PATIENCE_MS = 3 * TTL_MS
DAY_MS = 86_400_000
USD = 1_000_000
TODAY = "2026-11-01"


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
    whole = Config(agents=agents, fleet=fleet_config or link())
    fleet.core = Supervisor(whole, lambda: 0.0, lambda: f"id{next(ids)}")
    return fleet


def reload(fleet: Fleet, fleet_config: FleetConfig, *names: str, at_ms: int | None = None) -> None:
    """Another `[fleet]`, with the agents that there are, or with these and no others."""
    there = {name: agent.config for name, agent in fleet.core.agents.items()}
    wanted = names or tuple(there)
    agents = {name: there.get(name, config(heartbeat=SILENT_OK)) for name in wanted}
    fleet.tell(ev.Configured(Config(agents=agents, fleet=fleet_config)), at_ms)


def begun_anew(fleet: Fleet, fleet_config: FleetConfig | None = None, *names: str) -> Fleet:
    """The daemon after one that crashed: it finds its agents alive, and its incidents.

    Its config may be another by now, with these agents and no others.
    """
    written = [one for _, one in fleet.effects]
    incidents = {
        one.incident.number: one.incident for one in written if isinstance(one, do.PersistIncident)
    }
    spendings = [one.spending for one in written if isinstance(one, do.PersistSpending)]
    there = {name: agent.config for name, agent in fleet.core.agents.items()}
    agents = {name: there.get(name, config(heartbeat=SILENT_OK)) for name in names or there}
    after = linked(agents, fleet_config or fleet.core.config.fleet)
    after.now_ms = fleet.now_ms
    if fleet.core.periods is not None:
        after.tell(ev.PeriodsBegan(fleet.core.periods))
    fates = {
        name: ev.Fate(agent.snapshot(), alive=agent.has_process, pid=agent.pid)
        for name, agent in fleet.core.agents.items()
    }
    number_next = max(incidents, default=0) + 1
    spending = spendings[-1] if spendings else None
    after.tell(ev.Started(fates, tuple(incidents.values()), number_next, spending=spending))
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


# -- a budget over all hosts -------------------------------------------------


def day(number: int) -> ev.PeriodsBegan:
    begins = number * DAY_MS
    spans = ((begins, begins + DAY_MS), (begins, begins + DAY_MS), (0, 30 * DAY_MS))
    return ev.PeriodsBegan(Periods.of(*spans, f"2026-11-{number:02}"))


def spending(usd: float | None = 10.0, *names: str) -> Fleet:
    """A host with a link, whose agents need not beat; the day is the first of November."""
    agents = {name: config(heartbeat=SILENT_OK) for name in names or ("a", "b")}
    fleet = linked(agents, link(usd))
    fleet.tell(day(1))
    return fleet.start()


def spend(fleet: Fleet, name: str, usd: float, at_ms: int | None = None) -> None:
    fleet.beat(name, at_ms, Heartbeat(tokens=1, cost_micros=round(usd * USD)))


def intent_of(fleet: Fleet, name: str) -> Intent:
    return fleet[name].intent


def assert_paused_at(fleet: Fleet, name: str, usd: float) -> None:
    """An agent may spend so much: with a cent less it goes on, with that cent it is paused."""
    for more, intent in ((usd - 0.01, Intent.UP), (0.01, Intent.PAUSED)):
        spend(fleet, name, more, fleet.now_ms + 1 * S)
        fleet.pass_time(fleet.now_ms + 5 * S)
        assert intent_of(fleet, name) is intent


def cut_off_after(usd: float, others_usd: float = 0.0) -> Fleet:
    """One of four hosts, cut off when it and the others had spent so much of $10."""
    fleet = spending()
    spend(fleet, "a", usd, 1 * S)
    see(fleet, 2 * S, date=TODAY, others_micros=round(others_usd * USD), hosts_total=4)
    see(fleet, 3 * S, connected=False)
    return fleet
