"""Answers to commands that change something, kept for ten minutes, so that none runs twice.

The same id, command and arguments from the same user get the same answer; the same id with
others is a conflict. A repetition that overtakes the answer waits for it. Reads are never
kept: whoever asks again wants to know how things are now.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import msgspec

from agentd.wire.commands import Command
from agentd.wire.limits import LineId

KEPT_MS: Final = 600_000
ANSWERS_MAX: Final = 4096
WAITERS_MAX: Final = 16

Tell = Callable[[bytes], None]
Key = tuple[int, str]


class Verdict(Enum):
    """What is to be done with a command."""

    RUN = "run"
    """It is new."""
    TOLD = "told"
    """It ran before, or runs: the answer has been given, or will be when it is there."""
    CONFLICT = "conflict"
    """Its id was used for something else."""


@dataclass(slots=True)
class _Kept:
    digest: bytes
    at_ms: int
    answer: bytes | None = None
    waiting: list[Tell] = field(default_factory=list)


def digest_of(command: Command) -> bytes:
    """Return what must be equal for two commands to be the same, as 32 bytes."""
    said = msgspec.json.encode([command.cmd, command.args], order="deterministic")
    return hashlib.sha256(said).digest()


class Replays:
    """The answers of the last ten minutes, by user and request id; bounded, oldest out first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def preload(self, uid: int, line_id: LineId, digest: bytes, answer: bytes, at_ms: int) -> None:
        """Take over what an earlier daemon answered, `at_ms` by this daemon's clock."""
        self._kept[_key(uid, line_id)] = _Kept(digest, at_ms, answer)

    def begin(self, uid: int, command: Command, tell: Tell, now_ms: int) -> Verdict:
        """Take a command that changes something; on TOLD, `tell` gets the answer."""
        if command.id is None:
            return Verdict.RUN
        self._forget_old(now_ms)
        key, digest = _key(uid, command.id), digest_of(command)
        kept = self._kept.get(key)
        if kept is None:
            self._kept[key] = _Kept(digest, now_ms)
            return Verdict.RUN
        if kept.digest != digest:
            return Verdict.CONFLICT
        if kept.answer is not None:
            tell(kept.answer)
        elif len(kept.waiting) < WAITERS_MAX:
            kept.waiting.append(tell)
        return Verdict.TOLD

    def finish(self, uid: int, line_id: LineId | None, answer: bytes) -> None:
        """Keep the answer to a command that was begun, and give it to whoever repeated it."""
        if line_id is None:
            return
        key = _key(uid, line_id)
        kept = self._kept.get(key)
        if kept is None or kept.answer is not None:
            return
        waiting, kept.waiting = kept.waiting, []
        kept.answer = answer
        for tell in waiting:
            tell(answer)

    def _forget_old(self, now_ms: int) -> None:
        while self._kept:
            key, oldest = next(iter(self._kept.items()))
            if len(self._kept) < ANSWERS_MAX and now_ms - oldest.at_ms < KEPT_MS:
                return
            del self._kept[key]


def _key(uid: int, line_id: LineId) -> Key:
    # 7 and "7" are different ids.
    return (uid, repr(line_id))
