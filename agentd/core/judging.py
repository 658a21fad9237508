"""Is it meaningfully closer to its goal? Asked of a command of the operator's, now and then.

The command sees the last steps, the goal, the task and the progress. Its word counts when it
is sure of it, and is acted on only when it has said so `confirm` times in a row, of steps that
are for the most part not the same. A command that fails gives no verdict. What it costs is
the agent's.
"""

from typing import Final

from agentd.core import ledger, pausing
from agentd.core.agent import Agent
from agentd.core.draining import is_draining
from agentd.core.effects import Control, Judge
from agentd.core.events import Judged
from agentd.core.lines import Step
from agentd.core.states import State, StopReason
from agentd.core.turn import WARNING, Turn

# A judge that fails each time is told of so often.
FAILURE_TOLD_EVERY_MS: Final = 3_600_000
REASON_CHARS_MAX: Final = 500
_JUDGED: Final = (State.RUNNING, State.STARTING)


def hear_step(turn: Turn, agent: Agent, step: Step) -> None:
    """Keep a step for the judge, and ask it if this is the moment."""
    config, judging = agent.config.judge, agent.judging
    if not config.command:
        return
    judging.note(step, config.window)
    last_at = judging.asked_at
    due_at = max(1, config.after) if last_at is None else last_at + config.every
    if judging.seen < due_at or judging.asked is not None:
        return
    if _is_judged(turn, agent) and _may_ask_today(agent):
        judging.asked_at = judging.seen
        _ask(turn, agent)


def on_judged(turn: Turn, agent: Agent, event: Judged) -> None:
    """Take in the judge's word, or that it had none; its cost counts in any case.

    The word comes first: a budget that its own cost exceeds must not swallow a verdict.
    """
    _take_word(turn, agent, event)
    if event.cost_micros:
        ledger.spend_micros(turn, agent, event.cost_micros)


def _take_word(turn: Turn, agent: Agent, event: Judged) -> None:
    judging = agent.judging
    window = judging.asked
    if window is None or event.incarnation != _incarnation(agent):
        return  # about a run that is over
    judging.asked = None
    if event.error:
        _tell_failure(turn, agent, event.error)
    elif event.closer or event.confidence < agent.config.judge.confidence:
        judging.against.clear()
        judging.drifting = judging.drifting and not event.closer
    elif not _is_judged(turn, agent) or judging.drifting:
        judging.against.clear()
    elif not judging.against or not window.is_mostly(judging.against[-1]):
        judging.against.append(window)
        _weigh(turn, agent, event)


def _is_judged(turn: Turn, agent: Agent) -> bool:
    if agent.stop is not None or is_draining(agent, turn.now_ms):
        return False
    return agent.config.external or agent.state in _JUDGED


def _may_ask_today(agent: Agent) -> bool:
    """Whether the questions of this civil day aren't used up; they outlive the daemon."""
    durable = agent.durable
    day_ms = durable.day.begins_ms if durable.day is not None else None
    if durable.judged_day_ms != day_ms:
        durable.judged_day_ms, durable.judged = day_ms, 0
    return durable.judged < agent.config.judge.max_per_day


def _ask(turn: Turn, agent: Agent) -> None:
    judging, telemetry = agent.judging, agent.telemetry
    agent.durable.judged += 1
    turn.touch(agent)
    judging.asked = judging.window()
    steps = list(judging.steps)
    payload: dict[str, object] = {
        "agent": agent.name,
        "goal": telemetry.goal,
        "task": telemetry.task,
        "progress": telemetry.progress,
        "steps": steps,
        "notes": [step["note"] for step in steps if step["note"]],
    }
    turn.do(Judge(agent.name, _incarnation(agent), payload))


def _incarnation(agent: Agent) -> int:
    return 0 if agent.config.external else agent.incarnation


def _weigh(turn: Turn, agent: Agent, event: Judged) -> None:
    """Warn the agent at the first word against it; act when it is confirmed."""
    config, judging = agent.config.judge, agent.judging
    confirmed = len(judging.against) >= config.confirm
    data: dict[str, object] = {
        "confidence": event.confidence,
        "judge_reason": event.reason[:REASON_CHARS_MAX],
        "answers": len(judging.against),
        "steps": [judging.against[0].first, judging.against[-1].last],
    }
    told = f"the judge is {event.confidence:.0%} sure that it is no closer to its goal"
    if event.reason:
        told += f": {event.reason[:REASON_CHARS_MAX]}"
    if not confirmed:
        if len(judging.against) == 1:
            _warn(turn, agent, told, data)
        return
    judging.against.clear()
    # Told once; where it is stopped for it, whoever lets it go on has it judged anew.
    action = "alert" if agent.config.external else config.on_drift
    judging.drifting = action == "alert"
    turn.journal(
        "drift.detected",
        agent,
        f"{told} ({data['answers']} times in a row)",
        severity=WARNING,
        reason=StopReason.DRIFT_DETECTED,
        data=data,
    )
    pausing.act(turn, agent, action, StopReason.DRIFT_DETECTED, told)


def _warn(turn: Turn, agent: Agent, told: str, data: dict[str, object]) -> None:
    """One opinion: the agent is told, people can read of it, and nobody is called."""
    turn.journal("drift.warning", agent, told, severity=WARNING, data=data, alert=False)
    said = {"message": told, "event": "drift.warning", **data}
    reason = StopReason.DRIFT_DETECTED.value
    turn.do(Control(agent.name, _incarnation(agent), "steer", reason, said))


def _tell_failure(turn: Turn, agent: Agent, error: str) -> None:
    judging = agent.judging
    judging.failures += 1
    told_at_ms = judging.failure_told_at_ms
    if told_at_ms is None or turn.now_ms - told_at_ms >= FAILURE_TOLD_EVERY_MS:
        judging.failure_told_at_ms = turn.now_ms
        turn.journal(
            "judge.failed",
            agent,
            f"its judge gave no answer, {judging.failures} times so far: "
            f"{error[:REASON_CHARS_MAX]}",
            severity=WARNING,
            data={"failures": judging.failures},
            alert=False,
        )
