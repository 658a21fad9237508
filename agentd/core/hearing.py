"""What an agent says, taken in: telemetry, signs of life, readiness, parking."""

from collections.abc import Sequence

from agentd.core import lifecycle, liveness, pausing
from agentd.core.agent import EARLY_LINES_MAX, Agent, Presence
from agentd.core.lines import Call, Heartbeat, Hello, Line, Notify, Status, Step
from agentd.core.states import State, Trigger
from agentd.core.turn import Turn


def is_current(agent: Agent, incarnation: int) -> bool:
    """Whether lines of this incarnation still concern the agent."""
    if agent.config.external:
        return incarnation == 0
    living = (Presence.SPAWNING, Presence.ALIVE)
    return incarnation == agent.incarnation and agent.presence in living


def hear(turn: Turn, agent: Agent, lines: Sequence[Line]) -> None:
    """Take in lines of the running incarnation, in their order.

    A quick program may be heard before the news of its spawn: its lines wait for that.
    """
    if agent.presence is Presence.SPAWNING:
        agent.early += lines[: EARLY_LINES_MAX - len(agent.early)]
        return
    now_ms = turn.now_ms
    for line in lines:
        if isinstance(line, Heartbeat):
            _hear_heartbeat(turn, agent, line)
        elif isinstance(line, Call):
            agent.telemetry.fold_call(line, agent.durable, now_ms)
            liveness.note_call(agent, line, now_ms)
        elif isinstance(line, Step):
            _hear_step(agent, line, now_ms)
        elif isinstance(line, Notify):
            _hear_notify(turn, agent, line)
        elif isinstance(line, Hello):
            agent.telemetry.sdk = line.sdk


def hear_early(turn: Turn, agent: Agent) -> None:
    """Take in what was said before the spawn was known."""
    lines, agent.early = agent.early, []
    if lines and agent.presence is Presence.ALIVE:
        hear(turn, agent, lines)


def _hear_heartbeat(turn: Turn, agent: Agent, beat: Heartbeat) -> None:
    agent.telemetry.fold(beat, agent.durable, turn.now_ms)
    liveness.note_heartbeat(agent, beat, turn.now_ms)
    if agent.state is State.RUNNING and beat.status is not Status.ERROR:
        return
    if agent.state is State.STARTING:
        lifecycle.on_heard(turn, agent)
    elif agent.config.external and agent.state is State.STOPPED:
        _external_appears(turn, agent)
    if beat.status is Status.ERROR and beat.retry_after_ms is not None:
        told = f"its provider asks to wait {beat.retry_after_ms / 1000:g} s"
        pausing.park(turn, agent, beat.retry_after_ms, told)
    elif agent.state is State.PARKED:
        pausing.unpark(turn, agent)


def _external_appears(turn: Turn, agent: Agent) -> None:
    agent.move(Trigger.START, turn.now_ms, "heard of")
    agent.move(Trigger.READY, turn.now_ms, "first heartbeat")
    agent.durable.ready = True
    turn.touch(agent)


def _hear_step(agent: Agent, step: Step, now_ms: int) -> None:
    agent.alive_at_ms = now_ms
    if step.step is not None:
        agent.telemetry.step = step.step
    if step.tool is not None:
        agent.telemetry.tool = step.tool


def _hear_notify(turn: Turn, agent: Agent, said: Notify) -> None:
    if said.status is not None:
        agent.telemetry.step = said.status
    if said.stopping:
        agent.telemetry.status = Status.DRAINING
    if said.extend_ms is not None:
        longest_ms = agent.config.heartbeat.max_silence_ms
        agent.hold_until_ms = turn.now_ms + min(said.extend_ms, longest_ms)
    if said.watchdog:
        _hear_heartbeat(turn, agent, Heartbeat())
    if said.ready and agent.config.ready_by == "notify":
        lifecycle.on_ready(turn, agent, "READY=1")
