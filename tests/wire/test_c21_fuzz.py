"""Mutations of valid lines: AGENTD_FUZZ_SEED repeats a run, AGENTD_FUZZ_RUNS is how long."""

import contextlib
import gc
import json
import os
import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.lines import Call, Heartbeat
from agentd.wire.commands import decode_command
from agentd.wire.lines import AgentLine, BadLine, CommandLine, decode_line, decode_lines
from agentd.wire.notify import BadDatagram, parse
from agentd.wire.splitter import Splitter

RUNS = int(os.environ.get("AGENTD_FUZZ_RUNS", "12000"))
SEED = int(os.environ.get("AGENTD_FUZZ_SEED", str(random.SystemRandom().randrange(1 << 32))))

VALID = [
    json.dumps(line).encode()
    for line in [
        {"status": "ok", "tokens": 900, "cost_usd": 0.01, "task": "t", "step": 17, "progress": 0.3},
        {"usage": {"input_tokens": 5, "output_tokens": 1}, "latency_ms": [1, 2.5], "success": True},
        {"id": "1", "agent": "a", "token": "t" * 32, "status": "error", "retry_after_s": 60},
        {"type": "call", "phase": "end", "call": "c", "ok": True, "usage": {"input_tokens": 1}},
        {"type": "step", "step": 17, "lines": ["0123456789abcdef"] * 5, "out_len": 5120},
        {"type": "intent", "id": "1", "key": "k", "action": "a", "detail": {"a": [1, {"b": None}]}},
        {"type": "checkpoint.put", "id": "2", "state": {"x": [[], {}, '\ud83d\ude00 \\ " \n']}},
        {"type": "breaker.ask", "id": "4", "name": "openai"},
        {"id": "7", "cmd": "restart", "args": {"select": ["order-*"], "reason": "deploy"}},
    ]
]
INSERTS = [
    b"[", b"{", b'"', b"\\", b"\\ud800", b"\\u0000", b"\x00", b"\xff", b"-", b"1e999", b"NaN",
    b"9" * 400, b"[" * 60, b"}", b"]", b",", b":", b"null", b"true", b"\xed\xa0\x80", b"\n",
]  # fmt: skip


def mutated(dice: random.Random, line: bytes) -> bytes:
    for _ in range(dice.randrange(1, 5)):
        at = dice.randrange(len(line) + 1)
        kind = dice.randrange(5)
        if kind == 0:
            line = line[:at] + bytes([dice.randrange(256)]) + line[at + 1 :]
        elif kind == 1:
            line = line[:at] + dice.choice(INSERTS) + line[at:]
        elif kind == 2:
            line = line[:at] + line[at + dice.randrange(1, 9) :]
        elif kind == 3:
            other = dice.choice(VALID)
            line = line[:at] + other[dice.randrange(len(other)) :]
        else:
            line = line[:at] + line[at : at + 20] * dice.randrange(2, 40) + line[at:]
    return line


def check(raw: bytes) -> None:
    """Whatever the bytes: a value within its bounds, or a `BadLine` that can be told."""
    for found in decode_lines([raw]):
        if isinstance(found, BadLine):
            assert found.message
            found.message.encode()
        elif isinstance(found, CommandLine):
            with contextlib.suppress(BadLine):  # the one thing that may come out of it
                decode_command(found.raw)
        else:
            line = found.line if isinstance(found, AgentLine) else found
            if isinstance(line, Heartbeat | Call):
                assert line.cost_micros is None or 0 <= line.cost_micros <= 10**11
            if isinstance(line, Heartbeat):
                assert line.tokens is None or 0 <= line.tokens <= 10**9
                assert line.task is None or (
                    len(line.task) <= 4096 and line.task.encode() is not None
                )


def test_c21_no_mutation_gets_an_exception_out() -> None:
    print(f"AGENTD_FUZZ_SEED={SEED}")  # noqa: T201 - shown by pytest where the test fails
    dice = random.Random(SEED)  # noqa: S311 - dice, not secrets
    gc.collect()
    fds_before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(RUNS):
        raw = mutated(dice, dice.choice(VALID))
        splitter = Splitter()
        for line in splitter.feed(raw + b"\n"):
            check(line)
    assert len(list(Path("/proc/self/fd").iterdir())) == fds_before


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_c21_nor_do_any_bytes(raw: bytes) -> None:
    check(raw)
    try:
        parse(raw)
    except BadDatagram:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "type",
        "id",
        "status",
        "tokens",
        "usage",
        "cost_usd",
        "latency_ms",
        "step",
        "progress",
        "cmd",
        "ts",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(FIELDS, JSON, max_size=6))
def test_c21_nor_does_any_value_in_any_field(fields: dict[str, object]) -> None:
    raw = json.dumps(fields).encode()
    check(raw)
    both = decode_lines([raw])
    # The fast way and the careful way say the same of a line.
    try:
        careful: object = decode_line(raw)
    except BadLine as bad:
        careful = bad
    fast = AgentLine(both[0]) if isinstance(both[0], Heartbeat) else both[0]
    if isinstance(fast, AgentLine):
        assert fast == careful
    else:
        assert isinstance(careful, BadLine)
