import json

import pytest

from agentd.core.lines import (
    ActionBegun,
    ActionDone,
    BreakerAsk,
    BreakerReport,
    Call,
    CheckpointGet,
    CheckpointPut,
    Heartbeat,
    Hello,
    Status,
    Step,
    Usage,
)
from agentd.wire.limits import COST_STEP_USD_MAX, INTEGER_MAX, STRING_MAX, TOKENS_STEP_MAX
from agentd.wire.lines import AgentLine, BadLine, CommandLine, decode_line, decode_lines


def beat(**fields: object) -> Heartbeat:
    line = decode_line(json.dumps(fields).encode()).line
    assert isinstance(line, Heartbeat)
    return line


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Heartbeat()),
        ({"type": "heartbeat"}, Heartbeat()),
        ({"status": "ok"}, Heartbeat(status=Status.WORKING)),
        ({"status": "shutting_down"}, Heartbeat(status=Status.DRAINING)),
        *[({"status": one.value}, Heartbeat(status=one)) for one in Status],
        ({"tokens": 900}, Heartbeat(tokens=900)),
        ({"tokens_used": 900}, Heartbeat(tokens=900)),
        ({"tokens": 5, "tokens_used": 900}, Heartbeat(tokens=5)),
        (
            {"usage": {"input_tokens": 7, "output_tokens": 2, "cache_read_input_tokens": 3}},
            Heartbeat(usage=Usage(7, 2, 3)),
        ),
        (
            {"usage": {"cache_creation_input_tokens": 4, "reasoning_output_tokens": 1}},
            Heartbeat(usage=Usage(cache_write_tokens=4, reasoning_tokens=1)),
        ),
        ({"cost_usd": 0.0123}, Heartbeat(cost_micros=12_300)),
        ({"cost_usd": 0}, Heartbeat(cost_micros=0)),
        ({"cost_usd": None}, Heartbeat()),  # c18: absent is unknown, never 0
        ({"model": "m", "provider": "p"}, Heartbeat(model="m", provider="p")),
        ({"success": True}, Heartbeat(successes=1)),
        ({"success": False}, Heartbeat(failures=1)),
        ({"successes": 4, "failures": 2}, Heartbeat(successes=4, failures=2)),
        ({"latency_ms": 230}, Heartbeat(latencies_ms=(230.0,))),
        ({"latency_ms": [1, 2.5]}, Heartbeat(latencies_ms=(1.0, 2.5))),
        (
            {"task": "t", "step": 17, "tool": "web", "goal": "g"},
            Heartbeat(task="t", step="17", tool="web", goal="g"),
        ),
        ({"step": 1.5}, Heartbeat(step="1.5")),
        ({"step": "two"}, Heartbeat(step="two")),
        ({"progress": 1}, Heartbeat(progress=1.0)),
        (
            {"progress": {"done": 3, "total": 4, "state_fp": "ab"}},
            Heartbeat(progress=0.75, progress_fp="ab"),
        ),
        ({"progress": {"done": 9, "total": 4}}, Heartbeat(progress=1.0)),
        ({"progress": {"done": 0, "total": 0}}, Heartbeat()),
        ({"silence_s": 600}, Heartbeat(silence_ms=600_000)),
        (
            {"status": "error", "retry_after_s": 1.5},
            Heartbeat(status=Status.ERROR, retry_after_ms=1_500),
        ),
        ({"off_thread": True, "dropped": 12}, Heartbeat(off_thread=True, dropped=12)),
        ({"seq": 5, "ts": 12.5}, Heartbeat(sent_at_s=12.5)),
        ({"ts": "2026-01-01T00:00:00Z"}, Heartbeat()),
        ({"nobody": {"knows": ["this"]}}, Heartbeat()),
    ],
)
def test_every_field_of_a_heartbeat_is_understood(
    fields: dict[str, object], expected: Heartbeat
) -> None:
    raw = json.dumps(fields).encode()
    assert decode_line(raw) == AgentLine(expected)
    assert decode_lines([raw]) == [expected]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "hello", "sdk": "python/1.0"}, Hello("python/1.0")),
        (
            {"type": "call", "phase": "start", "call": "c77", "op": "chat", "deadline_s": 600},
            Call("c77", start=True, op="chat", deadline_ms=600_000),
        ),
        (
            {
                "type": "call",
                "phase": "end",
                "call": "c77",
                "attempt": 2,
                "ok": False,
                "ms": 2140,
                "usage": {"input_tokens": 1},
                "cost_usd": 0.5,
                "error": "429",
            },
            Call(
                "c77",
                start=False,
                attempt=2,
                ok=False,
                took_ms=2140.0,
                usage=Usage(1),
                cost_micros=500_000,
                error="429",
            ),
        ),
        (
            {"type": "step", "step": 17, "tool": "t", "out_fp": "x", "lines": ["0123456789abcdef"]},
            Step(step="17", tool="t", out_fp="x", lines=("0123456789abcdef",)),
        ),
        ({"type": "step", "error": "boom"}, Step(ok=False, error="boom")),
        (
            {"type": "intent", "id": "1", "key": "k", "action": "a", "detail": {"x": 1}},
            ActionBegun("k", "a", idempotent=False, detail='{"x": 1}'),
        ),
        ({"type": "done", "key": "k", "ok": False}, ActionDone("k", ok=False)),
        ({"type": "done", "key": "k"}, ActionDone("k", ok=True)),
        ({"type": "checkpoint.put", "id": 2, "state": [1, "é"]}, CheckpointPut('[1, "\\u00e9"]')),
        ({"type": "checkpoint.get", "id": "3"}, CheckpointGet()),
        (
            {"type": "breaker", "name": "openai", "ok": False, "attempt": 2},
            BreakerReport("openai", ok=False, attempt=2),
        ),
        ({"type": "breaker.ask", "id": "4", "name": "o"}, BreakerAsk("o")),
    ],
)
def test_the_other_lines_are_understood(fields: dict[str, object], expected: object) -> None:
    raw = json.dumps(fields).encode()
    assert decode_line(raw).line == expected
    [found] = decode_lines([raw])
    assert isinstance(found, AgentLine)
    assert found.line == expected


def test_what_a_line_says_of_its_sender_comes_beside_it() -> None:
    raw = b'{"id":7,"agent":"a","token":"t","incarnation":"i","tokens":1}'
    expected = AgentLine(Heartbeat(tokens=1), 7, "a", "t", "i")
    assert decode_line(raw) == expected
    assert decode_lines([raw]) == [expected]


# Hostile and broken lines: what they are, and what their sender is told.
HOSTILE = [
    ("not json", b"hello", "not a JSON object"),
    ("an array", b"[1]", "expected `object`"),
    ("a number", b"1", "expected `object`"),
    ("cut short", b'{"tokens":', "not a JSON object"),
    ("two objects", b"{}{}", "not a JSON object"),
    ("c4 brackets", b"[" * 60_000, "nested more than 32"),
    ("c4 braces", b'{"a":' * 5_000, "nested more than 32"),
    ("c4 a deep unknown field", b'{"x":' + b"[" * 40 + b"]" * 40 + b"}", "nested more than 32"),
    ("c4 5000 digits", b'{"tokens":' + b"9" * 5_000 + b"}", "tokens: "),
    ("beyond 2^53", b'{"seq":%d}' % (INTEGER_MAX + 1), "seq: "),
    ("c5 NaN", b'{"cost_usd":NaN}', "not a JSON object"),
    ("c5 Infinity", b'{"cost_usd":Infinity}', "not a JSON object"),
    ("c5 1e999", b'{"cost_usd":1e999}', "cost_usd: number out of range"),
    ("c5 negative tokens", b'{"tokens":-1}', "tokens: expected `int` >= 0"),
    ("c5 negative cost", b'{"cost_usd":-0.01}', "cost_usd: expected `float` >= 0"),
    ("c5 cost 1e308", b'{"cost_usd":1e308}', "cost_usd: expected `float` <="),
    (
        "c5 too many tokens",
        b'{"tokens":%d}' % (TOKENS_STEP_MAX + 1),
        "tokens: expected `int` <=",
    ),
    ("c5 negative usage", b'{"usage":{"input_tokens":-5}}', "usage.input_tokens: "),
    ("tokens as text", b'{"tokens":"900"}', "tokens: expected `int | float | null`, got `str`"),
    ("true as a number", b'{"tokens":true}', "tokens: expected `int | float | null`, got `bool`"),
    ("an unknown status", b'{"status":"fine"}', "status: "),
    ("progress above 1", b'{"progress":1.1}', "progress: expected `float` <= 1"),
    ("progress as text", b'{"progress":"half"}', "progress: "),
    (
        "a long string",
        b'{"task":"%s"}' % (b"x" * (STRING_MAX + 1)),
        "task: expected `str` of length",
    ),
    ("too many latencies", json.dumps({"latency_ms": [1] * 1025}).encode(), "latency_ms: "),
    ("a negative latency", b'{"latency_ms":[1,-1]}', "latency_ms[1]: "),
    ("negative silence", b'{"silence_s":-1}', "silence_s: "),
    ("not UTF-8", b'{"task":"\xff\xfe"}', "not valid UTF-8"),
    ("a raw control character", b'{"task":"a\x01"}', "not a JSON object"),
    ("a byte order mark", b"\xef\xbb\xbf{}", "not a JSON object"),
    ("an unknown type", b'{"type":"reboot"}', "type: unknown type 'reboot'"),
    ("a type that is no text", b'{"type":1}', "type: expected `str | null`"),
    ("an id that is a list", b'{"id":[1]}', "id: "),
    ("a call without a name", b'{"type":"call","phase":"start"}', "missing required field `call`"),
    ("a call of no phase", b'{"type":"call","phase":"x","call":"c"}', "phase: "),
    ("hashes that are content", b'{"type":"step","lines":["secret words"]}', "lines[0]: "),
    ("too many hashes", json.dumps({"type": "step", "lines": ["0"] * 65}).encode(), "lines: "),
    (
        "an intent without a key",
        b'{"type":"intent","id":"1","action":"a"}',
        "missing required field `key`",
    ),
    (
        "a long line in one of another type",
        b'{"type":"step","note":"' + b"x" * 70_000 + b'"}',
        "longer than 64 KiB",
    ),
]


@pytest.mark.parametrize(("raw", "told"), [pytest.param(*row[1:], id=row[0]) for row in HOSTILE])
def test_a_hostile_line_is_refused_by_name_and_costs_no_other(raw: bytes, told: str) -> None:
    with pytest.raises(BadLine) as caught:
        decode_line(raw)
    assert caught.value.code == "bad_request"
    assert told in caught.value.message
    before, bad, after = decode_lines([b'{"tokens":1}', raw, b'{"tokens":2}'])
    assert (before, after) == (Heartbeat(tokens=1), Heartbeat(tokens=2))
    assert isinstance(bad, BadLine)
    assert told in bad.message


@pytest.mark.parametrize(
    ("fields", "line_id"),
    [
        ({"id": "7", "tokens": -1}, "7"),
        ({"id": 7, "status": "fine"}, 7),
        ({"tokens": -1}, None),
        ({"id": "7", "x": [[[0]]], "task": 3}, "7"),
        ({"id": {"a": 1}, "tokens": 1}, None),
    ],
)
def test_a_bad_line_is_answered_where_it_says_whom_to_answer(
    fields: dict[str, object], line_id: object
) -> None:
    with pytest.raises(BadLine) as caught:
        decode_line(json.dumps(fields).encode())
    assert caught.value.id == line_id


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("tokens", TOKENS_STEP_MAX, TOKENS_STEP_MAX + 1),
        ("tokens", 0, -1),
        ("cost_usd", COST_STEP_USD_MAX, COST_STEP_USD_MAX * 1.001),
        ("seq", INTEGER_MAX, INTEGER_MAX + 1),
        ("task", "x" * STRING_MAX, "x" * (STRING_MAX + 1)),
        ("progress", 1.0, 1.0000001),
        ("progress", 0, -1e-9),
        ("latency_ms", [0] * 1024, [0] * 1025),
        ("id", "x" * 256, "x" * 257),
    ],
)
def test_bounds_hold_on_both_sides(field: str, good: object, bad: object) -> None:
    decode_line(json.dumps({field: good}).encode())
    with pytest.raises(BadLine, match=f"^{field}: "):
        decode_line(json.dumps({field: bad}).encode())


@pytest.mark.parametrize("field", ["args_fp", "args_nfp", "out_fp", "out_nfp"])
def test_a_fingerprint_is_no_place_for_content(field: str) -> None:
    decode_line(json.dumps({"type": "step", field: "f" * 128}).encode())
    with pytest.raises(BadLine, match=f"^{field}: "):
        decode_line(json.dumps({"type": "step", field: "f" * 129}).encode())


def test_a_count_may_be_written_as_a_fraction_of_nothing() -> None:
    said = beat(tokens=50.0)
    assert (said.tokens, type(said.tokens)) == (50, int)
    with pytest.raises(BadLine, match=r"^tokens: "):
        decode_line(b'{"tokens":-0.5}')


def test_c5_a_budget_cannot_be_lowered_by_a_negative_zero() -> None:
    assert beat(cost_usd=-0.0).cost_micros == 0


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202e", "<img onerror=x>", "[red]", "a\nb", "'; --"])
def test_c7_what_an_agent_says_is_kept_as_it_is(text: str) -> None:
    assert beat(task=text).task == text


def test_c7_half_a_surrogate_and_nul_become_text() -> None:
    task = decode_lines([rb'{"task":"a\ud800b\u0000c"}'])[0]
    assert task == Heartbeat(task="a\\ud800b\\u0000c")


def test_the_last_of_two_equal_keys_counts_for_everybody() -> None:
    # One parser reads a line, so nobody is shown another agent than the one that was checked.
    assert decode_line(b'{"agent":"a","agent":"b"}').agent == "b"


def test_a_command_is_not_an_agents_line() -> None:
    raw = b'{"id":"7","cmd":"kill","args":{"select":["b"]}}'
    assert decode_lines([raw]) == [CommandLine(raw, "7")]
    with pytest.raises(BadLine) as caught:
        decode_line(raw)
    assert (caught.value.code, caught.value.id) == ("forbidden", "7")


def test_blank_lines_are_nothing() -> None:
    assert decode_lines([b"", b"  ", b"\r", b"{}\r"]) == [Heartbeat()]
