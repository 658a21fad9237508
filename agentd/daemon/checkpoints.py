"""What operators see of checkpoints and of actions in flight."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from agentd.config.encodable import utc_text
from agentd.core import actions
from agentd.core.agent import Agent
from agentd.core.records import Action
from agentd.core.supervisor import Supervisor
from agentd.daemon.clock import Calendar
from agentd.daemon.offload import Offload
from agentd.daemon.recalls import action_document
from agentd.store.checkpoints import Checkpoint
from agentd.store.store import Store

Document = dict[str, object]


@dataclass(slots=True)
class Checkpoints:
    """Reads the store in threads; what is in flight is the core's."""

    supervisor: Supervisor
    store: Store
    offload: Offload
    calendar: Calendar

    async def document(self, names: Sequence[str]) -> Document:
        """Return what is kept of these agents, the newest first, without the states."""
        return {"agents": [await self._agent(name) for name in names]}

    async def state(self, name: str, seq: int | None) -> Document:
        """Return one state: the current one of its execution, or that of checkpoint `seq`."""
        agent = self.supervisor.agents[name]
        read: Callable[[], Checkpoint | None]
        if seq is None:
            read = partial(self._current, name, agent.durable.execution)
        else:
            read = partial(self._numbered, name, seq)
        found = await self.offload.run(read)
        state = None
        if found is not None and found.state is not None:
            state = msgspec.Raw(found.state.encode())
        kept = _document(found, found) if found is not None else None
        return {"agents": [{"name": name, "checkpoint": kept, "state": state}]}

    def _current(self, name: str, execution: str) -> Checkpoint | None:
        return self.store.recall(name, execution).found

    def _numbered(self, name: str, seq: int) -> Checkpoint | None:
        kept = self.store.checkpoints(name, states=True)
        return next((one for one in kept if one.seq == seq), None)

    async def _agent(self, name: str) -> Document:
        kept = await self.offload.run(partial(self.store.checkpoints, name, states=False))
        agent = self.supervisor.agents[name]
        now_ms, wall_ms = self.calendar.now()
        execution = agent.durable.execution
        current = next((one for one in kept if one.execution == execution), None)
        cut_off = actions.cut_off(agent)
        return {
            "name": name,
            "execution": execution or None,
            "held": agent.durable.held,
            "held_why": agent.durable.held_why or None,
            "unfinished": [
                {
                    **action_document(each, wall_ms - now_ms),
                    "age_s": max(0, now_ms - each.begun_at_ms) / 1000,
                    "incarnation": _incarnation(agent, each),
                    "run": each.incarnation,
                    "cut_off": each in cut_off,
                    "accepted": each.accepted,
                    "detail": msgspec.Raw(each.detail.encode()) if each.detail else None,
                }
                for each in agent.durable.unfinished
            ],
            "checkpoints": [_document(one, current) for one in kept],
        }


def _incarnation(agent: Agent, action: Action) -> str | None:
    """Return the id of the incarnation that began it; of those before only the number is known."""
    return agent.durable.incarnation_id if action.incarnation == agent.incarnation else None


def _document(one: Checkpoint, current: Checkpoint | None) -> Document:
    return {
        "seq": one.seq,
        "time": utc_text(one.wall_ms),
        "execution": one.execution,
        "incarnation": one.incarnation_id or None,
        "bytes": one.size_bytes,
        "sha256": one.sha256,
        "current": one is current,
    }
