"""What the NATS servers keep for us, by the few requests that need few permissions.

No consumers and no "direct get": both send a stored message, as it stands, to an address that
the asker chooses, and the server doesn't check whether he could have sent it there himself. A
host could have another host's status "delivered" that way. The answers used here are wrapped in
a document of the server's own, which nobody takes for one of ours. Measured: docs/fleet.md.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agentd.client.errors import AgentdError
from agentd.fleet.connection import REQUEST_S, Connection

NOT_FOUND: Final = "no_such_entry"
CONFLICT: Final = "conflict"
TOO_LARGE: Final = "too_large"
_JS_NOT_FOUND: Final = 404
_WRONG_SEQUENCE: Final = 10071
"""JSStreamWrongLastSequenceErr: somebody was here first."""
_MESSAGE_SIZE: Final = 10054
"""JSStreamMessageExceedsMaximumErr."""
_MSG_ID: Final = "Nats-Msg-Id"
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_REMOVED: Final = "KV-Operation"


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored message: its number in the stream, where it stands, and what it says."""

    seq: int
    subject: str
    data: bytes


async def store(
    connection: Connection,
    subject: str,
    data: bytes,
    *,
    message_id: str = "",
    after_seq: int | None = None,
    timeout_s: float = REQUEST_S,
) -> int:
    """Store a message and return its number once the server has it.

    A `message_id` that the stream has seen lately isn't stored again. With `after_seq` it is
    stored only if the last one on its subject has that number (0: there is none): a `conflict`
    otherwise. `no_such_entry`: no stream takes this subject; `too_large`: the stream, or the
    server, takes no message of that size.
    """
    headers: dict[str, str] = {}
    if message_id:
        headers[_MSG_ID] = message_id
    if after_seq is not None:
        headers[_EXPECTED] = str(after_seq)
    try:
        answer = await connection.request(subject, data, headers, timeout_s)
    except AgentdError as error:
        if error.code == "not_reachable" and not connection.closed.is_set():
            raise AgentdError(NOT_FOUND, f"no stream takes {subject}") from None
        raise
    return int(_checked(answer.data)["seq"])


async def last(connection: Connection, stream: str, subject: str) -> Entry | None:
    """Return the last message on a subject; None: there is none."""
    return await _get(connection, stream, {"last_by_subj": subject})


async def at(connection: Connection, stream: str, seq: int) -> Entry | None:
    """Return the message of that number; None: it is gone, or not there yet."""
    return await _get(connection, stream, {"seq": seq})


async def subjects(connection: Connection, stream: str, pattern: str) -> list[str]:
    """Return the subjects of a stream that hold something."""
    state = (await info(connection, stream, {"subjects_filter": pattern}))["state"]
    return list(state.get("subjects") or ())


async def info(
    connection: Connection, stream: str, asked: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Return what the server says of a stream; `no_such_entry`: there is no such stream."""
    return await api(connection, f"STREAM.INFO.{stream}", asked or {})


async def api(connection: Connection, verb: str, asked: Mapping[str, object]) -> dict[str, Any]:
    """Ask the server's own interface, and return its answer without the wrapping."""
    answer = await connection.request(f"$JS.API.{verb}", msgspec.json.encode(asked))
    return _checked(answer.data)


async def _get(connection: Connection, stream: str, asked: Mapping[str, object]) -> Entry | None:
    try:
        message = (await api(connection, f"STREAM.MSG.GET.{stream}", asked))["message"]
    except AgentdError as error:
        if error.code == NOT_FOUND:
            return None
        raise
    headers = base64.b64decode(message.get("hdrs") or "")
    if f"{_REMOVED}:".encode() in headers:
        return None  # what the nats tool leaves where it has deleted something
    try:
        data = base64.b64decode(message.get("data") or "", validate=True)
    except binascii.Error:
        raise AgentdError("internal", "the NATS server's answer can't be read") from None
    return Entry(int(message["seq"]), str(message["subject"]), data)


def _checked(answer: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        raise AgentdError("internal", "the NATS server's answer can't be read") from None
    if not isinstance(document, dict):
        raise AgentdError("internal", "the NATS server's answer can't be read")
    error = document.get("error")
    if error is None:
        return document
    said = str(error.get("description", "refused"))
    if error.get("code") == _JS_NOT_FOUND:
        raise AgentdError(NOT_FOUND, said)
    if error.get("err_code") == _WRONG_SEQUENCE:
        raise AgentdError(CONFLICT, said)
    if error.get("err_code") == _MESSAGE_SIZE:
        raise AgentdError(TOO_LARGE, said)
    raise AgentdError("internal", f"NATS: {said}")
