"""What follows from spending: budgets, spikes and runaways are told, and acted on."""

from typing import Final

from agentd.config.units import format_duration
from agentd.core import budgets, pausing
from agentd.core.agent import Agent
from agentd.core.detectors.runaway import MINUTE_MS, Ran
from agentd.core.detectors.spike import Spiked
from agentd.core.draining import is_draining
from agentd.core.spending import Limit
from agentd.core.states import Intent, StopReason
from agentd.core.turn import CRITICAL, WARNING, Turn

MODEL_SHOWN_CHARS: Final = 80
_PICOS_PER_USD: Final = 10**12
_MICROS_PER_USD: Final = 10**6
_WHEN: Final = {
    "cycle": "in this cycle",
    "run": "in this run",
    "hour": "this hour",
    "day": "today",
    "month": "this month",
}


def judge_budgets(turn: Turn, agent: Agent) -> None:
    """Tell budgets that are nearly or more than spent, and act on the latter, each once."""
    over, warned = budgets.to_be_told(agent)
    budgets.note_told(agent, over, warned)
    if not over and not warned:
        return
    turn.touch(agent)
    for limit in warned:
        turn.journal(
            "budget.warning",
            agent,
            f"{_share(agent, limit):.0%} of {limit.name} is spent: {_told(agent, limit)}",
            severity=WARNING,
            data=_figures(agent, limit),
        )
    for limit in over:
        turn.journal(
            "budget.exceeded",
            agent,
            f"its budget {limit.name} is exceeded: {_told(agent, limit)}",
            severity=CRITICAL,
            reason=StopReason.BUDGET_EXCEEDED,
            data=_figures(agent, limit),
        )
    if over:
        told = "; ".join(f"{limit.name}: {_told(agent, limit)}" for limit in over)
        _act(turn, agent, agent.config.budget.on_exceeded, StopReason.BUDGET_EXCEEDED, told)


def tell_unpriced(turn: Turn, agent: Agent, model: str | None) -> None:
    """Once a day: a budget in dollars can't hold what nobody knows the price of."""
    durable = agent.durable
    day = durable.day.begins_ms if durable.day is not None else None
    day = 0 if day is None else day
    held = [limit.name for limit in budgets.standing(agent) if limit.in_dollars]
    if turn.hosts.budget_micros is not None:
        held.append(budgets.FLEET_BUDGET)
    if durable.unpriced_told_ms == day or not held:
        return
    durable.unpriced_told_ms = day
    turn.touch(agent)
    name = model or agent.telemetry.model
    shown = f'the model "{name[:MODEL_SHOWN_CHARS]}"' if name else "what it uses"
    turn.journal(
        "budget.warning",
        agent,
        f"the cost of {shown} isn't known, so {', '.join(held)} can't hold it; "
        f"give it a price under [prices], or a budget in tokens",
        severity=WARNING,
        data={"budgets": held, "model": name, "known": False},
    )


def judge_cycle(turn: Turn, agent: Agent, tokens: int, picos: int) -> None:
    """Compare a cycle with what a cycle usually costs; `picos` 0: its cost isn't known."""
    if agent.draining_since_ms is not None and is_draining(agent, turn.now_ms):
        return
    spiked = agent.spending.spikes.observe(tokens, picos)
    if spiked is not None:
        tell_spike(turn, agent, spiked)


def tell_spike(turn: Turn, agent: Agent, spiked: Spiked) -> None:
    """Tell a cycle that cost many times what cycles do, and act on it."""
    times = f"{spiked.spent / spiked.baseline:.1f}x" if spiked.baseline else "far above"
    evidence = (
        f"{_amount(spiked.unit, spiked.spent)} in one cycle, {times} the median of the last "
        f"{spiked.cycles}"
    )
    data: dict[str, object] = {
        "unit": _unit(spiked.unit),
        "spent": _figure(spiked.unit, spiked.spent),
        "baseline": _figure(spiked.unit, spiked.baseline),
        "cycles": spiked.cycles,
        "factor": agent.config.cost.spike_factor,
    }
    turn.journal(
        "cost.spike",
        agent,
        evidence,
        severity=WARNING,
        reason=StopReason.COST_SPIKE,
        data=data,
    )
    _act(turn, agent, agent.config.cost.on_spike, StopReason.COST_SPIKE, evidence)


def run_away(turn: Turn, agent: Agent, ran: Ran) -> None:
    """Tell a sustained rate beyond the bound, and act on it."""
    config = agent.config.cost
    window = format_duration(config.rate_window_ms)
    per_minute = ran.spent * MINUTE_MS / config.rate_window_ms
    times = f"{per_minute / ran.baseline:.1f}x" if ran.baseline else "far above"
    evidence = (
        f"{_amount(ran.unit, per_minute)} a minute, for {window} without a break above "
        f"{config.rate_factor:g}x the usual {_amount(ran.unit, ran.baseline)} (now {times}; "
        f"the median of {ran.minutes} minutes)"
    )
    data: dict[str, object] = {
        "unit": _unit(ran.unit),
        "per_minute": _figure(ran.unit, per_minute),
        "baseline_per_minute": _figure(ran.unit, ran.baseline),
        "minutes": ran.minutes,
        "factor": config.rate_factor,
        "window_s": config.rate_window_ms / 1000,
    }
    turn.journal(
        "cost.runaway",
        agent,
        evidence,
        severity=CRITICAL,
        reason=StopReason.LOOP_DETECTED,
        data=data,
    )
    _act(turn, agent, config.on_runaway, StopReason.LOOP_DETECTED, evidence)


def _act(turn: Turn, agent: Agent, action: str, reason: StopReason, evidence: str) -> None:
    """Do what the config says, unless somebody's word says more already.

    Whoever is to be down by an operator's word is on its way; one that is paused stays so.
    """
    if agent.config.external or agent.intent in (Intent.STOPPED, Intent.KILLED):
        return
    if agent.intent is Intent.PAUSED and action != "kill":
        return
    pausing.act(turn, agent, action, reason, evidence)


def _share(agent: Agent, limit: Limit) -> float:
    return budgets.used(agent.durable, limit) / limit.amount if limit.amount else 1.0


def _told(agent: Agent, limit: Limit) -> str:
    """Write `$4.10 of $5.00 today`."""
    spent = budgets.used(agent.durable, limit)
    unit = "micros" if limit.in_dollars else "tokens"
    return f"{_amount(unit, spent)} of {_amount(unit, limit.amount)} {_WHEN[limit.period]}"


def _figures(agent: Agent, limit: Limit) -> dict[str, object]:
    spent = budgets.used(agent.durable, limit)
    unit = "micros" if limit.in_dollars else "tokens"
    mark = budgets.mark_of(agent.durable, limit.period) if limit.period != "cycle" else None
    return {
        "budget": limit.name,
        "unit": _unit(unit),
        "limit": _figure(unit, limit.amount),
        "used": _figure(unit, spent),
        "on_exceeded": "alert" if agent.config.external else agent.config.budget.on_exceeded,
        "period_ends_ms": mark.ends_ms if mark is not None else None,
    }


def _unit(unit: str) -> str:
    return "tokens" if unit == "tokens" else "usd"


def _dollars(unit: str, amount: float) -> float:
    return amount / (_PICOS_PER_USD if unit == "picos" else _MICROS_PER_USD)


def _figure(unit: str, amount: float) -> float:
    """Return an amount for machines: tokens, or dollars to the micro-dollar."""
    return amount if unit == "tokens" else round(_dollars(unit, amount), 6)


def _amount(unit: str, amount: float) -> str:
    """Write an amount for people."""
    if unit == "tokens":
        return f"{amount:,.0f} tokens"
    dollars = _dollars(unit, amount)
    whole, _, rest = f"{dollars:.6f}".partition(".")
    return f"${whole}.{rest.rstrip('0'):0<2}" if dollars < 1 else f"${dollars:.2f}"
