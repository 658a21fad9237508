# ruff: noqa: ANN401 - a wrapper takes whatever the function under it takes
"""Bugs planted in single rules: durability before the deed, budgets of restarts, whose silence
it is, what outranks what; see mutants.py, which lists all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agentd.core import (
    accounts,
    boot,
    dependencies,
    ends,
    lifecycle,
    pausing,
    reloading,
    restart,
)
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.agent import After, Agent
from agentd.core.effects import Persist
from agentd.core.incidents import Incidents
from agentd.core.states import Intent, State, StopReason
from agentd.core.turn import Turn
from tests.sim.look_mutants import LOOK_MUTANTS

Wrap = Callable[[Any], Any]
Places = tuple[tuple[object, str, Wrap], ...]


def _nothing(_function: Any) -> Any:
    return lambda *_args, **_kwargs: None


def _recorded_without(**lost: object) -> Wrap:
    """A new daemon does not read a part of the record."""

    def wrap(recorded: Any) -> Any:
        def wrapped(name: str, config: Any, fate: Any) -> Agent:
            agent: Agent = recorded(name, config, fate)
            if fate is not None:
                for each, value in lost.items():
                    setattr(agent.durable, each, value)
            return agent

        return wrapped

    return wrap


def _believes_the_record(restore: Any) -> Any:
    """What lives although the record has it down is not minded."""

    def wrapped(turn: Turn, agent: Agent, fate: ev.Fate) -> None:
        down = agent.state in (State.STOPPED, State.COOLDOWN, State.ESCALATED)
        restore(turn, agent, replace(fate, alive=False) if down else fate)

    return wrapped


def _looks_at_nobody(restore: Any) -> Any:
    return lambda turn, agent, fate: restore(turn, agent, replace(fate, stands=False))


def _begins_anew(recorded: Any) -> Any:
    """A new daemon lets a cooldown begin anew."""

    def wrapped(name: str, config: Any, fate: Any) -> Agent:
        agent: Agent = recorded(name, config, fate)
        if agent.durable.cooldown_until_ms is not None:
            agent.durable.cooldown_until_ms += int(config.restart.cooldown_ms) or 1
        return agent

    return wrapped


def _one_more(decide: Any) -> Any:
    """The restart that the budget refuses is made."""
    return lambda config, **facts: decide(
        config, **(facts | {"failures": max(0, facts["failures"] - 1)})
    )


def _without_spawns(finish: Any) -> Any:
    """What a spawn is of is not written down before it."""

    def wrapped(self: Turn) -> list[do.Effect]:
        effects: list[do.Effect] = finish(self)
        spawned = {effect.agent for effect in effects if isinstance(effect, do.Spawn)}
        return [
            effect
            for effect in effects
            if not (isinstance(effect, Persist) and effect.agent in spawned)
        ]

    return wrapped


def _without_pauses(finish: Any) -> Any:
    def wrapped(self: Turn) -> list[do.Effect]:
        effects: list[do.Effect] = finish(self)
        return [
            effect
            for effect in effects
            if not (isinstance(effect, Persist) and effect.durable.intent is Intent.PAUSED)
        ]

    return wrapped


def _without_holds(finish: Any) -> Any:
    def wrapped(self: Turn) -> list[do.Effect]:
        effects: list[do.Effect] = finish(self)
        return [
            effect
            for effect in effects
            if not (isinstance(effect, Persist) and effect.durable.held)
        ]

    return wrapped


def _kill_leaves_cooldown(kill: Any) -> Any:
    """A restart that is due comes in spite of a kill."""

    def wrapped(turn: Turn, agent: Agent, *rest: Any) -> None:
        until_ms, state = agent.durable.cooldown_until_ms, agent.durable.state
        kill(turn, agent, *rest)
        if until_ms is not None and not agent.has_process:
            agent.durable.intent = Intent.UP
            agent.durable.state, agent.durable.cooldown_until_ms = state, until_ms

    return wrapped


def _grows_back(begin_run: Any) -> Any:
    """Each incarnation's spending is forgotten."""

    def wrapped(turn: Turn, agent: Agent, cause: str) -> None:
        begin_run(turn, agent, cause)
        accounts.begin_run(agent.durable)

    return wrapped


def _in_any_order(may_stop: Any) -> Any:
    return lambda *_: may_stop is not None


def _other_incarnation(restore: Any) -> Any:
    """What lives is taken for the next incarnation."""

    def wrapped(turn: Turn, agent: Agent, fate: Any) -> None:
        if fate.alive:
            agent.durable.incarnation += 1
        restore(turn, agent, fate)

    return wrapped


def _charged(follow_end: Any) -> Any:
    """An operator's restart counts as a failure."""

    def wrapped(turn: Turn, agent: Agent, end: Any, **how: Any) -> None:
        if end.reason is StopReason.USER_RESTARTED:
            agent.durable.failures += 1
        follow_end(turn, agent, end, **how)

    return wrapped


def _restarts_by_reload(_restart: Any) -> Any:
    """A reload lets go what is paused."""

    def wrapped(turn: Turn, agent: Agent) -> None:
        if agent.has_process and agent.stop is None:
            told = "what is executed changed"
            agent.durable.intent = Intent.UP
            lifecycle.begin_stop(turn, agent, StopReason.CONFIG_CHANGED, told, After.AGAIN)

    return wrapped


def _shortage_charged(on_shortage: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, event: Any) -> None:
        on_shortage(turn, agent, event)
        agent.durable.failures += 2

    return wrapped


def _gap_moves_cooldown(shift: Any) -> Any:
    """A gap of ours puts a cooldown off, too."""

    def wrapped(agent: Agent, gap_ms: int, now_ms: int) -> None:
        shift(agent, gap_ms, now_ms)
        if agent.durable.cooldown_until_ms is not None:
            agent.durable.cooldown_until_ms += gap_ms

    return wrapped


def _adopted_silence(adopt: Any) -> Any:
    """The time without a daemon is silence."""

    def wrapped(turn: Turn, agent: Agent, fate: Any) -> None:
        adopt(turn, agent, fate)
        agent.alive_at_ms = turn.now_ms - 60_000

    return wrapped


def _counts_anew(restore: Any) -> Any:
    def wrapped(self: Incidents, incidents: Any, _next: int, now_ms: int) -> None:
        restore(self, incidents, 1, now_ms)
        self.number_next = 1

    return wrapped


def _one_failure_twice_told(finish_run: Any) -> Any:
    """An end is told twice."""

    def wrapped(turn: Turn, agent: Agent, end: Any, **how: Any) -> None:
        finish_run(turn, agent, end, **how)
        told = [one for one in turn.effects if isinstance(one, do.Journal)]
        ended = [one for one in told if one.record.event == "agent.exited"]
        turn.effects.append(do.Journal(replace(ended[-1].record)))

    return wrapped


RULE_MUTANTS: Mapping[str, Places] = {
    **LOOK_MUTANTS,
    "what lives by no record is started again": ((boot, "restore", _believes_the_record),),
    "what stands by no record is left standing": ((boot, "restore", _looks_at_nobody),),
    "a new daemon forgets a hold": ((boot, "recorded", _recorded_without(held=False)),),
    "a new daemon forgets the row": (
        (boot, "recorded", _recorded_without(row=0, auto_start_at_ms=None)),
    ),
    "a new daemon lets a cooldown begin anew": ((boot, "recorded", _begins_anew),),
    "a new daemon forgets who is down": ((boot, "recorded", _recorded_without(intent=Intent.UP)),),
    "one restart more than the budget has": ((restart, "decide", _one_more),),
    "a spawn is not written down": ((Turn, "finish", _without_spawns),),
    "a pause is not written down": ((Turn, "finish", _without_pauses),),
    "a hold is not written down": ((Turn, "finish", _without_holds),),
    "a restart that is due outranks a kill": ((pausing, "kill", _kill_leaves_cooldown),),
    "a gap of our own is silence": ((lifecycle, "shift_after_gap", _nothing),),
    "time without a daemon is silence": ((boot, "_adopt", _adopted_silence),),
    "a gap of our own puts a cooldown off": ((lifecycle, "shift_after_gap", _gap_moves_cooldown),),
    "each incarnation's spending is forgotten": ((lifecycle, "_begin", _grows_back),),
    "what lives is taken for another incarnation": ((boot, "restore", _other_incarnation),),
    "stops have no order": (
        (pausing, "may_stop", _in_any_order),
        (dependencies, "may_stop", _in_any_order),
    ),
    "an operator's restart counts as a failure": ((ends, "finish_run", _charged),),
    "a new daemon counts incidents anew": ((Incidents, "restore", _counts_anew),),
    "an end is told twice": ((ends, "finish_run", _one_failure_twice_told),),
    "a reload lets go what is paused": ((reloading, "_restart", _restarts_by_reload),),
    "a shortage of the host is charged": ((lifecycle, "on_shortage", _shortage_charged),),
}
