"""Starts of which nobody knows whether they were one.

The daemon was killed before it could tell that the gate had opened, and the process is gone: as
nobody saw how it ended, its end is told as UNKNOWN, charged and followed by a restart.
"""

from agentd.core.states import StopReason
from tests.crash.bench import Bench

Incarnations = set[tuple[str, str]]


def starts(bench: Bench, after: int = 0) -> Incarnations:
    """Those whose end was told after an event, by agent and incarnation id."""
    words = "SELECT agent, incarnation_id FROM events WHERE id > ? AND event = ? AND reason = ?"
    unknown = set(bench.rows(words, after, "agent.exited", StopReason.UNKNOWN.value))
    begun = incarnations(bench, "agent.started") | incarnations(bench, "agent.adopted")
    return (unknown & incarnations(bench, "agent.starting")) - begun


def count(bench: Bench, agent: str, after: int = 0) -> int:
    return sum(name == agent for name, _ in starts(bench, after))


def incarnations(bench: Bench, event: str) -> Incarnations:
    """Return of whom the journal has such an event."""
    words = "SELECT agent, incarnation_id FROM events WHERE event = ?"
    return {(agent, incarnation) for agent, incarnation in bench.rows(words, event)}
