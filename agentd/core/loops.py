"""Loops and stuck work: from what a detector found to a warning, a verdict, an action.

A warning goes to people as an event and to the agent as `steer`; a verdict comes only
after it, and the config's `on_loop` follows. `off` judges nothing, `alert` only tells.
"""

from fnmatch import fnmatchcase
from typing import Final

from agentd.core import pausing
from agentd.core.agent import Agent
from agentd.core.detectors import errors, loop, novelty
from agentd.core.detectors.finding import Finding
from agentd.core.draining import is_draining
from agentd.core.effects import Control
from agentd.core.lines import Call, Heartbeat, Status, Step
from agentd.core.states import State, StopReason
from agentd.core.turn import CRITICAL, WARNING, Turn

REASONS: Final = {
    loop.WARNING: StopReason.LOOP_DETECTED,
    loop.DETECTED: StopReason.LOOP_DETECTED,
    novelty.WARNING: StopReason.DRIFT_DETECTED,
    errors.FAILING: StopReason.TOOL_FAILURE,
    errors.RETRIES: StopReason.RETRY_LIMIT_REACHED,
}
# Whoever says so has nothing to do, and may look for work for as long as it likes.
UNHURRIED: Final = (Status.IDLE, Status.WAITING_HUMAN)


def hear_step(turn: Turn, agent: Agent, step: Step) -> None:
    """Judge one step of work."""
    if not _is_judged(turn, agent):
        return
    work, now_ms = agent.work, turn.now_ms
    if _is_poll(agent, step):
        if agent.telemetry.status not in UNHURRIED:
            bound_ms = agent.config.heartbeat.max_silence_ms
            _climb(turn, agent, work.polls.observe(step, bound_ms, now_ms))
        return
    repeated = work.loop.observe(step, now_ms)
    stale = work.novelty.observe(step)
    failing = None
    if agent.state is not State.PARKED:  # its provider asked it to wait: that is no failure
        failing = work.errors.observe(step, now_ms)
    for finding in (repeated, failing, stale):
        _climb(turn, agent, finding)


def hear_call(turn: Turn, agent: Agent, call: Call) -> None:
    """Judge the end of a call to a model or a service."""
    if agent.state is not State.PARKED and _is_judged(turn, agent):
        _climb(turn, agent, agent.work.errors.observe_call(call, turn.now_ms))


def note_heartbeat(agent: Agent, beat: Heartbeat) -> None:
    """Take in what a heartbeat says of its progress and its task."""
    agent.work.note(beat)
    if beat.status is Status.ERROR and beat.retry_after_ms is not None:
        # Its provider said when: an agent that asks again then retries nothing in vain.
        agent.work.errors.forget_calls()


def _is_judged(turn: Turn, agent: Agent) -> bool:
    return (
        agent.config.loop.on_loop != "off"
        and agent.stop is None
        and agent.state is not State.PAUSED  # lines that were under way when it was frozen
        and not is_draining(agent, turn.now_ms)
    )


def _is_poll(agent: Agent, step: Step) -> bool:
    if step.poll:
        return True
    patterns = agent.config.loop.poll_tools
    return (
        bool(patterns)
        and step.tool is not None
        and any(fnmatchcase(step.tool, pattern) for pattern in patterns)
    )


def _climb(turn: Turn, agent: Agent, finding: Finding | None) -> None:
    """One step of the ladder: a warning steers, a verdict acts."""
    if finding is None:
        return
    reason, data = REASONS[finding.event], dict(finding.data)
    said_of_failure = finding.event in (errors.FAILING, errors.RETRIES)
    turn.journal(
        finding.event,
        agent,
        finding.message,
        severity=CRITICAL if finding.is_verdict else WARNING,
        reason=reason if finding.is_verdict or said_of_failure else None,
        data=data,
    )
    if finding.is_verdict:
        action = "alert" if agent.config.external else agent.config.loop.on_loop
        pausing.act(turn, agent, action, reason, finding.message)
    else:
        told = {"message": finding.message, "event": finding.event, **data}
        turn.do(Control(agent.name, agent.incarnation, "steer", reason.value, told))
