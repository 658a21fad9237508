import json

from agentd.config.units import parse_duration, parse_size
from agentd.wire import replies


def test_replies_have_the_shape_of_the_contract() -> None:
    assert json.loads(replies.ok("7", {"a": 1})) == {"id": "7", "ok": True, "result": {"a": 1}}
    assert json.loads(replies.ok(3)) == {"id": 3, "ok": True, "result": {}}
    error = {"code": "no_such_agent", "message": "m", "hint": "h"}
    assert json.loads(replies.failed("7", *error.values())) == {
        "id": "7",
        "ok": False,
        "error": error,
    }
    assert json.loads(replies.streamed("7", {"event": {}})) == {"id": "7", "event": {}}
    expected = {"type": "control", "action": "pause", "reason": "USER_PAUSED"}
    assert json.loads(replies.control("pause", "USER_PAUSED")) == expected


def test_every_reply_is_one_line_whatever_is_in_it() -> None:
    raw = replies.failed("a\nb", "bad_request", "x\r\n\u2028\x1b[0m", "\udcff")
    assert raw.count(b"\n") == 1
    assert raw.endswith(b"\n")
    assert json.loads(raw)["error"]["hint"] == "\\udcff"


def test_a_configured_size_or_duration_is_an_integer_on_the_wire() -> None:
    """Msgspec encodes no subclass of `int` by itself."""
    shown = {"limit_bytes": parse_size("512M"), "interval_ms": parse_duration("30s")}
    assert json.loads(replies.ok("7", shown))["result"] == {
        "limit_bytes": 512 << 20,
        "interval_ms": 30_000,
    }
