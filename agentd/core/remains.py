"""What SIGKILL doesn't end: told, waited for within a bound, and then given up.

A process in an uninterruptible wait of the kernel (state D: a dead NFS server, a broken disk)
has SIGKILL pending until that wait is over, which may be never. Nothing can be done about it
but to say so. Its agent isn't stopped, and is never called so while anything of it lives; but
nobody waits for it without end: stops in order pass over it, a shutdown ends without it, and
the next daemon finds it as it was left.
"""

from collections.abc import Iterable
from typing import Final

from agentd.config.units import format_duration
from agentd.core.agent import Agent, Presence
from agentd.core.events import KillStuck
from agentd.core.states import StopReason
from agentd.core.turn import CRITICAL, WARNING, Turn

# From SIGKILL on. What ends at all ends within seconds: freeing some GiB of memory, or a write
# that a slow disk takes its time for (30 s is the kernel's own patience with a SCSI command).
GIVE_UP_MS: Final = 30_000


def due_ms(agent: Agent) -> int | None:
    """When a killed tree is given up; None where none is waited for, or it is given up already."""
    stop = agent.stop
    if stop is None or stop.killed_at_ms is None or stop.given_up_at_ms is not None:
        return None
    return stop.killed_at_ms + GIVE_UP_MS


def on_stuck(turn: Turn, agent: Agent, event: KillStuck) -> None:
    """Tell once that something of it survives SIGKILL."""
    if agent.stop is None and agent.presence is not Presence.LEADERLESS:
        return
    if not agent.stuck:
        turn.journal(
            "agent.stopping",
            agent,
            f"kill pending, something survives SIGKILL: {event.evidence}",
            severity=CRITICAL,
            reason=_reason(agent),
        )
    agent.stuck = event.evidence


def give_up(turn: Turn, agent: Agent) -> None:
    """Say that its end is waited for no more, and what of it was seen to be left."""
    assert agent.stop is not None, agent.name
    agent.stop.given_up_at_ms = turn.now_ms
    if not agent.stuck:
        starting = agent.presence is Presence.SPAWNING
        agent.stuck = "its start has not come to an end" if starting else "its tree is not empty"
    turn.touch(agent)  # whoever waits for its end is looked at
    turn.journal(
        "agent.stopping",
        agent,
        f"given up {format_duration(GIVE_UP_MS)} after SIGKILL, and not stopped: {agent.stuck}",
        severity=CRITICAL,
        reason=agent.stop.reason,
    )


def tell_left(turn: Turn, agents: Iterable[Agent]) -> None:
    """Say, as the daemon ends, of whom something lives on that was to be stopped."""
    left = [agent for agent in agents if agent.has_process]
    if left:
        told = "; ".join(f"{agent.name}: {agent.stuck}" for agent in left)
        turn.journal(
            "daemon.stopping",
            None,
            f"agentd ends, and could not stop {told}",
            severity=WARNING,
            data={"agents": [agent.name for agent in left]},
        )


def _reason(agent: Agent) -> StopReason | None:
    return agent.stop.reason if agent.stop is not None else None
