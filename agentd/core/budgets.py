"""Budgets: what an agent may spend in a cycle, a run, and a civil hour, day or month.

Rule 1: a budget is exceeded when more than it was spent; spending all of it is allowed.
Rule 2: what is spent never falls within a period (see `accounts`), but for what a crash of the
daemon loses: at most five seconds of spending on which nothing was decided.
Rule 3: nothing that a budget has stopped goes on by itself. A person's word that brings the
agent up again (resume, start, restart) overrides the budgets that are exceeded by then, and
only those, each until its own period ends, or its limit is raised above what is spent.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from typing import Final

from agentd.config.agent import BudgetConfig
from agentd.core import accounts
from agentd.core.agent import Agent
from agentd.core.hosts import Hosts
from agentd.core.records import Durable, Mark
from agentd.core.spending import NEVER, Limit

PERIODS: Final = ("cycle", "run", "hour", "day", "month")
FLEET_BUDGET: Final = "fleet_usd_per_day"
"""`[fleet.budget] usd_per_day`, where an agent remembers what was told of it: see
`fleet_budget`, which holds it. Its name ends as that of any budget of a day does."""


def limits_of(config: BudgetConfig) -> Iterator[Limit]:
    """Yield the budgets that a config sets, tokens before dollars, short periods first."""
    share = Fraction(repr(config.warn_at))
    for unit, suffix in (("tokens", ""), ("usd", "_micros")):
        for period in PERIODS:
            name = f"{unit}_per_{period}"
            amount = getattr(config, name + suffix)
            if amount is not None:
                yield Limit(name, period, unit == "usd", int(amount), ceil(int(amount) * share))


def used(durable: Durable, limit: Limit) -> int:
    """What was spent of a budget in its running period: tokens, or micro-dollars."""
    from_tokens, from_micros = _begins(durable, limit.period)
    if limit.in_dollars:
        return durable.cost_micros - from_micros
    return durable.tokens - from_tokens


def is_known(durable: Durable, limit: Limit) -> bool:
    """Whether anything of the cost in its period is known, if it is in dollars at all."""
    if not limit.in_dollars:
        return True
    if limit.period == "cycle":
        return not durable.cycle_unpriced or used(durable, limit) > 0
    mark = mark_of(durable, limit.period)
    told = durable.priced > mark.priced
    untold = durable.unpriced > mark.unpriced or durable.cycle_unpriced > 0
    return told or not untold


def mark_of(durable: Durable, period: str) -> Mark:
    """Return where the account of a run or of a civil period begins; a cycle's is elsewhere."""
    found = getattr(durable, period, None)
    return found if isinstance(found, Mark) else Mark()


def _begins(durable: Durable, period: str) -> tuple[int, int]:
    if period == "cycle":
        return durable.cycle_from_tokens, durable.cycle_from_micros
    mark = mark_of(durable, period)
    return mark.tokens, mark.micros


def exceeded(agent: Agent) -> list[Limit]:
    """Return the budgets of which more than all is spent and that nobody has overridden."""
    durable = agent.durable
    return [
        limit
        for limit in _limits(agent)
        if used(durable, limit) > limit.amount and limit.name not in durable.budgets_overridden
    ]


def spent_today(durable: Durable) -> int:
    """What was spent in the civil day, in micro-dollars."""
    return durable.cost_micros - durable.day.micros if durable.day is not None else 0


def is_over(agent: Agent, hosts: Hosts) -> bool:
    """Whether a budget is exceeded, its own or that of all hosts, and nobody has said over it."""
    return bool(exceeded(agent)) or _is_over_fleet(agent, hosts)


def _is_over_fleet(agent: Agent, hosts: Hosts) -> bool:
    durable = agent.durable
    # A daemon that has just started has seen no other host yet: what it was told last stands.
    over = hosts.over_budget or FLEET_BUDGET in durable.budgets_exceeded
    return over and FLEET_BUDGET not in durable.budgets_overridden and spent_today(durable) > 0


def to_be_told(agent: Agent) -> tuple[list[Limit], list[Limit]]:
    """Return the budgets that are newly exceeded, and those that people are to be warned of."""
    durable = agent.durable
    over = [one for one in exceeded(agent) if one.name not in durable.budgets_exceeded]
    warned = [
        limit
        for limit in _limits(agent)
        if limit.warn_from <= used(durable, limit) <= limit.amount
        and used(durable, limit) > 0
        and limit.name not in durable.budgets_warned
        and limit.name not in durable.budgets_overridden
    ]
    return over, warned


def note_told(agent: Agent, over: list[Limit], warned: list[Limit]) -> None:
    """What was told is not told again within its period; the next moment to look is set."""
    durable = agent.durable
    names = tuple(limit.name for limit in over)
    durable.budgets_exceeded += names
    durable.budgets_warned += names + tuple(limit.name for limit in warned)
    watch(agent)


def override(agent: Agent, hosts: Hosts) -> list[str]:
    """Let it go on over the budgets that it exceeds; return their names."""
    names = [limit.name for limit in exceeded(agent)]
    if _is_over_fleet(agent, hosts):
        names.append(FLEET_BUDGET)
    if names:
        durable = agent.durable
        durable.budgets_overridden += tuple(names)
        durable.budgets_exceeded = tuple(
            name for name in durable.budgets_exceeded if name not in names
        )
        watch(agent)
    return names


def word_on(names: list[str]) -> str:
    """Say what was overridden; empty: nothing was."""
    if not names:
        return ""
    parts = [f"{name} until its {name.rpartition('_')[2]} ends" for name in names]
    return f"; overridden: {', '.join(parts)}"


def begin_incarnation(agent: Agent) -> None:
    """Its cycle begins anew; the one before was cut off."""
    accounts.cut_cycle_off(agent.durable)
    agent.spending.calls.clear()
    watch(agent)


def watch(agent: Agent) -> None:
    """Find the totals from which on a budget has to be looked at again."""
    durable, spending = agent.durable, agent.spending
    spending.next_tokens = spending.next_micros = NEVER
    spending.cycle_next_tokens = spending.cycle_next_micros = NEVER
    for limit in _limits(agent):
        if limit.name in durable.budgets_overridden or limit.name in durable.budgets_exceeded:
            continue
        warned = limit.name in durable.budgets_warned
        further = limit.amount + 1 if warned else min(limit.warn_from or 1, limit.amount + 1)
        if limit.period == "cycle" and limit.in_dollars:
            spending.cycle_next_micros = min(spending.cycle_next_micros, further)
        elif limit.period == "cycle":
            spending.cycle_next_tokens = min(spending.cycle_next_tokens, further)
        elif limit.in_dollars:
            from_micros = mark_of(durable, limit.period).micros
            spending.next_micros = min(spending.next_micros, from_micros + further)
        else:
            from_tokens = mark_of(durable, limit.period).tokens
            spending.next_tokens = min(spending.next_tokens, from_tokens + further)


def _limits(agent: Agent) -> tuple[Limit, ...]:
    """Return the budgets of its config; made once a config."""
    spending = agent.spending
    if spending.budget is not agent.config.budget:
        spending.budget = agent.config.budget
        spending.limits = tuple(limits_of(agent.config.budget))
        _hold_anew(agent.durable, spending.limits)
    return spending.limits


def _hold_anew(durable: Durable, limits: tuple[Limit, ...]) -> None:
    """What was told of a budget, or said over it, stands only where that much is still spent.

    One that was raised or taken away, if only while no daemon ran, can be told of anew. Of one
    that stayed as it was nothing is forgotten: what is spent doesn't fall.
    """
    over = {one.name for one in limits if used(durable, one) > one.amount}
    near = {one.name for one in limits if used(durable, one) >= one.warn_from}
    of_all = {FLEET_BUDGET}  # that one is judged by what all hosts spend
    kept, warned = over | of_all, near | of_all
    durable.budgets_exceeded = tuple(n for n in durable.budgets_exceeded if n in kept)
    durable.budgets_overridden = tuple(n for n in durable.budgets_overridden if n in kept)
    durable.budgets_warned = tuple(n for n in durable.budgets_warned if n in warned)


def standing(agent: Agent) -> tuple[Limit, ...]:
    """Return its budgets, for people."""
    return _limits(agent)
