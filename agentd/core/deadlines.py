"""One deadline per agent; the loop sleeps until the earliest."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentd.core import beating, diagnosis, leak_restart, liveness, remains
from agentd.core.agent import Agent, Presence
from agentd.core.states import Health, Intent, State


def deadline_ms(agent: Agent, now_ms: int) -> int | None:
    """The next moment at which something is due for this agent by time alone."""
    moments = [
        agent.shortage_until_ms,
        agent.stop.kill_at_ms if agent.stop is not None else None,
        agent.stop.ask_until_ms if agent.stop is not None else None,
        remains.due_ms(agent),
        agent.durable.cooldown_until_ms if ends_cooling(agent) else None,
        agent.durable.parked_until_ms if agent.state is State.PARKED else None,
        startup_deadline_ms(agent) if agent.look is None else None,  # the look's end is next
        stable_at_ms(agent),
        leak_restart.due_ms(agent),
        liveness.next_change_ms(agent, now_ms),
        beating.due_ms(agent, now_ms),
        diagnosis.due_ms(agent),
    ]
    return min([moment for moment in moments if moment is not None], default=None)


def ends_cooling(agent: Agent) -> bool:
    """Whether it is started when its cooldown is over.

    What lives although its record has it down ends first, and goes on from there; if somebody
    ends it for good meanwhile, that word may be all that is on record of it.
    """
    if agent.state is not State.COOLDOWN or agent.intent is not Intent.UP:
        return False
    return not agent.durable.held and not agent.has_process


def startup_deadline_ms(agent: Agent) -> int | None:
    """When a start has taken too long; None while nothing is starting."""
    if agent.state is not State.STARTING or agent.presence is not Presence.ALIVE:
        return None
    if agent.durable.spawned_at_ms is None:
        return None
    return agent.durable.spawned_at_ms + agent.config.startup_timeout_ms


def stable_at_ms(agent: Agent) -> int | None:
    """When its row of failures is forgiven; None where there is nothing to forgive."""
    if agent.state is not State.RUNNING or agent.intent is not Intent.UP:
        return None
    if agent.healthy_since_ms is None or agent.noted is not Health.HEALTHY:
        return None
    if not agent.durable.failures and not agent.durable.row:
        return None
    return agent.healthy_since_ms + agent.config.restart.stable_after_ms


@dataclass(slots=True)
class Deadlines:
    """A heap with at most one live entry an agent; a later deadline leaves it alone and is
    found when the earlier one comes.
    """

    heap: list[tuple[int, str]] = field(default_factory=list)

    def arm(self, agent: Agent, now_ms: int) -> None:
        """See to it that the loop wakes no later than this agent's deadline."""
        at_ms = deadline_ms(agent, now_ms)
        if at_ms is None:
            return
        at_ms = max(at_ms, now_ms)
        if agent.armed_ms is None or at_ms < agent.armed_ms:
            agent.armed_ms = at_ms
            heapq.heappush(self.heap, (at_ms, agent.name))

    def earliest_ms(self) -> int | None:
        return self.heap[0][0] if self.heap else None

    def take_due(self, now_ms: int) -> Iterator[str]:
        """Take out, once each, the names of agents whose time may have come."""
        names: dict[str, None] = {}
        while self.heap and self.heap[0][0] <= now_ms:
            names[heapq.heappop(self.heap)[1]] = None
        return iter(names)
