"""Commands from other machines, carried out by this host's daemon: each once, all bounded."""

import asyncio
from collections import OrderedDict
from time import monotonic
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from agentd.client.aio import AsyncClient
from agentd.client.errors import AgentdError
from agentd.fleet.commands import REQUEST_BYTES_MAX, VERBS, Verb
from agentd.fleet.connection import Connection, Message
from agentd.fleet.credentials import INBOX
from agentd.fleet.encoding import Document, pack
from agentd.fleet.log import Log
from agentd.fleet.settings import FleetSettings
from agentd.fleet.visible import for_viewers

AT_ONCE: Final = 16
"""Commands under way at a time, and as many `wait`s; whoever comes then is told to come again."""
REMEMBERED_S: Final = 600.0
REMEMBERED_MAX: Final = 1_000
TIMEOUT_S_MAX: Final = 300.0
_REASON_MAX: Final = 1_000


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """A request as it comes in; anything else that looks like one is none."""

    id: Annotated[str, Meta(min_length=8, max_length=64)]
    verb: Annotated[str, Meta(max_length=32)]
    args: dict[str, Any]
    by: Annotated[str, Meta(max_length=120)] = "somebody"
    timeout_s: Annotated[float, Meta(gt=0, le=TIMEOUT_S_MAX)] = 10.0


class Server:
    """Answers requests on this host's subjects, for as long as the link lives."""

    def __init__(self, daemon: AsyncClient, settings: FleetSettings, log: Log) -> None:
        self._daemon = daemon
        self._settings = settings
        self._log = log
        self._under_way: set[asyncio.Task[None]] = set()
        self._waits: set[asyncio.Task[None]] = set()
        self._answers: OrderedDict[str, tuple[float, bytes, asyncio.Future[Document]]] = (
            OrderedDict()
        )

    async def serve(self, connection: Connection) -> None:
        """Answer whatever comes over a connection from now on."""

        def hear(message: Message) -> None:
            task = asyncio.get_running_loop().create_task(self._answer(connection, message))
            alike = self._alike(message)
            alike.add(task)
            task.add_done_callback(alike.discard)

        for access in ("view", "operate"):
            pattern = f"{self._settings.prefix}.{self._settings.host}.cmd.{access}.*"
            await connection.listen(pattern, hear)

    def _alike(self, message: Message) -> set[asyncio.Task[None]]:
        """Return what counts with a request: a `wait` takes minutes, and keeps no `kill` out."""
        return self._waits if message.subject.endswith(".wait") else self._under_way

    async def _answer(self, connection: Connection, message: Message) -> None:
        # Only an inbox can have asked. The servers themselves can be made to send to any
        # subject, but no message of theirs asks to be answered to an inbox.
        if not message.reply.startswith(f"{INBOX}."):
            self._log.seldom("fleet.refused", what="a command that asks for no answer")
            return
        try:
            result = await self._carry_out(message)
            answer = _fitting({"ok": True, "result": result})
        except AgentdError as error:
            answer = _failed(error)
        try:
            await connection.publish(message.reply, answer)
        except AgentdError as error:
            # Whoever asked finds out by himself, and may ask again under the same id.
            self._log.seldom("fleet.unanswered", why=error.message)

    async def _carry_out(self, message: Message) -> Document:
        """Return the daemon's result, or raise what it, or we, refused the request with."""
        if len(self._alike(message)) > AT_ONCE:
            raise AgentdError("too_busy", "too many commands at once", "ask again in a moment")
        access, name = message.subject.split(".")[-2:]
        verb = VERBS.get(name)
        if verb is None or verb.access != access:
            self._log.seldom("fleet.refused", what=f"{name!r} under {access}")
            raise AgentdError("forbidden", f"{name!r} is no command of the role {access!r}")
        asked = _parsed(message.data, name, verb)
        if not verb.changes:
            result = await self._ask(asked, asked.args)
            return for_viewers(result) if access == "view" else result
        return await self._once(asked, message.data)

    async def _once(self, asked: Asked, text: bytes) -> Document:
        """Carry out a change, or wait for how it went when it was asked for before."""
        self._forget_old()
        before = self._answers.get(asked.id)
        if before is not None:
            # The time that is left differs from one try to the next; what is asked must not.
            if before[1] != _identity(asked):
                raise AgentdError("conflict", f"request {asked.id} was another one before")
            return await asyncio.shield(before[2])
        args = dict(asked.args)
        if "reason" in VERBS[asked.verb].args:
            reason = str(args.get("reason") or "")
            args["reason"] = f"{asked.by} by fleet{': ' if reason else ''}{reason}"[:_REASON_MAX]
        self._log.say("fleet.command", verb=asked.verb, by=asked.by, id=asked.id, bytes=len(text))
        outcome = asyncio.ensure_future(self._ask(asked, args))
        outcome.add_done_callback(_note_failure)
        self._answers[asked.id] = monotonic(), _identity(asked), outcome
        return await asyncio.shield(outcome)

    async def _ask(self, asked: Asked, args: Document) -> Document:
        return await self._daemon.ask(asked.verb, args, timeout_s=asked.timeout_s)

    def _forget_old(self) -> None:
        now_s = monotonic()
        while self._answers:
            oldest = next(iter(self._answers))
            if (
                now_s - self._answers[oldest][0] < REMEMBERED_S
                and len(self._answers) < REMEMBERED_MAX
            ):
                return
            del self._answers[oldest]


def _parsed(data: bytes, name: str, verb: Verb) -> Asked:
    """Return a request, or raise `bad_request`."""
    if len(data) > REQUEST_BYTES_MAX:
        raise AgentdError("bad_request", f"a request of {len(data)} bytes is too large")
    try:
        asked = msgspec.json.decode(data, type=Asked)
    except (msgspec.DecodeError, RecursionError) as error:
        raise AgentdError("bad_request", f"no request: {error}"[:200]) from None
    if asked.verb != name:
        raise AgentdError("bad_request", f"{asked.verb!r} was sent as {name!r}")
    unknown = sorted(asked.args.keys() - verb.args)
    if unknown:
        raise AgentdError("bad_request", f"{name} takes no {unknown[0]!r} from afar"[:200])
    return asked


def _identity(asked: Asked) -> bytes:
    return msgspec.json.encode([asked.verb, asked.args], order="deterministic")


def _fitting(document: Document) -> bytes:
    try:
        return pack(document)
    except AgentdError as error:
        return _failed(error)


def _failed(error: AgentdError) -> bytes:
    told = {"code": error.code, "message": error.message[:4096], "hint": error.hint[:4096]}
    return pack({"ok": False, "error": told})


def _note_failure(outcome: "asyncio.Future[Document]") -> None:
    """Whoever asked may have gone; that a command failed is no fault of ours."""
    if not outcome.cancelled():
        outcome.exception()
