"""Starts that were put off: made as soon as what they wait for is there."""

from agentd.core import lifecycle
from agentd.core.agent import Agent
from agentd.core.dependencies import is_due
from agentd.core.turn import Turn


def make_up(turn: Turn, put_off: dict[str, Agent]) -> None:
    """Make those that can be made by now; `put_off` is brought up to date."""
    put_off.update((name, agent) for name, agent in turn.touched.items() if agent.awaiting)
    for name, agent in list(put_off.items()):
        if not agent.awaiting or turn.fleet.get(name) is not agent:
            del put_off[name]
        elif not turn.closing and is_due(agent, turn.fleet, turn.hosts):
            lifecycle.want_start(turn, agent, agent.awaiting)
