"""Spending, taken in: call lines at once, heartbeats as what ends a cycle, and no usage twice.

A cycle's tokens and cost are the larger of what its calls add up to and what the heartbeat
that ends it says. A call counts once, however often its end is told: again the larger. What
was dropped before it reached the core as lines counts all the same. A cost that nobody knows
stays unknown. Each spend is judged before the next one is taken in.
"""

from collections.abc import Sequence
from typing import Final

from agentd.core import accounts, budgets, cost
from agentd.core.accounts import PICOS
from agentd.core.agent import Agent
from agentd.core.draining import is_draining
from agentd.core.lines import Call, Heartbeat, Line, Usage
from agentd.core.turn import Turn

# Ends of calls that are remembered within a cycle, so that each counts once.
CALLS_KEPT: Final = 256

# In an agent whose heartbeats tell the cost, so many calls in one cycle wait for that word.
UNPRICED_CALLS_MAX: Final = 10


def take_beat(turn: Turn, agent: Agent, beat: Heartbeat) -> None:
    """Count what a heartbeat says, and end the cycle.

    The beat that may come a hundred thousand times a second tells tokens and cost, and nothing
    of its cycle was told before: that one takes the short way. Both ways lead to the same.
    """
    durable, spending = agent.durable, agent.spending
    tokens, micros = beat.tokens, beat.cost_micros
    if (
        not tokens
        or not micros
        or spending.cycle_is_open
        or tokens >= spending.cycle_next_tokens
        or micros >= spending.cycle_next_micros
        or beat.cost_rest_picos
        or agent.draining_since_ms is not None
    ):
        _take_any_beat(turn, agent, beat)
        return
    durable.priced += 1
    durable.cycles += 1
    durable.tokens += tokens
    durable.cost_micros += micros
    picos = micros * PICOS
    ran = spending.runaways.observe(turn.now_ms, tokens, picos, 0)
    if ran is not None:
        cost.run_away(turn, agent, ran)
    if durable.tokens >= spending.next_tokens or durable.cost_micros >= spending.next_micros:
        accounts.add(durable, 0, 0)
        cost.judge_budgets(turn, agent)
    spiked = spending.spikes.observe(tokens, picos)
    if spiked is not None:
        cost.tell_spike(turn, agent, spiked)
    spending.cycle_tokens = tokens
    spending.beats_tell_cost = spending.baseline_is_old = True
    durable.cycle_from_tokens = durable.tokens
    durable.cycle_from_micros = durable.cost_micros


def _take_any_beat(turn: Turn, agent: Agent, beat: Heartbeat) -> None:
    """Count whatever a heartbeat says, and end the cycle.

    One that another thread sent ends no cycle of the work loop, unless it tells its usage.
    """
    durable = agent.durable
    tokens, picos = _said(turn, beat)
    if tokens is None and picos is None and beat.off_thread:
        return
    called_tokens = durable.tokens - durable.cycle_from_tokens
    called_picos = accounts.cycle_picos(durable)
    more_tokens = max(0, (tokens or 0) - called_tokens)
    more_picos = max(0, (picos or 0) - called_picos)
    unpriced = False
    if picos is not None:
        durable.priced += 1
    elif more_tokens or durable.cycle_unpriced:
        durable.unpriced += 1
        unpriced = True
    durable.cycle_unpriced = 0
    spending = agent.spending
    spending.beats_tell_cost = beat.cost_micros is not None
    if more_tokens or more_picos:
        _count(turn, agent, more_tokens, more_picos, unpriced=bool(more_tokens) and unpriced)
    if unpriced:
        cost.tell_unpriced(turn, agent, beat.model)
    cycle_tokens = called_tokens + more_tokens
    if tokens is not None or called_tokens:
        spending.cycle_tokens = cycle_tokens
    if cycle_tokens or called_picos or more_picos:
        durable.cycles += 1
        cost.judge_cycle(turn, agent, cycle_tokens, 0 if unpriced else called_picos + more_picos)
    _end_cycle(agent)


def _said(turn: Turn, beat: Heartbeat) -> tuple[int | None, int | None]:
    """Return the tokens and pico-dollars that a heartbeat speaks of; None: not said, not known."""
    tokens, picos = beat.tokens, None
    if beat.cost_micros is not None:
        picos = beat.cost_micros * PICOS + beat.cost_rest_picos
    if beat.usage is not None:
        if tokens is None:
            tokens = beat.usage.total_tokens
        if picos is None:
            picos = turn.prices.cost_picos(beat.usage, beat.model, beat.provider)
    return tokens, picos


def take_call(turn: Turn, agent: Agent, call: Call) -> None:
    """Count what a call used as soon as its end is told."""
    spending = agent.spending
    if call.model is not None:
        agent.telemetry.model = call.model
    if call.start:
        spending.calls.pop(call.call, None)  # the same name, another call
        return
    if call.usage is None and call.cost_micros is None:
        if call.ok is not False and call.model is not None:
            _note_unpriced(turn, agent, call.model)
        return
    tokens = call.usage.total_tokens if call.usage is not None else 0
    picos = _cost_of_call(turn, agent, call)
    before_tokens, before_picos = spending.calls.pop(call.call, (0, 0))
    if len(spending.calls) >= CALLS_KEPT:
        del spending.calls[next(iter(spending.calls))]
    spending.calls[call.call] = (max(tokens, before_tokens), max(picos or 0, before_picos))
    more_tokens = max(0, tokens - before_tokens)
    more_picos = max(0, (picos or 0) - before_picos)
    if picos is not None:
        agent.durable.priced += 1
    _count(turn, agent, more_tokens, more_picos, unpriced=picos is None and more_tokens > 0)
    if picos is None:
        _note_unpriced(turn, agent, call.model)


def take_dropped(turn: Turn, agent: Agent, lines: Sequence[Line]) -> None:
    """Count what lines speak of that were too many to be heard."""
    for line in lines:
        if isinstance(line, Heartbeat):
            take_beat(turn, agent, line)
        elif isinstance(line, Call):
            take_call(turn, agent, line)


def spend_micros(turn: Turn, agent: Agent, micros: int) -> None:
    """Charge an agent with what somebody spent on its behalf, such as its judge.

    It is no part of the running cycle, of which the agent itself says what it cost.
    """
    if micros > 0:
        agent.durable.priced += 1
        agent.durable.cycle_from_micros += micros
        _count(turn, agent, 0, micros * PICOS, unpriced=False)


def roll(agent: Agent, periods: accounts.Periods | None) -> bool:
    """Begin the civil periods that began; True if that is worth keeping."""
    if not accounts.roll(agent.durable, periods):
        return False
    budgets.watch(agent)
    return True


def _cost_of_call(turn: Turn, agent: Agent, call: Call) -> int | None:
    if call.cost_micros is not None:
        return call.cost_micros * PICOS + call.cost_rest_picos
    usage = call.usage or Usage()
    begun = agent.calls.get(call.call)
    model = call.model or (begun.model if begun is not None else None)
    provider = call.provider or (begun.provider if begun is not None else None)
    return turn.prices.cost_picos(usage, model, provider)


def _note_unpriced(turn: Turn, agent: Agent, model: str | None) -> None:
    """The cost of a call isn't known, unless the heartbeat that ends the cycle tells it."""
    agent.durable.cycle_unpriced += 1
    agent.spending.cycle_is_open = True
    waits = agent.spending.beats_tell_cost
    if not waits or agent.durable.cycle_unpriced >= UNPRICED_CALLS_MAX:
        cost.tell_unpriced(turn, agent, model)


def _count(turn: Turn, agent: Agent, tokens: int, picos: int, *, unpriced: bool) -> None:
    """Count a spend in every account, and judge it."""
    durable, spending = agent.durable, agent.spending
    draining = agent.draining_since_ms is not None and is_draining(agent, turn.now_ms)
    accounts.add(durable, tokens, picos)
    spending.cycle_is_open = True
    if not draining:
        ran = spending.runaways.observe(turn.now_ms, tokens, picos, unpriced)
        if ran is not None:
            cost.run_away(turn, agent, ran)
    if (
        durable.tokens >= spending.next_tokens
        or durable.cost_micros >= spending.next_micros
        or durable.tokens - durable.cycle_from_tokens >= spending.cycle_next_tokens
        or durable.cost_micros - durable.cycle_from_micros >= spending.cycle_next_micros
    ):
        cost.judge_budgets(turn, agent)


def _end_cycle(agent: Agent) -> None:
    durable, spending = agent.durable, agent.spending
    told = durable.budgets_warned or durable.budgets_exceeded or durable.budgets_overridden
    accounts.begin_cycle(durable)
    if told:
        budgets.watch(agent)
    if spending.calls:
        spending.calls.clear()
    spending.cycle_is_open = False
    spending.baseline_is_old = True
