"""The budget over all hosts: what they may spend in a civil day, and this host's part in it.

Rule 1: while all are seen, it is exceeded when all together have spent as much as it allows.
Rule 2: who is cut off may spend an equal share of what was left when all were last seen. So
the shares of all add up to what was left, however many are cut off; what those who still see
each other spend beyond their own shares is the bound of what is spent too much.
Rule 3: as any budget: what it has stopped doesn't go on by itself, and a person's word that
brings an agent up again holds for that agent until the day ends, or the limit is changed. Room
that comes and goes, as with a link that is cut and comes back, doesn't end it.
Rule 4: what was spent stays spent, also where the agent that spent it is here no more.

Looked at every few seconds, never at a heartbeat.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from agentd.core import accounts, pausing
from agentd.core.accounts import Periods
from agentd.core.agent import Agent
from agentd.core.budgets import FLEET_BUDGET, spent_today
from agentd.core.effects import PersistSpending
from agentd.core.events import Fate
from agentd.core.host_views import FleetSpending, HostsView
from agentd.core.hosts import Hosts
from agentd.core.incident import FLEET_BUDGET_SUBJECT, POLICY
from agentd.core.records import Durable
from agentd.core.states import Intent, StopReason
from agentd.core.turn import CRITICAL, WARNING, Turn

WARN_SHARE: Final = 0.8
# A starting daemon that is cut off may believe that so much less was spent than was.
SPENDING_KEPT_SHARE: Final = 0.01
_MICROS_PER_USD: Final = 10**6


@dataclass(frozen=True, slots=True)
class Standing:
    """How the budget stands on this host, in micro-dollars."""

    used: int
    amount: int
    own: int
    others: int
    hosts_total: int
    cut_off: bool

    @property
    def is_over(self) -> bool:
        return self.used >= self.amount

    @property
    def is_near(self) -> bool:
        return self.used > 0 and self.used >= ceil(self.amount * WARN_SHARE)


def note_spending(turn: Turn, view: HostsView, periods: Periods | None) -> None:
    """Remember what all have spent, for the time when nobody can be asked."""
    hosts = turn.hosts
    if hosts.budget_micros is None or periods is None or not view.connected:
        return
    before = hosts.spending
    now = replace(
        _known_today(hosts, periods),
        own_micros=own_micros(hosts, turn.fleet.values(), periods),
        others_micros=view.others_micros if view.date == periods.date else 0,
        hosts_total=max(1, view.hosts_total),
        limit_micros=hosts.budget_micros,
    )
    hosts.spending = now
    if before is None or _differs(before, now, hosts.budget_micros):
        turn.do(PersistSpending(now))


def _differs(before: FleetSpending, now: FleetSpending, budget_micros: int) -> bool:
    """Whether that is worth writing down: seldom, for it is told every few seconds."""
    if replace(now, own_micros=before.own_micros, others_micros=before.others_micros) != before:
        return True
    least = max(1, int(budget_micros * SPENDING_KEPT_SHARE))
    return (now.own_micros + now.others_micros) // least != (
        before.own_micros + before.others_micros
    ) // least


def begin(turn: Turn, fates: Mapping[str, Fate], periods: Periods | None) -> None:
    """The daemon begins: agents may have been removed, or the limit changed, while none ran."""
    gone = [fate.durable for name, fate in fates.items() if name not in turn.fleet]
    for durable in gone:
        accounts.roll(durable, periods)
    carry(turn, gone, periods)
    take_limit(turn, periods)


def carry(turn: Turn, gone: Iterable[Durable], periods: Periods | None) -> None:
    """Agents are gone: what they have spent today stays spent."""
    spent = sum(spent_today(durable) for durable in gone)
    if spent and periods is not None:
        known = _known_today(turn.hosts, periods)
        _keep(turn, replace(known, gone_micros=known.gone_micros + spent))


def take_limit(turn: Turn, periods: Periods | None) -> None:
    """Where the limit is another, what a person said over the one before is history."""
    if periods is None:
        return
    known, limit = _known_today(turn.hosts, periods), turn.hosts.budget_micros or 0
    if known.limit_micros == limit:
        return
    _keep(turn, replace(known, limit_micros=limit))
    for agent in turn.fleet.values():
        if FLEET_BUDGET in agent.durable.budgets_overridden:
            agent.durable.budgets_overridden = _without(agent.durable.budgets_overridden)
            turn.touch(agent)


def _keep(turn: Turn, spending: FleetSpending) -> None:
    turn.hosts.spending = spending
    if turn.hosts.configured:  # else nobody wants to know it, unless a link comes today
        turn.do(PersistSpending(spending))


def _known_today(hosts: Hosts, periods: Periods) -> FleetSpending:
    """Return what is known of this day: of a new one, how many hosts there were before it."""
    spending, begins_ms = hosts.spending, periods.day.begins_ms
    if spending is None:
        return FleetSpending(begins_ms, 0, 0, 1)
    if spending.day_begins_ms == begins_ms:
        return spending
    return FleetSpending(begins_ms, 0, 0, spending.hosts_total, limit_micros=spending.limit_micros)


def own_micros(hosts: Hosts, agents: Iterable[Agent], periods: Periods | None) -> int:
    """Return what was spent here today, by agents that are here no more, too."""
    gone = _known_today(hosts, periods).gone_micros if periods is not None else 0
    return gone + sum(spent_today(agent.durable) for agent in agents)


def standing(hosts: Hosts, agents: Iterable[Agent], periods: Periods | None) -> Standing | None:
    """Return how the budget stands; None: there is none, or nothing can be said of it yet."""
    amount = hosts.budget_micros
    if not hosts.configured or amount is None or periods is None or hosts.connected is None:
        return None
    own, known = own_micros(hosts, agents, periods), _known_today(hosts, periods)
    then, others, total = known.own_micros, known.others_micros, known.hosts_total
    if hosts.connected:
        return Standing(own + others, amount, own, others, total, cut_off=False)
    share = then + max(0, amount - then - others) // total
    return Standing(own, share, own, others, total, cut_off=True)


def figures(found: Standing) -> dict[str, object]:
    """Return it in dollars, for machines."""
    return {
        "budget": FLEET_BUDGET,
        "unit": "usd",
        "limit": _dollars(found.amount),
        "used": _dollars(found.used),
        "own": _dollars(found.own),
        "others": _dollars(found.others),
        "hosts": found.hosts_total,
        "cut_off": found.cut_off,
    }


def judge(turn: Turn, periods: Periods | None) -> None:
    """Warn, or pause whoever spends; each is told once a day."""
    found = standing(turn.hosts, turn.fleet.values(), periods)
    if found is None:
        if not turn.hosts.configured or turn.hosts.budget_micros is None:
            _relent(turn, warned=True)
        return
    spenders = [agent for agent in turn.fleet.values() if spent_today(agent.durable) > 0]
    if found.is_over:
        turn.hosts.over_budget = True
        if spenders:  # else it is others' matter, or that of agents that are here no more
            _exceeded(turn, found, spenders)
        return
    _relent(turn, warned=not found.is_near)
    told = any(FLEET_BUDGET in agent.durable.budgets_warned for agent in spenders)
    if found.is_near and spenders and not told:
        turn.journal(
            "budget.warning",
            None,
            f"{found.used / found.amount:.0%} of the fleet's budget is spent: {_told(found)}",
            severity=WARNING,
            data=figures(found),
        )
        for agent in spenders:
            _note(turn, agent, warned=True)


def _exceeded(turn: Turn, found: Standing, spenders: list[Agent]) -> None:
    """Tell it once for all, and pause whoever spends and nobody has let go on."""
    if FLEET_BUDGET_SUBJECT not in turn.incidents.bound:
        turn.journal(
            "budget.exceeded",
            None,
            f"the fleet's budget is exceeded: {_told(found)}; agents that spend are paused",
            severity=CRITICAL,
            reason=StopReason.BUDGET_EXCEEDED,
            data=figures(found),
        )
    for agent in spenders:
        if FLEET_BUDGET in agent.durable.budgets_overridden or agent.intent is not Intent.UP:
            continue
        if agent.config.external or not agent.has_process:
            continue
        _note(turn, agent, warned=False)
        pausing.pause(
            turn,
            agent,
            StopReason.BUDGET_EXCEEDED,
            POLICY,
            f"the fleet's budget {FLEET_BUDGET}: {_told(found)}",
            data={"budget": FLEET_BUDGET},
            told=False,
        )


def _relent(turn: Turn, *, warned: bool) -> None:
    """There is room again, or no such budget: what was told of it is history.

    What a person has said over it isn't: see `take_limit`.
    """
    if turn.hosts.over_budget:
        turn.hosts.over_budget = False
    if FLEET_BUDGET_SUBJECT in turn.incidents.bound:
        turn.incidents.look_at(FLEET_BUDGET_SUBJECT)
    for agent in turn.fleet.values():
        durable = agent.durable
        if FLEET_BUDGET in durable.budgets_exceeded:
            durable.budgets_exceeded = _without(durable.budgets_exceeded)
            turn.touch(agent)
        if warned and FLEET_BUDGET in durable.budgets_warned:
            durable.budgets_warned = _without(durable.budgets_warned)
            turn.touch(agent)


def _note(turn: Turn, agent: Agent, *, warned: bool) -> None:
    """Keep that it was told, over a restart of the daemon and until the day ends."""
    durable = agent.durable
    if FLEET_BUDGET not in durable.budgets_warned:
        durable.budgets_warned += (FLEET_BUDGET,)
    if not warned and FLEET_BUDGET not in durable.budgets_exceeded:
        durable.budgets_exceeded += (FLEET_BUDGET,)
    turn.touch(agent)


def _without(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name != FLEET_BUDGET)


def _told(found: Standing) -> str:
    """Write what was spent of what, and by whom."""
    used, amount = _dollars(found.used), _dollars(found.amount)
    if found.cut_off:
        return (
            f"${used:.2f} of ${amount:.2f} today, this host's share of what was left while it is "
            f"cut off from the others (one of {found.hosts_total} hosts)"
        )
    own = _dollars(found.own)
    return f"${used:.2f} of ${amount:.2f} today on {found.hosts_total} hosts, ${own:.2f} here"


def _dollars(micros: int) -> float:
    return round(micros / _MICROS_PER_USD, 6)
