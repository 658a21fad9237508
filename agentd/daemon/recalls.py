"""Agents' questions for what they had kept: read from the disk in a thread, then answered."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from agentd.config.encodable import utc_text
from agentd.core.effects import Recall
from agentd.core.records import Action, Record
from agentd.daemon.clock import Calendar
from agentd.daemon.log import log
from agentd.daemon.offload import Offload, TooBusy
from agentd.daemon.questions import Questions
from agentd.store.checkpoints import Recalled
from agentd.store.store import Store

AT_ONCE_MAX: Final = 2
# Other readers of the disk may be many for a moment; an agent that starts is worth the wait.
BUSY_TRIES_MAX: Final = 100
BUSY_WAIT_S: Final = 0.05

Document = dict[str, object]


@dataclass(slots=True)
class Recalls:
    """Answers `checkpoint.get`. What is asked for was durable before it came here."""

    aio: asyncio.AbstractEventLoop
    store: Store
    offload: Offload
    questions: Questions
    note: Callable[[Record], None]
    calendar: Calendar = field(default_factory=Calendar)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE_MAX))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self, effect: Recall) -> None:
        """Set the reading going; the answer follows."""
        task = self.aio.create_task(self._answer(effect))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, effect: Recall) -> None:
        questions, request = self.questions, effect.request
        try:
            recalled = await self._read(effect)
        except TooBusy as error:
            questions.refuse(request, "too_busy", str(error), "try again")
        except (sqlite3.Error, OSError) as error:
            told = f"the store cannot be read: {error}"
            questions.refuse(request, "storage_unavailable", told, "agentctl daemon")
        except Exception as error:  # noqa: BLE001 - answered and logged
            log.error("recall.failed", agent=effect.agent, error=repr(error))
            questions.refuse(request, "internal", log.mask(str(error)))
        else:
            self._tell_damage(effect.agent, recalled)
            questions.answer(request, self._document(effect, recalled))

    async def _read(self, effect: Recall) -> Recalled:
        """Read, as one of a few at a time: after a crash all agents ask at once."""
        read = partial(self.store.recall, effect.agent, effect.execution)
        async with self._turns:
            for _ in range(BUSY_TRIES_MAX - 1):
                with contextlib.suppress(TooBusy):
                    return await self.offload.run(read)
                await asyncio.sleep(BUSY_WAIT_S)
            return await self.offload.run(read)

    def _document(self, effect: Recall, recalled: Recalled) -> Document:
        found = recalled.found
        state = msgspec.Raw(found.state.encode()) if found and found.state is not None else None
        now_ms, wall_ms = self.calendar.now()
        behind_ms = wall_ms - now_ms
        return {
            "state": state,
            "unfinished": [action_document(each, behind_ms) for each in effect.unfinished],
        }

    def _tell_damage(self, agent: str, recalled: Recalled) -> None:
        if not recalled.damaged:
            return
        numbers = ", ".join(map(str, recalled.damaged))
        given = f"checkpoint {recalled.found.seq}" if recalled.found else "none"
        record = Record(
            "agent.checkpoint",
            "critical",
            f"checkpoint {numbers} is damaged on disk; the agent was given {given} instead",
            agent,
            data={"damaged": list(recalled.damaged)},
        )
        self.note(record)


def action_document(action: Action, behind_ms: int) -> Document:
    """Return an action as people and agents see it; `behind_ms`: wall time less BOOTTIME."""
    return {
        "key": action.key,
        "action": action.action,
        "idempotent": action.idempotent,
        "at": utc_text(action.begun_at_ms + behind_ms),
    }
