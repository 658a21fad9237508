"""A restart for a leak is in no hurry: it waits for a good moment, for a bounded time.

A leak is told long before the limit is reached, and an agent that is stopped in the middle
of a task does that task twice. Good moments are a checkpoint, and an agent that says it is
idle; an agent that tells of no task can be stopped at any time.
"""

from typing import Final

from agentd.config.units import format_duration
from agentd.core import pausing
from agentd.core.agent import Agent
from agentd.core.lines import Status
from agentd.core.states import State, StopReason
from agentd.core.turn import Turn

# Longer than a task takes, shorter than the least lead of a leak that pages (10 min, the fast
# ones of bench/README.md).
WAIT_MS_MAX: Final = 8 * 60_000
# Of the time that is left before the limit, at most this share is spent on waiting.
FORECAST_SHARE: Final = 2
_AT_REST: Final = (Status.IDLE, Status.WAITING_HUMAN, Status.DONE)


def want(turn: Turn, agent: Agent, evidence: str) -> None:
    """Restart it at the next good moment, which may be now."""
    memory = agent.memory
    if memory.restart_by_ms is not None:
        return
    left_ms = memory.forecast_ms()
    wait_ms = WAIT_MS_MAX if left_ms is None else min(WAIT_MS_MAX, left_ms // FORECAST_SHARE)
    memory.restart_wanted_at_ms, memory.restart_by_ms = turn.now_ms, turn.now_ms + wait_ms
    memory.restart_evidence = evidence
    take_moment(turn, agent)


def take_moment(turn: Turn, agent: Agent) -> bool:
    """Restart it now, if one is wanted and the moment is good or the last; True if so."""
    memory = agent.memory
    by_ms, since_ms = memory.restart_by_ms, memory.restart_wanted_at_ms
    if by_ms is None or since_ms is None or agent.state not in (State.RUNNING, State.PARKED):
        return False
    patient = turn.now_ms < by_ms
    if patient and not _is_good(agent, since_ms):
        return False
    waited = format_duration((turn.now_ms - since_ms) // 1000 * 1000)
    why = f"waited {waited} for a checkpoint" if not patient else ""
    evidence = ", ".join(part for part in (memory.restart_evidence, why) if part)
    memory.restart_by_ms = None
    pausing.act(turn, agent, "restart", StopReason.MEMORY_LEAK, evidence)
    return True


def due_ms(agent: Agent) -> int | None:
    """When its patience ends; None where no restart waits."""
    return agent.memory.restart_by_ms if agent.state in (State.RUNNING, State.PARKED) else None


def _is_good(agent: Agent, since_ms: int) -> bool:
    """Whether nothing is lost by stopping it now."""
    if any(each.incarnation == agent.incarnation for each in agent.durable.unfinished):
        return False
    mark = agent.durable.checkpoint
    if mark is not None and mark.at_ms >= since_ms:
        return True
    telemetry = agent.telemetry
    return telemetry.status in _AT_REST or (telemetry.task is None and not agent.calls)
