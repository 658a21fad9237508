"""Commands of operators and viewers: answered here, or handed to the core.

A read is answered on the spot, or by a task of its own where a disk is involved. A write
becomes one `Requested` event; its `Reply` finds the asker again by the request's number. A
write with a known id, from the same user, gets the answer it had and isn't run twice.
"""

import asyncio
import errno
import itertools
import json
import sqlite3
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from agentd.core.acknowledging import CMD as ACK
from agentd.core.commands import COMMANDS as CORE_COMMANDS
from agentd.core.effects import Reply
from agentd.core.events import Event, HostsSeen, ReaderLeft, Requested
from agentd.core.select import SelectError
from agentd.daemon.answers import Answers, BadArgument, without_log_text
from agentd.daemon.clock import wall_ms
from agentd.daemon.followers import TooMany
from agentd.daemon.log import log
from agentd.daemon.loggrep import GrepRefused
from agentd.daemon.offload import TooBusy
from agentd.daemon.programs import SHORTAGES
from agentd.daemon.reload import InvalidConfig
from agentd.daemon.replays import digest_of
from agentd.daemon.startcheck import CannotStart
from agentd.store.rows import RequestRow
from agentd.wire import replies
from agentd.wire.commands import Command
from agentd.wire.hosts import hosts_view
from agentd.wire.limits import LineId

RELOAD: Final = "reload"
FLEET: Final = "fleet"
UNRECORDED: Final = "done, but it could not be recorded and may be forgotten"
WAIT_S_DEFAULT: Final = 60.0
WAIT_S_MAX: Final = 86_400.0

# A full disk refuses changes that must be kept, but these are taken from the last reserve.
TAKEN_WITHOUT_STORAGE: Final = frozenset({"stop", "kill", "shutdown", "signal"})

_REFUSALS: Final[Sequence[tuple[type[Exception], str, str]]] = (
    (SelectError, "no_such_agent", ""),
    (BadArgument, "bad_request", ""),
    (GrepRefused, "bad_request", ""),
    (InvalidConfig, "invalid_config", "agentd check"),
    (CannotStart, "conflict", "nothing was changed; agentd goes on as it is"),
    (TooBusy, "too_busy", "try again"),
    (TooMany, "too_busy", "try again"),
)


class Asker(Protocol):
    """A connection whose role has been judged already."""

    @property
    def closed(self) -> bool: ...

    def send(self, raw: bytes) -> None: ...

    async def drained(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One command and who waits for its answer."""

    asker: Asker
    uid: int
    who: str
    viewer: bool
    command: Command

    def answer(self, result: Mapping[str, object]) -> None:
        self.asker.send(replies.ok(self.command.id, result))

    def refuse(self, code: str, message: str, hint: str = "") -> None:
        self.asker.send(replies.failed(self.command.id, code, message, hint))


@dataclass(slots=True)
class Stream:
    """What a follower is sent, with the id of the command that asked for it."""

    asker: Asker
    line_id: LineId | None
    viewer: bool = False

    @property
    def closed(self) -> bool:
        return self.asker.closed

    def emit(self, payload: Mapping[str, object]) -> None:
        event = payload.get("event")
        if self.viewer and isinstance(event, Mapping):
            payload = {"event": without_log_text(event)}
        self.asker.send(replies.streamed(self.line_id, payload))

    async def drained(self) -> None:
        await self.asker.drained()


class Requests:
    """The one door for commands; `reply` is the way back out of the core."""

    def __init__(
        self,
        aio: asyncio.AbstractEventLoop,
        post: Callable[[Event], None],
        answers: Answers,
        storage_error: Callable[[], str],
        deeds: Mapping[str, Callable[[Asked], Coroutine[Any, Any, Mapping[str, object]]]],
        *,
        recorded: Callable[[], Coroutine[Any, Any, str]],
    ) -> None:
        """`deeds` are the writes that are the shell's own: reload, shutdown, reexec.

        `recorded` waits until what is decided by now is on disk; why it isn't, else "".
        """
        self._aio = aio
        self._post = post
        self._answers = answers
        self._storage_error = storage_error
        self._deeds = deeds
        self._recorded = recorded
        self._numbers = itertools.count(1)
        self._open: dict[str, Asked] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, asked: Asked) -> None:
        """Take a command whose role and arguments have been checked; never raises."""
        command = asked.command
        select = command.args.get("select") or ()
        if command.cmd in CORE_COMMANDS or command.cmd in ("wait", ACK):
            self._ask_core(asked, tuple(select))
        elif command.cmd == FLEET:
            self._post(HostsSeen(self._expect(asked), hosts_view(command.args)))
        elif _deed(command) in self._deeds:
            self._begin(asked, self._do(asked))
        elif command.follow and command.cmd in ("events", "logs"):
            stream = Stream(asked.asker, command.id, asked.viewer)
            self._begin(asked, self._answers.follow(command.cmd, command.args, stream))
        else:
            self._begin(asked, self._read(asked))

    def left(self, asker: Asker) -> None:
        """Forget what a connection that is gone was waiting for."""
        for number, asked in list(self._open.items()):
            if asked.asker is asker:
                del self._open[number]
                self._post(ReaderLeft(number))

    def reply(self, effect: Reply, storage_error: str) -> None:
        """Answer whoever waits under this number; nobody may be there any more."""
        asked = self._open.pop(effect.request, None)
        if asked is None:
            return
        if effect.error is None and storage_error and asked.command.mutates:
            told = f"{UNRECORDED}: {storage_error}"
            asked.refuse("storage_unavailable", told, "agentctl daemon")
        else:
            asked.asker.send(answer_of(asked.command, effect))

    def row(self, effect: Reply) -> RequestRow | None:
        """Return an answer as it is kept over a crash; None: a repetition may run again."""
        asked = self._open.get(effect.request)
        if asked is None or asked.command.id is None or not asked.command.mutates:
            return None
        return RequestRow(
            uid=asked.uid,
            id=json.dumps(asked.command.id),
            cmd=asked.command.cmd,
            args_hash=digest_of(asked.command).hex(),
            reply=answer_of(asked.command, effect).decode(),
            wall_ms=wall_ms(),
        )

    def close(self, *, answer: bool) -> None:
        """Tell everybody who still waits that there will be no answer.

        Without `answer` nobody is told: whoever loses the connection asks the image that
        follows, under the same id.
        """
        for asked in self._open.values() if answer else ():
            asked.refuse("conflict", "agentd is going away", "try again")
        self._open.clear()
        for task in self._tasks:
            task.cancel()

    def _ask_core(self, asked: Asked, select: Sequence[str]) -> None:
        command, args = asked.command, asked.command.args
        if not select and command.cmd != ACK:
            asked.refuse("bad_request", "select: name an agent", "`all` means all of them")
            return
        failed = self._storage_error()
        if failed and command.mutates and command.cmd not in TAKEN_WITHOUT_STORAGE:
            asked.refuse("storage_unavailable", f"nothing can be recorded now: {failed}")
            return
        self._post(
            Requested(
                request=self._expect(asked),
                cmd=command.cmd,
                who=asked.who,
                select=tuple(select),
                reason=args.get("reason") or "",
                options=_options(command),
            )
        )

    def _expect(self, asked: Asked) -> str:
        """Return the number under which the core's answer comes back."""
        number = str(next(self._numbers))
        self._open[number] = asked
        return number

    def _begin(self, asked: Asked, work: Coroutine[Any, Any, None]) -> None:
        task = self._aio.create_task(self._guarded(asked, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, asked: Asked, work: Coroutine[Any, Any, None]) -> None:
        """Turn what goes wrong into an answer; a bug of ours costs one answer, no more."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - answered, and logged if it is a bug
            told = _refusal_of(error)
            if told is None:
                log.error("command.failed", cmd=asked.command.cmd, error=repr(error))
                what = log.mask(f"{asked.command.cmd}: {error}")
                told = "internal", what, "agentctl daemon"
            asked.refuse(*told)

    async def _read(self, asked: Asked) -> None:
        asked.answer(await self._answers.answer(asked.command, viewer=asked.viewer))

    async def _do(self, asked: Asked) -> None:
        result = await self._deeds[_deed(asked.command)](asked)
        # Which agents a new config restarts stands in no file: that they do is promised here.
        promises = asked.command.cmd == RELOAD and asked.command.mutates and result["restarted"]
        failed = await self._recorded() if promises else ""
        if failed:
            asked.refuse("storage_unavailable", f"{UNRECORDED}: {failed}", "agentctl daemon")
        else:
            asked.answer(result)


def _refusal_of(error: Exception) -> tuple[str, str, str] | None:
    """Return the code, the message and the hint of what may go wrong; None: it is a bug of ours."""
    for kind, code, hint in _REFUSALS:
        if isinstance(error, kind):
            return code, str(error), getattr(error, "hint", hint)
    if isinstance(error, sqlite3.Error):
        return "storage_unavailable", f"the store cannot be read: {error}", ""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC:
        return "storage_unavailable", f"the disk is full: {error}", "make room on it"
    if number in SHORTAGES:
        return "too_busy", f"the host is short of something: {error}", "try again"
    return None


def _deed(command: Command) -> str:
    """Return the name of what the shell itself is asked to do."""
    if command.cmd == "daemon":  # no other command's arguments are looked at for one
        return str(command.args.get("action") or command.cmd)
    return "trace" if command.traces else command.cmd


def answer_of(command: Command, effect: Reply) -> bytes:
    """Write the line that answers a command."""
    if effect.error is not None:
        return replies.failed(command.id, *effect.error)
    return replies.ok(command.id, effect.result)


def _options(command: Command) -> dict[str, object]:
    """Return what a command says beyond whom it is about and why, in the core's units."""
    options = {
        name: value
        for name, value in command.args.items()
        if name in ("fresh", "signal", "for", "id") and value is not None
    }
    if command.cmd == "wait":
        asked_s = command.args.get("timeout_s")
        wait_s = WAIT_S_DEFAULT if asked_s is None else min(float(asked_s), WAIT_S_MAX)
        options["timeout_ms"] = int(wait_s * 1000)
    return options
