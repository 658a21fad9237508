"""Which faults of the catalogue a step, or the end of a daemon, has met; told by their ids."""

from collections.abc import Iterator, Sequence

from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.lines import Heartbeat, Line, Status
from agentd.core.records import Record
from agentd.core.states import Intent, State
from agentd.core.supervisor import Supervisor
from tests.sim.world import World


def met(
    world: World, core: Supervisor, event: ev.Event, effects: Sequence[do.Effect]
) -> Iterator[str]:
    """Name the faults that one step was about."""
    for effect in effects:
        if isinstance(effect, do.Journal):
            yield from _told(effect.record)
            if effect.record.event == "security.refused" and isinstance(event, ev.LinesDropped):
                yield "fault C15"  # the shell refuses much that is no flood
    match event:
        case ev.Exited():
            yield from _ended(world, event)
        case ev.LinesReceived():
            yield from _said(event.lines)
        case ev.Sampled(name):
            if name in core.agents and core.agents[name].memory.restart_by_ms is not None:
                yield "fault E9"
        case ev.Gap(kind="suspend"):
            if any(agent.state is State.COOLDOWN for agent in core.agents.values()):
                yield "fault I2"


def _ended(world: World, event: ev.Exited) -> Iterator[str]:
    if event.evidence.survivors:
        yield "fault D1"
    for process in world.processes.values():
        ended = (process.agent, process.incarnation) == (event.agent, event.incarnation)
        if ended and process.life == "spin":
            yield "fault A8"


def _told(record: Record) -> Iterator[str]:
    if record.event == "agent.exited" and "never became ready" in record.message:
        yield "fault A14"
    elif record.event == "agent.stopping" and record.message.startswith("still alive after"):
        yield "fault B6"
    elif record.event == "agent.stopping" and record.message.startswith("kill pending"):
        yield "fault B7"
    elif record.event == "agent.degraded" and "no_progress_ms" in record.data:
        yield "fault B3"


def _said(lines: Sequence[Line]) -> Iterator[str]:
    for line in lines:
        if not isinstance(line, Heartbeat):
            continue
        if line.silence_ms is not None:
            yield "fault B9"
        if line.status is Status.DRAINING:
            yield "fault B14"
        if line.tokens is not None and line.cost_micros is None:
            yield "fault C18"


def met_by_end(world: World) -> Iterator[str]:
    """Name the faults that the end of a daemon is, by what it leaves behind."""
    if any(process.gated for process in world.processes.values()):
        yield "fault G5"


def met_by_start(core: Supervisor) -> Iterator[str]:
    """Name those that a new daemon finds."""
    for agent in core.agents.values():
        if agent.intent is Intent.KILLED:
            yield "fault K1"
        if agent.state is State.COOLDOWN:
            yield "fault I3"
