"""Lines that the daemon sends: replies, streams, control. Each is one line with its newline."""

from collections.abc import Mapping
from typing import Final

import msgspec

from agentd.config.encodable import encodable, plain
from agentd.wire.limits import LineId

_encode: Final = msgspec.json.Encoder(enc_hook=plain).encode

PONG: Final[Mapping[str, object]] = {"pong": True}


def ok(line_id: LineId | None, result: Mapping[str, object] | None = None) -> bytes:
    """`{"id":"7","ok":true,"result":{…}}`."""
    return _line({"id": line_id, "ok": True, "result": result or {}})


def failed(line_id: LineId | None, code: str, message: str, hint: str = "") -> bytes:
    """`{"id":"7","ok":false,"error":{"code":"no_such_agent","message":"…","hint":"…"}}`."""
    error = {"code": code, "message": message, "hint": hint}
    return _line({"id": line_id, "ok": False, "error": error})


def streamed(line_id: LineId | None, payload: Mapping[str, object]) -> bytes:
    """`{"id":"7","event":{…}}`, or whatever else is streamed to a follower."""
    return _line({"id": line_id, **payload})


def control(action: str, reason: str = "", **facts: object) -> bytes:
    """`{"type":"control","action":"pause","reason":"BUDGET_EXCEEDED",…}`."""
    return _line({"type": "control", "action": action, "reason": reason, **facts})


def _line(payload: Mapping[str, object]) -> bytes:
    try:
        return _encode(payload) + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, such as from a file name in an error
        return _encode(encodable(payload)) + b"\n"
