"""How long an agent's tasks and calls take, against what is usual for it; told, never acted on."""

from collections.abc import Iterable
from typing import Final

from agentd.core.agent import Agent
from agentd.core.detectors.latency import LatencyDetector
from agentd.core.lines import Call
from agentd.core.turn import WARNING, Turn

# Kinds of calls that are watched apart from each other; whatever comes later is not watched.
KINDS_MAX: Final = 8
TASKS: Final = "tasks"


def hear_tasks(turn: Turn, agent: Agent, latencies_ms: Iterable[float]) -> None:
    """Judge the latencies that a heartbeat tells."""
    _observe(turn, agent, TASKS, latencies_ms)


def hear_call(turn: Turn, agent: Agent, call: Call) -> None:
    """Judge how long a call took, among calls of its kind; one that failed says nothing."""
    if call.took_ms is None or call.ok is False:
        return
    begun = agent.calls.get(call.call)
    kind = (
        begun.label
        if begun is not None
        else " ".join(part for part in (call.op, call.provider, call.model) if part)
    )
    if kind:
        _observe(turn, agent, f"calls of {kind}", (call.took_ms,))


def _observe(turn: Turn, agent: Agent, kind: str, latencies_ms: Iterable[float]) -> None:
    detector = agent.latencies.get(kind)
    if detector is None:
        if len(agent.latencies) >= KINDS_MAX:
            return
        detector = agent.latencies[kind] = LatencyDetector(kind)
    for latency_ms in latencies_ms:
        finding = detector.observe(latency_ms)
        if finding is not None:
            turn.journal(
                finding.event, agent, finding.message, severity=WARNING, data=dict(finding.data)
            )
