"""Targets at the other end: what the client and the SDK read, what sinks answer, what is shown."""

import copy
import json
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from http.client import HTTPResponse
from io import BytesIO
from typing import Any, Final

from agentd.cli.views.agents import status_table, top_table, verdict
from agentd.cli.views.incidents import incidents_table
from agentd.cli.views.journal import event_line, event_table
from agentd.cli.views.table import Table, plain
from agentd.client import AgentdError
from agentd.client.channel import decode
from agentd.client.link import result_of
from agentd.sdk import fields, usage
from agentd.sdk.link import Link
from agentd.sinks.http import ANSWER_BYTES_MAX, Http, _Call, _told
from agentd.sinks.http import Target as HttpTarget
from agentd.sinks.message import Message
from agentd.sinks.posting import RETRY_AFTER_S_MAX, _retry_after_s
from agentd.sinks.text import HEADLINE_LENGTH_MAX, LINE_LENGTH_MAX, below_headline, headline
from agentd.wire.lines import decode_line
from tests.cli import incident_samples, stub
from tests.fuzz.mutation import ODD, mutated
from tests.fuzz.target import Dice, Outcome, Target, pick, told
from tests.sinks.samples import TRIGGER

_REPLIES: Final = (
    b'{"id":"7","ok":true,"result":{"agents":[]}}', b'{"id":null,"ok":false,"error":{"code":"x"}}',
    b'{"type":"control","action":"pause","mode":"checkpoint","reason":"USER_PAUSED"}',
    b'{"id":"7","ok":false,"error":{"code":"timeout","message":"\\u001b[2J","hint":null}}',
    b'{"type":"control","action":"stop"}', b'{"id":7,"event":{"id":1}}', b'{"ok":1,"error":[]}',
)  # fmt: skip


def make_reply(dice: Dice) -> bytes:
    made = b"\n".join(pick(dice, _REPLIES) for _ in range(1 + int(dice.random() * 30)))
    return mutated(dice, made, _REPLIES) if dice.random() < 0.7 else made


def check_reply(data: bytes) -> Outcome:
    """Read replies: the client raises its own errors alone, the SDK raises nothing at all."""
    link = Link(None, None)
    outcome: Outcome = Counter()
    for line in data.split(b"\n"):
        link._take(line)
        try:
            result = result_of(decode(line, "/x"))
        except AgentdError as error:
            assert isinstance(error.code, str)
            assert isinstance(error.message, str)
            outcome["refused"] += 1
        else:
            assert isinstance(result, dict)
            outcome["taken"] += 1
    return outcome


_USAGE_NAMES: Final = (
    *("usage", "usage_metadata", "response_metadata", "llm_output", "token_usage", "generations"),
    *("input_tokens", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "message"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "cached_tokens", "model", "id"),
    *("reasoning_tokens", "output_tokens", "response", "type", "thoughts_token_count"),
)


def make_usage(dice: Dice) -> bytes:
    made = _object(dice, 4)
    return mutated(dice, made) if dice.random() < 0.3 else made


def _object(dice: Dice, depth: int) -> bytes:
    kind = int(dice.random() * 6)
    if depth == 0 or kind == 0:
        return pick(
            dice, (b"12", b"1e9", b"-5", b'"x"', b"null", b"true", b"1e400", b"9" * 30, b"[]")
        )
    if kind == 1:
        return b"[%s]" % b",".join(_object(dice, depth - 1) for _ in range(int(dice.random() * 3)))
    pairs = [
        b'"%s":%s' % (pick(dice, _USAGE_NAMES).encode(), _object(dice, depth - 1))
        for _ in range(1 + int(dice.random() * 4))
    ]
    return b"{%s}" % b",".join(pairs)


class _Held:
    """An object as packages return them: keys as attributes, and a raise for all others."""

    def __init__(self, values: dict[str, object]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or name not in self._values:
            raise RuntimeError(name)
        return self._values[name]


def check_usage(data: bytes) -> Outcome:
    """Read usage out of anything: nothing is raised, and what is sent the daemon takes."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = data.decode(errors="surrogateescape")
    found = 0
    for shape in (value, _as_objects(value), _Held({"usage": value}), [value, data, None]):
        reading = usage.read(shape)
        if reading is not None:
            found += 1
            assert all(0 <= count <= fields.TOKENS_MAX for count in reading.tokens.values())
            written, _ = fields.written({"usage": reading.tokens}, fields.BEAT)
            decode_line(("{" + written[1:] + "}").encode())
    said = dict.fromkeys(fields.BEAT, value)
    written, _ = fields.written(said, fields.BEAT)
    decode_line(("{" + written[1:] + "}").encode())
    return told("read" if found else "none in it")


def _as_objects(value: object) -> object:
    if isinstance(value, dict):
        return _Held({name: _as_objects(one) for name, one in value.items()})
    return [_as_objects(one) for one in value] if isinstance(value, list) else value


_ANSWERS: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 429 Slow\r\nRetry-After: 120\r\n\r\nno \x1b[2J \xff",
    b"HTTP/1.0 503 X\r\nRetry-After: Fri, 21 Nov 2026 03:00:00 GMT\r\n\r\n" + b"y" * 9000,
    b"HTTP/1.1 302 Found\r\nLocation: https://e/\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
    b"HTTP/1.1 500 \r\nRetry-After: Mon, 01 Jan 0001 00:00:00 -0000\r\nContent-Length: -1\r\n\r\nx",
)  # fmt: skip
_DATES: Final = (
    *(b"120", b"1e3", b"-5", b"9" * 400, b"Fri, 21 Nov 2026 03:00:00 GMT", b"\xd9\xa3", b""),
    *(
        b"Mon, 01 Jan 0001 00:00:00 -0000",
        b"Fri, 31 Dec 9999 23:59:59 -2359",
        b"1 Jan 1 1:1:1 +9999999",
    ),
)


def make_answer(dice: Dice) -> bytes:
    made = pick(dice, _ANSWERS)
    made = re.sub(rb"Retry-After: [^\r]*", lambda _: b"Retry-After: " + pick(dice, _DATES), made)
    return mutated(dice, made, _ANSWERS) if dice.random() < 0.7 else made


class _Wire:
    """A socket that has said all it ever will."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._data)


def check_answer(data: bytes) -> Outcome:
    """Read a receiver's answer: an `Answer` in bounded words, or an error that is told in some."""
    where = HttpTarget.of("https://hooks.example/T0p53cret/x")
    call = _Call(where, "POST", b"", {}, Http().deadline_s)
    response = HTTPResponse(_Wire(data), method="POST")  # type: ignore[arg-type] # as much of one
    try:
        response.begin()
        answer = call._read(response)
    except Exception as error:  # noqa: BLE001 - as `_Call.run` does
        assert _told(error, 10.0).isprintable()
        return told("no answer")
    assert len(answer.said) <= 10 * ANSWER_BYTES_MAX
    assert answer.said.isprintable()
    assert "T0p53cret" not in answer.said
    wait_s = _retry_after_s(answer.headers.get("retry-after", ""))
    assert wait_s is None or 0 <= wait_s <= RETRY_AFTER_S_MAX
    return told("delivered" if answer.ok else "refused")


_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)


@cache
def _documents() -> dict[str, tuple[Any, Callable[[Any], str]]]:
    """Return a document of each kind, and what a person is shown of it."""
    agent = stub.agent(
        "orders", task="t", step="1", tool="x", open_call={"label": "c", "open_s": 1}
    )
    return {
        "status": (stub.status(agent), lambda one: _text(status_table(one), 60)),
        "top": (stub.status(agent), lambda one: _text(top_table(one), None)),
        "verdict": (stub.status(agent), lambda one: verdict(one)[1]),
        "events": ({"events": [stub.event(1)]}, lambda one: _text(event_table(one["events"]), 80)),
        "event": (stub.event(1), event_line),
        "incidents": (
            {"incidents": [incident_samples.incident()]},
            lambda one: _text(incidents_table(one), 70),
        ),
    }


def _text(table: Table, width: int | None) -> str:
    return plain(table, width)


def make_shown(dice: Dice) -> bytes:
    return (
        pick(dice, (*_documents(), "alert")).encode()
        + b"\n"
        + b"".join(pick(dice, ODD) for _ in range(1 + int(dice.random() * 3)))
    )


def check_shown(data: bytes) -> Outcome:
    """Put a text of an agent into every text of a document; nothing raw may reach a terminal."""
    name, _, raw = data.partition(b"\n")
    hostile = raw.decode(errors="surrogateescape")
    if name == b"alert":
        _check_alert(hostile)
        return told("alert")
    document, view = _documents().get(name.decode(errors="replace"), _documents()["status"])
    text = view(_filled(copy.deepcopy(document), hostile))
    assert not _HIDDEN.search(text), "raw control characters"
    return told(name.decode(errors="replace"))


def _filled(value: Any, hostile: str) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {name: _filled(one, hostile) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, hostile) for one in value]
    return hostile if isinstance(value, str) else value


def _check_alert(hostile: str) -> None:
    assert TRIGGER.incident is not None
    message = Message(
        alert_id="a",
        dedup_key="k",
        kind="trigger",
        severity="critical",
        host=hostile,
        agent=hostile,
        event=_filled(dict(TRIGGER.event), hostile),
        incident=_filled(dict(TRIGGER.incident), hostile),
        next=hostile,
        folded=(_filled(dict(TRIGGER.event), hostile),) * 3,
    )
    assert len(headline(message)) <= HEADLINE_LENGTH_MAX
    assert headline(message).isprintable()
    for line in below_headline(message).split("\n"):
        assert len(line) <= LINE_LENGTH_MAX + len("next: ")
        assert not _HIDDEN.search(line)


TARGETS: Final = (
    Target("replies", "replies, read by the client and the SDK", make_reply, check_reply),
    Target("usage", "usage objects and arguments of the SDK", make_usage, check_usage),
    Target("answers", "what receivers of alerts answer", make_answer, check_answer),
    Target("shown", "texts of agents on a terminal and in alerts", make_shown, check_shown),
)
