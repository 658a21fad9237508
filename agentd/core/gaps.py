"""Time in which the daemon, or the whole host, stood still: it is charged to nobody."""

from collections.abc import Iterable

from agentd.core import lifecycle
from agentd.core.agent import Agent
from agentd.core.deadlines import Deadlines
from agentd.core.events import Gap
from agentd.core.turn import WARNING, Turn


def pass_over(turn: Turn, agents: Iterable[Agent], deadlines: Deadlines, gap: Gap) -> None:
    """Shift every silence by it, and tell it unless it was too short for that."""
    for agent in agents:
        lifecycle.shift_after_gap(agent, gap.gap_ms, turn.now_ms)
        deadlines.arm(agent, turn.now_ms)
    turn.incidents.shift(gap.gap_ms, turn.now_ms)
    turn.hosts.shift(gap.gap_ms)
    if gap.kind == "lag":
        return
    turn.journal(
        "daemon.stalled",
        None,
        f"{'the host was suspended' if gap.kind == 'suspend' else 'agentd stood still'} for "
        f"{gap.gap_ms / 1000:.1f} s; nobody's silence",
        severity=WARNING,
        data={"gap_ms": gap.gap_ms, "kind": gap.kind},
        alert=False,
    )
