"""What an agent says, taken in: telemetry, signs of life, readiness, parking."""

from collections.abc import Sequence

from agentd.core import (
    asking,
    beating,
    judging,
    latencies,
    ledger,
    lifecycle,
    liveness,
    loops,
    pausing,
)
from agentd.core.agent import EARLY_LINES_MAX, Agent, Presence
from agentd.core.draining import note_draining
from agentd.core.effects import Reply
from agentd.core.events import AgentAsked
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
        room = EARLY_LINES_MAX - len(agent.early)
        agent.early += lines[:room]
        agent.telemetry.note_dropped(len(lines[room:]), lines[room:])
        ledger.take_dropped(turn, agent, lines[room:])
        return
    now_ms = turn.now_ms
    _ask_once_heard(turn, agent)
    for line in lines:
        if isinstance(line, Heartbeat):
            _hear_heartbeat(turn, agent, line)
        elif isinstance(line, Call):
            ledger.take_call(turn, agent, line)
            if not line.start:
                latencies.hear_call(turn, agent, line)
            liveness.note_call(agent, line, now_ms)
            if not line.start:
                agent.progress.note_work(now_ms)
                loops.hear_call(turn, agent, line)
        elif isinstance(line, Step):
            _hear_step(agent, line, now_ms)
            loops.hear_step(turn, agent, line)
            judging.hear_step(turn, agent, line)
        elif isinstance(line, Notify):
            _hear_notify(turn, agent, line)
        elif isinstance(line, Hello):
            _hear_hello(agent, line)
            lifecycle.ask_again(turn, agent)
        else:
            agent.progress.note_work(now_ms)
            asking.take(turn, agent, line)


def _hear_hello(agent: Agent, said: Hello) -> None:
    """A later hello may say something more, and takes nothing back."""
    if said.sdk is not None:
        agent.telemetry.sdk = said.sdk
    if said.stack_signal is not None:
        agent.telemetry.stack_signal = said.stack_signal


def _ask_once_heard(turn: Turn, agent: Agent) -> None:
    """What a daemon before this one asked of it, it is asked again: it may never have come."""
    if agent.stop is not None and not agent.stop.heard_since_asked:
        lifecycle.ask_again(turn, agent)


def hear_question(turn: Turn, agent: Agent, asked: AgentAsked) -> None:
    """Take in a line that waits for its answer; a quick program's waits for the news of it."""
    if agent.presence is not Presence.SPAWNING:
        _ask_once_heard(turn, agent)
        agent.progress.note_work(turn.now_ms)
        asking.take(turn, agent, asked.line, asked.request)
    elif len(agent.early) < EARLY_LINES_MAX:
        agent.early.append(asked)
    else:
        told = "it is being started, and said too much already"
        turn.do(Reply(asked.request, error=("too_busy", told, "try again")))


def hear_early(turn: Turn, agent: Agent) -> None:
    """Take in what was said before the spawn was known."""
    said, agent.early = agent.early, []
    for each in said:
        if isinstance(each, AgentAsked):
            answer_question(turn, agent, each)
        elif agent.presence is Presence.ALIVE:
            hear(turn, agent, (each,))


def answer_question(turn: Turn, agent: Agent | None, asked: AgentAsked) -> None:
    """Take in a question, or refuse it where its incarnation is gone."""
    if agent is not None and is_current(agent, asked.incarnation):
        hear_question(turn, agent, asked)
    else:
        turn.do(Reply(asked.request, error=("forbidden", lifecycle.ENDED, "")))


def _hear_heartbeat(turn: Turn, agent: Agent, beat: Heartbeat) -> None:
    beating.note_heartbeat(agent, beat, turn.now_ms)
    if beat.latencies_ms:
        latencies.hear_tasks(turn, agent, beat.latencies_ms)
        agent.tally.note_latencies(beat.latencies_ms)
    agent.telemetry.fold(beat, agent.durable)
    if beat.status is Status.DRAINING:
        note_draining(agent, turn.now_ms)
    ledger.take_beat(turn, agent, beat)
    liveness.note_heartbeat(agent, beat, turn.now_ms)
    loops.note_heartbeat(agent, beat)
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
    agent.progress.note_work(now_ms)
    if step.step is not None:
        agent.telemetry.step = step.step
    if step.tool is not None:
        agent.telemetry.tool = step.tool


def _hear_notify(turn: Turn, agent: Agent, said: Notify) -> None:
    beating.note_notify(agent, said, turn.now_ms)
    if said.status is not None:
        agent.telemetry.step = said.status
    if said.stopping:
        agent.telemetry.status = Status.DRAINING
        note_draining(agent, turn.now_ms)
    if said.extend_ms is not None:
        longest_ms = agent.config.heartbeat.max_silence_ms
        agent.hold_until_ms = turn.now_ms + min(said.extend_ms, longest_ms)
    if said.watchdog:
        _hear_heartbeat(turn, agent, Heartbeat())
    if said.ready and agent.config.ready_by == "notify":
        lifecycle.on_ready(turn, agent, "READY=1")
