# ruff: noqa: ANN401 - a wrapper takes whatever the function under it takes
"""Bugs planted on purpose. What is not on this list is not known to be tested.

Each is one rule of the core, broken in one place; the simulator must find every one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from agentd.core import (
    accounts,
    actions,
    boot,
    budgets,
    commands,
    cost,
    deadlines,
    ends,
    hearing,
    incident,
    judging,
    ledger,
    lifecycle,
    liveness,
    minutes,
    pausing,
    restart,
)
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.agent import Agent
from agentd.core.breaker import Breaker, Breakers, BreakerState
from agentd.core.causes import Causes
from agentd.core.deadlines import Deadlines
from agentd.core.detectors.spike import SpikeDetector
from agentd.core.effects import Persist, PersistIncident, Thaw
from agentd.core.incidents import Incidents
from agentd.core.states import Intent, State, StopReason
from agentd.core.supervisor import Supervisor
from agentd.core.turn import Turn
from tests.sim.fleet_mutants import FLEET_MUTANTS
from tests.sim.rule_mutants import RULE_MUTANTS, Wrap


@contextmanager
def _swap(*places: tuple[object, str, Wrap]) -> Iterator[None]:
    """Replace each (owner, name) by what its wrapper makes of it."""
    if not places:
        yield
        return
    (owner, name, wrap), *rest = places
    with patch.object(owner, name, wrap(getattr(owner, name))), _swap(*rest):
        yield


def _constant(value: object) -> Wrap:
    return lambda _original: lambda *_args, **_kwargs: value


def _never_counts(decide: Any) -> Any:
    return lambda config, **facts: decide(config, **(facts | {"failures": 0}))


def _twice(function: Any) -> Any:
    def wrapped(*args: Any) -> None:
        function(*args)
        args[0].effects.append(
            next(effect for effect in reversed(args[0].effects) if isinstance(effect, do.Journal))
        )

    return wrapped


def _without_intent(want_start: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, cause: str, **how: bool) -> None:
        intent, agent.durable.intent = agent.durable.intent, Intent.UP
        want_start(turn, agent, cause, **how)
        agent.durable.intent = intent

    return wrapped


def _by_hand(want_start: Any) -> Any:
    return lambda turn, agent, cause, **how: want_start(
        turn, agent, cause, **(how | {"by_hand": True})
    )


def _any_incarnation(about: Any) -> Any:
    def wrapped(self: Supervisor, turn: Turn, event: Any) -> None:
        agent = self.agents.get(event.agent)
        current = event if agent is None else replace(event, incarnation=agent.incarnation)
        about(self, turn, current)

    return wrapped


def _impatient(on_exited: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, event: Any) -> None:
        on_exited(turn, agent, event)
        ends.on_tree_empty(turn, agent)

    return wrapped


def _forgets(clear: Any) -> Any:
    def wrapped(agent: Agent) -> None:
        clear(agent)
        ends.forget_failures(agent)

    return wrapped


def _sleeps(*asleep: State) -> Wrap:
    def wrap(arm: Any) -> Any:
        def wrapped(self: Deadlines, agent: Agent, now_ms: int) -> None:
            if agent.state not in asleep:
                arm(self, agent, now_ms)

        return wrapped

    return wrap


def _charges_twice(follow_policy: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, end: Any) -> None:
        agent.durable.failures += end.failed
        follow_policy(turn, agent, end)

    return wrapped


def _amnesia(recorded: Any) -> Any:
    def wrapped(name: str, config: Any, fate: Any) -> Agent:
        agent: Agent = recorded(name, config, fate)
        agent.durable.failures = 0
        return agent

    return wrapped


def _unwritten(dropped: Intent) -> Wrap:
    def wrap(finish: Any) -> Any:
        def wrapped(self: Turn) -> list[do.Effect]:
            effects: list[do.Effect] = finish(self)
            return [
                effect
                for effect in effects
                if not (isinstance(effect, Persist) and effect.durable.intent is dropped)
            ]

        return wrapped

    return wrap


def _dead_on_arrival(restore: Any) -> Any:
    return lambda turn, agent, fate: restore(turn, agent, replace(fate, alive=False))


def _thaws(on_froze: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, event: Any) -> None:
        on_froze(turn, agent, event)
        turn.do(Thaw(agent.name, agent.incarnation))

    return wrapped


def _remembers_shortage(pause: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, *rest: Any) -> None:
        until_ms = agent.shortage_until_ms
        pause(turn, agent, *rest)
        agent.shortage_until_ms = until_ms

    return wrapped


def _answers_twice(request: Any) -> Any:
    def wrapped(self: Supervisor, turn: Turn, asked: Any) -> None:
        request(self, turn, asked)
        turn.effects += [effect for effect in turn.effects if isinstance(effect, do.Reply)]

    return wrapped


def _at_once(stable_at_ms: Any) -> Any:
    def wrapped(agent: Agent) -> int | None:
        return agent.healthy_since_ms if stable_at_ms(agent) is not None else None

    return wrapped


def _warns_beyond(limits_of: Any) -> Any:
    return lambda config: (
        replace(limit, warn_from=limit.warn_from + 1) for limit in limits_of(config)
    )


def _always_began(moved: Any) -> Any:
    def wrapped(durable: Any, mark: Any, span: Any) -> Any:
        return moved(durable, None if mark is not None and durable.tokens % 3 else mark, span)

    return wrapped


def _counts_calls_twice(take_beat: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, beat: Any) -> None:
        accounts.begin_cycle(agent.durable)
        take_beat(turn, agent, beat)

    return wrapped


def _forgets_actions(recorded: Any) -> Any:
    def wrapped(name: str, config: Any, fate: Any) -> Agent:
        agent: Agent = recorded(name, config, fate)
        agent.durable.unfinished = ()
        return agent

    return wrapped


def _untouched(take: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, line: Any) -> Any:
        before = dict(turn.touched)
        answer = take(turn, agent, line)
        turn.touched = before
        return answer

    return wrapped


def _keeps_overrides(forget: Any) -> Any:
    def wrapped(durable: Any, period: str) -> None:
        overridden = durable.budgets_overridden
        forget(durable, period)
        durable.budgets_overridden = overridden

    return wrapped


def _resumes_itself(roll: Any) -> Any:
    def wrapped(self: Supervisor, turn: Turn, event: Any) -> None:
        roll(self, turn, event)
        if isinstance(event, ev.PeriodsBegan):
            for agent in self.agents.values():
                if agent.durable.reason is StopReason.BUDGET_EXCEEDED:
                    pausing.resume(turn, agent, "agentd", "")

    return wrapped


def _takes_spikes_in(observe: Any) -> Any:
    def wrapped(self: SpikeDetector, tokens: int, picos: int) -> Any:
        spiked = observe(self, tokens, picos)
        if self.standing:
            self.tokens.add(tokens)
            self.picos.add(picos)
        return spiked

    return wrapped


def _believes_at_once(weigh: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, event: Any) -> None:
        agent.judging.against.extend([agent.judging.against[-1]] * agent.config.judge.confirm)
        weigh(turn, agent, event)

    return wrapped


def _lets_all_through(_let_through: Any) -> Any:
    return lambda self, _trial: self.state is not BreakerState.OPEN


def _leaves_late_questions(answer_question: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent | None, asked: Any) -> None:
        if agent is not None and hearing.is_current(agent, asked.incarnation):
            answer_question(turn, agent, asked)

    return wrapped


def _unasked(_act: Any) -> Any:
    def wrapped(turn: Turn, agent: Agent, action: str, reason: StopReason, evidence: str) -> None:
        if action in ("pause", "kill") and agent.state is not State.PAUSED:
            getattr(pausing, action)(turn, agent, reason, "agentd", evidence)

    return wrapped


def _acts_on_all(_act: Any) -> Any:
    return pausing.act


def _rolled_anew(begin: Any) -> Any:
    def wrapped(durable: Any) -> None:
        durable.rolled = None
        begin(durable)

    return wrapped


def _without_marks(end: Any) -> Any:
    return lambda *args: [each for each in end(*args) if not isinstance(each, Persist)]


def _without_incidents(finish: Any) -> Any:
    return lambda self: [one for one in finish(self) if not isinstance(one, PersistIncident)]


def _restores_none(restore: Any) -> Any:
    return lambda self, _incidents, number, now_ms: restore(self, (), number, now_ms)


def _nobody_told(acknowledge: Any) -> Any:
    def wrapped(self: Incidents, found: Any, *args: Any) -> Any:
        news = acknowledge(self, found, *args)
        self._put(replace(self.opened[found.number], remind_at_ms=found.remind_at_ms))
        return news

    return wrapped


MUTANTS: Mapping[str, tuple[tuple[object, str, Wrap], ...]] = {
    "a crash leaves a part of a minute out": ((minutes, "begin", _rolled_anew),),
    "what rollups tell of is not written down": ((minutes, "end", _without_marks),),
    "the cooldown is ignored": ((restart, "cooldown_ms", _constant(0)),),
    "failures never escalate": ((restart, "decide", _never_counts),),
    "an escalation is raised twice": ((ends, "escalate", _twice),),
    "a killed agent follows its restart policy": (
        (ends, "_rest", lambda _rest: ends.follow_policy),
        (lifecycle, "want_start", _without_intent),
    ),
    "held is no hindrance": ((lifecycle, "want_start", _by_hand),),
    "the end of an old incarnation counts": ((Supervisor, "_about_process", _any_incarnation),),
    "a pause eats the cooldown": ((pausing, "_stop_cooldown", _constant(None)),),
    "the next run does not wait for an empty tree": ((ends, "on_exited", _impatient),),
    "any start by hand forgives failures": ((commands, "_clear_escalation", _forgets),),
    "dependencies are not waited for": ((lifecycle, "blockers", _constant([])),),
    "a cooldown arms no deadline": ((Deadlines, "arm", _sleeps(State.COOLDOWN)),),
    "a start arms no deadline": ((Deadlines, "arm", _sleeps(State.STARTING)),),
    "a failure is charged twice": ((ends, "follow_policy", _charges_twice),),
    "a new daemon forgets failures": ((boot, "recorded", _amnesia),),
    "a kill is not written down": ((Turn, "finish", _unwritten(Intent.KILLED)),),
    "a stop is not written down": ((Turn, "finish", _unwritten(Intent.STOPPED)),),
    "patience with a deaf agent never ends": ((lifecycle, "kill_tree", _constant(None)),),
    "a living agent is started anew after a crash": ((boot, "restore", _dead_on_arrival),),
    "a frozen tree is let go again": ((pausing, "on_froze", _thaws),),
    "a retry after a shortage does not mind a pause": ((pausing, "pause", _remembers_shortage),),
    "a request is answered twice": ((Supervisor, "_request", _answers_twice),),
    "a row is forgiven at once": ((deadlines, "stable_at_ms", _at_once),),
    "a budget warns only beyond its share": ((budgets, "limits_of", _warns_beyond),),
    "a budget begins anew without a new period": ((accounts, "_moved", _always_began),),
    "calls are counted again with the heartbeat": ((ledger, "take_beat", _counts_calls_twice),),
    "an exceeded budget is told and no more": ((cost, "_act", _constant(None)),),
    "an override never ends": ((accounts, "_forget", _keeps_overrides),),
    "a budget's pause ends with its period": ((Supervisor, "_dispatch", _resumes_itself),),
    "a verdict outranks an operator's word": (
        (pausing, "act", _unasked),
        (cost, "_act", _acts_on_all),
    ),
    "spikes become the usual": ((SpikeDetector, "observe", _takes_spikes_in),),
    "the judge is acted on at its first word": ((judging, "_weigh", _believes_at_once),),
    "actions in flight are forgotten by a new daemon": ((boot, "recorded", _forgets_actions),),
    "an action is acknowledged before it is written": ((actions, "begin", _untouched),),
    "a checkpoint is acknowledged before it is written": ((actions, "keep", _untouched),),
    "what isn't finished holds nothing": ((actions, "hold", _constant(None)),),
    "a question of an ended run is not answered": (
        (hearing, "answer_question", _leaves_late_questions),
    ),
    "a breaker never half-opens": ((Breaker, "wait_over", _constant(value=False)),),
    "a breaker arms no deadline": ((Breakers, "rearm", _constant(None)),),
    "a half-open breaker lets all through": ((Breaker, "let_through", _lets_all_through),),
    **RULE_MUTANTS,
    **FLEET_MUTANTS,
    "an incident is not written down": ((Turn, "finish", _without_incidents),),
    "a new daemon knows no incidents": ((Incidents, "restore", _restores_none),),
    "each symptom is an incident of its own": ((Causes, "_of_dependency", _constant(None)),),
    "the first sign of life resolves an incident": ((incident, "proof_ms", _constant(0)),),
    "whoever has an incident in hand is reminded": ((Incidents, "_acknowledge", _nobody_told),),
    "an operator's act acknowledges nothing": ((Incidents, "heed", _constant([])),),
    "what an operator wants down is trouble": ((incident, "is_kept_down", _constant(value=False)),),
    "nothing of an incident is due": ((Incidents, "_arm", _constant(None)),),
    "a dependency's incident never ends": ((Incidents, "_subject_over", _constant("")),),
    "frozen time is silence": ((liveness, "shift", _constant(None)),),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Plant one bug."""
    with _swap(*MUTANTS[name]):
        yield
