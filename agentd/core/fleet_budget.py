"""The budget over all hosts: what they may spend in a civil day, and this host's part in it.

Rule 1: while all are seen, it is exceeded when all together have spent as much as it allows.
Rule 2: who is cut off may spend an equal share of what was left when all were last seen. So
the shares of all add up to what was left, however many are cut off; what those who still see
each other spend beyond their own shares is the bound of what is spent too much.
Rule 3: as any budget: what it has stopped doesn't go on by itself, and a person's word that
brings an agent up again holds for that agent until the day ends.

Looked at every few seconds, never at a heartbeat.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Final

from agentd.core import pausing
from agentd.core.accounts import Periods
from agentd.core.agent import Agent
from agentd.core.budgets import FLEET_BUDGET, spent_today
from agentd.core.effects import PersistCommon
from agentd.core.host_views import Common, HostsView
from agentd.core.hosts import Hosts
from agentd.core.incident import FLEET_BUDGET_SUBJECT, POLICY
from agentd.core.states import Intent, StopReason
from agentd.core.turn import CRITICAL, WARNING, Turn

WARN_SHARE: Final = 0.8
# A starting daemon that is cut off may believe that so much less was spent than was.
COMMON_KEPT_SHARE: Final = 0.01
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


def note_common(turn: Turn, view: HostsView, periods: Periods | None) -> None:
    """Remember what all have spent, for the time when nobody can be asked."""
    hosts = turn.hosts
    if hosts.budget_micros is None or periods is None or not view.connected:
        return
    others = view.others_micros if view.date == periods.date else 0
    own = _own(turn.fleet.values())
    before = hosts.common
    now = Common(periods.day.begins_ms, own, others, max(1, view.hosts_total))
    hosts.common = now
    if before is None or _differs(before, now, hosts.budget_micros):
        turn.do(PersistCommon(now))


def _differs(before: Common, now: Common, budget_micros: int) -> bool:
    """Whether that is worth writing down: seldom, for it is told every few seconds."""
    if (before.day_begins_ms, before.hosts_total) != (now.day_begins_ms, now.hosts_total):
        return True
    least = max(1, int(budget_micros * COMMON_KEPT_SHARE))
    return (now.own_micros + now.others_micros) // least != (
        before.own_micros + before.others_micros
    ) // least


def standing(hosts: Hosts, agents: Iterable[Agent], periods: Periods | None) -> Standing | None:
    """Return how the budget stands; None: there is none, or nothing can be said of it yet."""
    amount = hosts.budget_micros
    if not hosts.configured or amount is None or periods is None or hosts.connected is None:
        return None
    own, common = _own(agents), hosts.common
    today = common is not None and common.day_begins_ms == periods.day.begins_ms
    others = common.others_micros if common is not None and today else 0
    total = common.hosts_total if common is not None else 1
    if hosts.connected:
        return Standing(own + others, amount, own, others, total, cut_off=False)
    then = common.own_micros if common is not None and today else 0
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


def _own(agents: Iterable[Agent]) -> int:
    return sum(spent_today(agent.durable) for agent in agents)


def judge(turn: Turn, periods: Periods | None) -> None:
    """Warn, or pause whoever spends; each is told once a day."""
    found = standing(turn.hosts, turn.fleet.values(), periods)
    if found is None:
        if turn.hosts.budget_micros is None and FLEET_BUDGET_SUBJECT in turn.incidents.bound:
            _relent(turn, warned=True)
        return
    spenders = [agent for agent in turn.fleet.values() if spent_today(agent.durable) > 0]
    if found.is_over and spenders:
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
    turn.hosts.over_budget = True
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
    """There is room again: what was told of the budget, or said over it, is history."""
    if turn.hosts.over_budget:
        turn.hosts.over_budget = False
    if FLEET_BUDGET_SUBJECT in turn.incidents.bound:
        turn.incidents.look_at(FLEET_BUDGET_SUBJECT)
    for agent in turn.fleet.values():
        durable = agent.durable
        names = durable.budgets_exceeded + durable.budgets_overridden
        if FLEET_BUDGET in names:
            durable.budgets_exceeded = _without(durable.budgets_exceeded)
            durable.budgets_overridden = _without(durable.budgets_overridden)
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
