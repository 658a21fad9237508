"""An agent that says it is shutting down: what it does then is big by nature, and no verdict.

A last flush costs more than a cycle usually does, and the last steps repeat themselves. That
holds for a bounded time only, counted from the first time that an incarnation says so: whoever
keeps on saying it, or says it again and again, is judged like everybody else.
"""

from typing import Final

from agentd.core.agent import Agent
from agentd.core.lines import Status

# Ten times the default stop_timeout: a shutdown that takes longer is a run, not an end.
DRAINING_MS_MAX: Final = 300_000


def note_draining(agent: Agent, now_ms: int) -> None:
    """It says that it is shutting down; only the first time in an incarnation counts."""
    if agent.draining_since_ms is None:
        agent.draining_since_ms = now_ms


def is_draining(agent: Agent, now_ms: int) -> bool:
    """Whether it is shutting down by its own word, and has not been for too long."""
    since_ms = agent.draining_since_ms
    if since_ms is None or agent.telemetry.status is not Status.DRAINING:
        return False
    return now_ms - since_ms < DRAINING_MS_MAX
