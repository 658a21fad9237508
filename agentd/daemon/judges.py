"""Run judge commands, and tell the core what they said; one that says nothing sensible failed.

The core asks about one agent at a time only once; so many run at the same time, the others
wait for their turn. What an agent wrote last is added here, its secrets masked.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from agentd.config.agent import AgentConfig
from agentd.core.effects import Judge
from agentd.core.events import Event, Judged
from agentd.daemon.errands import ANSWER_BYTES_MAX, Ended, Errand
from agentd.daemon.log import log
from agentd.daemon.offload import Offload, TooBusy
from agentd.wire.judgement import decode_judgement

AT_ONCE_MAX: Final = 4
LOG_LINES: Final = 50
LOG_LINE_CHARS_MAX: Final = 500


class Runs(Protocol):
    """Whoever runs a command to its end."""

    async def carry_out(self, errand: Errand) -> Ended: ...


class Reads(Protocol):
    """Where the output of agents is read from."""

    def read(self, agent: str, *, lines: int | None) -> list[str]: ...


@dataclass(slots=True)
class Judges:
    """The judges of all agents."""

    aio: asyncio.AbstractEventLoop
    post: Callable[[Event], None]
    errands: Runs
    logs: Reads
    offload: Offload
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE_MAX))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def judge(self, effect: Judge, config: AgentConfig | None) -> None:
        """Ask the judge of an agent; `Judged` follows, whatever comes of it.

        `config` None: the agent is gone by now.
        """
        if config is None or not config.judge.command:
            told = "its config has no judge any more"
            self.post(Judged(effect.agent, effect.incarnation, error=told))
            return
        task = self.aio.create_task(self._judge(effect, config))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Wait for nothing any more; judges under way are ended."""
        for task in self._tasks:
            task.cancel()

    async def _judge(self, effect: Judge, config: AgentConfig) -> None:
        try:
            judged = _judged(effect, await self._ask(effect, config))
        except Exception as error:  # noqa: BLE001 - the core asks no other until this is answered
            told = f"it could not be asked: {error!r}"
            judged = Judged(effect.agent, effect.incarnation, error=told)
        self.post(judged)

    async def _ask(self, effect: Judge, config: AgentConfig) -> Ended:
        async with self._turns:
            payload = {**effect.payload, "log_tail": await self._log_tail(effect.agent)}
            errand = Errand(
                agent=effect.agent,
                command=config.judge.command,
                config=config,
                timeout_ms=config.judge.timeout_ms,
                payload=json.dumps(payload).encode(),
                answers=True,
            )
            return await self.errands.carry_out(errand)

    async def _log_tail(self, agent: str) -> list[str]:
        """Return the last lines of an agent's output; none where they can't be had."""
        try:
            lines = await self.offload.run(partial(self.logs.read, agent, lines=LOG_LINES))
        except (OSError, TooBusy) as error:
            log.warning("judge.log_unread", agent=agent, error=error)
            return []
        return [line[:LOG_LINE_CHARS_MAX] for line in lines]


def _judged(effect: Judge, ended: Ended) -> Judged:
    """Read an answer; whatever is not plainly a judgement is no verdict."""
    agent, incarnation = effect.agent, effect.incarnation
    if not ended.ok:
        return Judged(agent, incarnation, error=ended.told)
    if len(ended.answer) > ANSWER_BYTES_MAX:
        told = f"it printed more than {ANSWER_BYTES_MAX >> 10} KiB"
        return Judged(agent, incarnation, error=told)
    try:
        said = decode_judgement(ended.answer)
    except ValueError as error:
        return Judged(agent, incarnation, error=str(error))
    return Judged(
        agent,
        incarnation,
        closer=said.closer,
        confidence=said.confidence,
        reason=said.short_reason,
        cost_micros=said.cost_micros,
    )
