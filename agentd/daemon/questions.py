"""Questions of agents on their way to the core, and the answers on their way back.

A question is an agent's line with an id whose answer is the core's: an action begins, a
checkpoint is to be kept, may a dependency be called. Its answer waits until what it
promises is durable.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from agentd.core.effects import Reply
from agentd.core.events import AgentAsked, Event
from agentd.core.lines import ActionBegun, ActionDone, CheckpointPut, Question
from agentd.wire import replies
from agentd.wire.limits import LineId

PREFIX: Final = "agent-"
# More than that wait for the disk: it is the disk that fails, and memory must not follow it.
OPEN_MAX: Final = 4_096
# States may be a megabyte each: so many bytes of them may wait for the disk.
BYTES_MAX: Final = 16 << 20

_KEEPS: Final = (ActionBegun, ActionDone, CheckpointPut)


class Speaker(Protocol):
    """The connection that a question came from."""

    @property
    def closed(self) -> bool: ...

    def send(self, raw: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class _Open:
    speaker: Speaker
    line_id: LineId | None
    """None: no answer is wanted."""
    keeps: bool
    """Whether a `yes` promises that something is on disk."""
    bytes: int


@dataclass(slots=True)
class Questions:
    """Who waits for which answer."""

    post: Callable[[Event], None]
    _open: dict[str, _Open] = field(default_factory=dict)
    _bytes: int = 0
    """What the states that wait for the disk take up."""
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def ask(
        self, agent: str, incarnation: int, line: Question, line_id: LineId | None, speaker: Speaker
    ) -> None:
        """Hand a question to the core; it is answered on the connection it came from."""
        size_bytes = len(line.state) if isinstance(line, CheckpointPut) else 0
        told = self._too_much(size_bytes)
        if told:
            if line_id is not None:
                speaker.send(replies.failed(line_id, "too_busy", told, "try again"))
            return
        request = f"{PREFIX}{next(self._numbers)}"
        self._open[request] = _Open(speaker, line_id, isinstance(line, _KEEPS), size_bytes)
        self._bytes += size_bytes
        self.post(AgentAsked(agent, incarnation, request, line))

    def _too_much(self, size_bytes: int) -> str:
        """Return why no more questions are taken now; empty: they are."""
        if len(self._open) >= OPEN_MAX or self._bytes + size_bytes > BYTES_MAX:
            self._forget_closed()
        if len(self._open) >= OPEN_MAX:
            return f"{OPEN_MAX} questions of agents wait for an answer"
        if self._bytes + size_bytes > BYTES_MAX:
            return f"{self._bytes} bytes of checkpoints wait for the disk"
        return ""

    def _forget_closed(self) -> None:
        """Nobody waits any more for the answers of those that are gone."""
        for request, asked in list(self._open.items()):
            if asked.speaker.closed:
                self._close(request)

    def _close(self, request: str) -> _Open | None:
        asked = self._open.pop(request, None)
        if asked is not None:
            self._bytes -= asked.bytes
        return asked

    def reply(self, effect: Reply, storage_error: str) -> None:
        """Pass on the core's answer; what could not be kept is not called kept."""
        asked = self._open.get(effect.request)
        if asked is None:
            return
        if effect.error is not None:
            self.refuse(effect.request, *effect.error)
        elif storage_error and asked.keeps:
            told = f"it could not be recorded: {storage_error}"
            self.refuse(effect.request, "storage_unavailable", told, "agentctl daemon")
        else:
            self.answer(effect.request, effect.result or {})

    def answer(self, request: str, result: Mapping[str, object]) -> None:
        """Send an answer to whoever asked, if still there."""
        asked = self._close(request)
        if asked is not None and asked.line_id is not None and not asked.speaker.closed:
            asked.speaker.send(replies.ok(asked.line_id, result))

    def refuse(self, request: str, code: str, message: str, hint: str = "") -> None:
        """Send a refusal to whoever asked, if still there."""
        asked = self._close(request)
        if asked is not None and asked.line_id is not None and not asked.speaker.closed:
            asked.speaker.send(replies.failed(asked.line_id, code, message, hint))
