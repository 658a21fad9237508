"""Lines of agents: bytes to the values of `agentd.core.lines`, checked, in the core's units.

A plain heartbeat, the one that may come a hundred thousand times a second, is decoded and
checked in one pass, and turned into the core's value in another; all else may take longer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agentd.config.errors import clipped
from agentd.core.lines import Heartbeat, Line
from agentd.wire import convert, shapes
from agentd.wire.limits import LineId, printable_escapes, too_deep, unusual
from agentd.wire.splitter import LINE_BYTES_MAX

# What parsing a hostile line may raise; all of it means that the line is bad.
PARSE_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError)


class BadLine(Exception):  # noqa: N818 - named after what it is about
    """A line that is refused: a code of CONTRACT 5.2, why, and the id to answer to, if any."""

    def __init__(self, code: str, message: str, line_id: LineId | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = line_id


@dataclass(slots=True)
class AgentLine:
    """A line with what it says about itself. Claims are checked by whoever knows the peer."""

    line: Line
    id: LineId | None = None
    agent: str | None = None
    token: str | None = None
    incarnation: str | None = None


@dataclass(slots=True)
class CommandLine:
    """A line with a `cmd`: no agent's line; `wire.commands` decodes it."""

    raw: bytes
    id: LineId | None = None


Decoded = Heartbeat | AgentLine | CommandLine | BadLine
"""A bare `Heartbeat` is one that carries neither an id nor a claim of who speaks."""


def decode_lines(raws: Sequence[bytes]) -> list[Decoded]:
    """Decode lines in order; blank ones are left out, bad ones are `BadLine` values."""
    decoded: list[Decoded] = []
    add = decoded.append
    careful = unusual(raws)
    for raw in raws:
        if careful:
            if raw.strip():
                add(_bare(_decode_any(raw)))
            continue
        try:
            said = _decode_heartbeat(raw)
        except PARSE_ERRORS:
            if raw.strip():
                add(_bare(_decode_any(raw)))
            continue
        if said.cmd is not None or said.type not in _PLAIN_TYPES:
            add(_decode_any(raw))
            continue
        beat = convert.heartbeat(said)
        if said.id is said.agent is said.token is said.incarnation is None:
            add(beat)
        else:
            add(AgentLine(beat, said.id, said.agent, said.token, said.incarnation))
    return decoded


def decode_line(raw: bytes) -> AgentLine:
    """Decode one line of an agent; `BadLine` says what is wrong with it, naming the field."""
    found = _decode_any(raw)
    if isinstance(found, BadLine):
        raise found
    if isinstance(found, CommandLine):
        raise BadLine("forbidden", "an agent may not send commands", found.id)
    return found


def bad_line(raw: bytes, error: Exception, code: str = "bad_request") -> BadLine:
    """Say what is wrong with a line that could not be parsed, and to whom to say it."""
    try:
        line_id = _decode_id(raw).id
    except PARSE_ERRORS:
        line_id = None
    return BadLine(code, describe(error), line_id)


def examined(raw: bytes) -> bytes:
    """Return a line that is safe to parse; `BadLine` if it nests too deeply."""
    if too_deep(raw):
        raise BadLine("bad_request", "nested more than 32 levels deep")
    return printable_escapes(raw)


def describe(error: Exception) -> str:
    """Put a parser's complaint into one sentence that begins with the field."""
    if isinstance(error, BadLine):
        return error.message
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "not valid UTF-8"
    text, _, field = str(error).partition(" - at `$")
    text = text.removeprefix("JSON is malformed: ")
    # It may quote a value, which may be as long as a line.
    text = clipped(text[:1].lower() + text[1:])
    if field:
        return f"{clipped(field.rstrip('`').lstrip('.'))}: {text}"
    if isinstance(error, msgspec.ValidationError):
        return text
    return f"not a JSON object: {text}"


def _decode_any(raw: bytes) -> AgentLine | CommandLine | BadLine:
    """Decode a line of any type, with every check."""
    try:
        raw = examined(raw)
    except BadLine as bad:
        return bad_line(raw, bad)
    try:
        said = _decode_said(raw)
        if said.cmd is not None:
            _check_length(raw, said.id)
            return CommandLine(raw, said.id)
        return _decode_typed(raw, said)
    except BadLine as bad:
        return bad
    except PARSE_ERRORS as error:
        return bad_line(raw, error)


def _decode_typed(raw: bytes, said: shapes.Said) -> AgentLine:
    kind = "heartbeat" if said.type is None else said.type
    if kind != "checkpoint.put":
        _check_length(raw, said.id)
    found = _DECODERS.get(kind)
    if found is None:
        known = ", ".join(_DECODERS)
        raise BadLine("bad_request", f"type: unknown type {kind!r:.80}; known: {known}", said.id)
    decode, make = found
    shape = decode(raw)
    return AgentLine(make(shape), said.id, said.agent, said.token, said.incarnation)


def _bare(found: AgentLine | CommandLine | BadLine) -> Decoded:
    """Return a heartbeat that says nothing beside itself as such."""
    if (
        isinstance(found, AgentLine)
        and isinstance(found.line, Heartbeat)
        and (found.id is found.agent is found.token is found.incarnation is None)
    ):
        return found.line
    return found


def _check_length(raw: bytes, line_id: LineId | None) -> None:
    if len(raw) > LINE_BYTES_MAX:
        raise BadLine("bad_request", "longer than 64 KiB", line_id)


_decode_heartbeat: Final = msgspec.json.Decoder(shapes.HeartbeatShape).decode
_decode_said: Final = msgspec.json.Decoder(shapes.Said).decode
_decode_id: Final = msgspec.json.Decoder(shapes.IdOnly).decode
_PLAIN_TYPES: Final = (None, "heartbeat")


def _row(
    shape: type[Any], make: Callable[[Any], Line]
) -> tuple[Callable[[bytes], Any], Callable[[Any], Line]]:
    return msgspec.json.Decoder(shape).decode, make


_DECODERS: Final = {
    "heartbeat": _row(shapes.HeartbeatShape, convert.heartbeat),
    "hello": _row(shapes.HelloShape, convert.hello),
    "call": _row(shapes.CallShape, convert.call),
    "step": _row(shapes.StepShape, convert.step),
    "intent": _row(shapes.IntentShape, convert.intent),
    "done": _row(shapes.DoneShape, convert.done),
    "checkpoint.put": _row(shapes.CheckpointPutShape, convert.checkpoint_put),
    "checkpoint.get": _row(shapes.CheckpointGetShape, convert.checkpoint_get),
    "breaker": _row(shapes.BreakerShape, convert.breaker_report),
    "breaker.ask": _row(shapes.BreakerAskShape, convert.breaker_ask),
}
