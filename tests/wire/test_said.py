"""What was decoded can be said again, and then means the same; content stays out of it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.lines import ActionBegun, CheckpointPut, Line, Notify, Step
from agentd.wire.lines import decode_line
from agentd.wire.notify import parse
from agentd.wire.said import as_said

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
COST = st.one_of(
    st.none(),
    st.integers(0, 10**9).map(lambda picos: picos / 10**12),
    st.integers(0, 10**10).map(lambda micros: micros / 10**6),
)
USAGE = st.fixed_dictionaries(
    {"input_tokens": st.integers(0, 10**6), "output_tokens": st.integers(0, 10**6)}
)
BEATS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(("ok", "idle", "shutting_down", "error", "waiting_human")),
        "tokens": st.integers(0, 10**6),
        "usage": USAGE,
        "cost_usd": COST,
        "model": TEXT,
        "success": st.booleans(),
        "failures": st.integers(0, 100),
        "latency_ms": st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
        "task": TEXT,
        "step": st.integers(0, 1_000),
        "goal": TEXT,
        "progress": st.one_of(st.floats(0, 1), st.just({"done": 3, "total": 10, "state_fp": "ab"})),
        "silence_s": st.integers(0, 10**6).map(lambda ms: ms / 1000),
        "retry_after_s": st.integers(0, 10**6).map(lambda ms: ms / 1000),
        "off_thread": st.booleans(),
        "dropped": st.integers(0, 10),
        "ts": st.floats(0, 2e9),
    },
)
CALLS = st.fixed_dictionaries(
    {"type": st.just("call"), "phase": st.sampled_from(("start", "end")), "call": st.just("c1")},
    optional={"cost_usd": COST, "usage": USAGE, "ms": st.integers(0, 10**6), "error": TEXT},
)
OTHERS = st.sampled_from(
    (
        {"type": "hello", "sdk": "python/1.0"},
        {"type": "step", "tool": "t", "args_fp": "ab", "lines": ["1f"], "ok": False, "poll": True},
        {"type": "step", "error": "boom"},
        {"type": "done", "key": "k", "ok": False},
        {"type": "checkpoint.get"},
        {"type": "breaker", "name": "openai", "ok": False, "attempt": 2, "error": "429"},
        {"type": "breaker.ask", "name": "openai"},
        {"type": "intent", "key": "k", "action": "refund", "idempotent": True},
    )
)


def again(line: Line) -> Line:
    """What is decoded of what is said anew."""
    return decode_line(json.dumps(as_said(line)).encode()).line


@settings(deadline=None)
@given(st.one_of(BEATS, CALLS, OTHERS))
def test_a_line_said_again_means_the_same(said: dict[str, object]) -> None:
    line = decode_line(json.dumps(said).encode()).line
    assert again(line) == line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (ActionBegun("k", "refund", detail='{"card":"4111"}'), ActionBegun("k", "refund")),
        (CheckpointPut('{"secret":1}'), CheckpointPut("{}")),
        (Step(step="1", note="what I thought"), Step(step="1")),
    ],
)
def test_content_is_not_said_again(line: Line, expected: Line) -> None:
    assert again(line) == expected


@pytest.mark.parametrize(
    "said",
    [
        Notify(ready=True, status="on it"),
        Notify(watchdog=True),
        Notify(stopping=True, extend_ms=5_000, mainpid=7),
        Notify(),
    ],
)
def test_a_datagram_said_again_means_the_same(said: Notify) -> None:
    assert parse(str(as_said(replace(said))["notify"]).encode()) == said
