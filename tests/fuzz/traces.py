"""Targets of what was recorded: traces for `agentd simulate`, segments of the recorder."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from agentd.config.agent import AgentConfig
from agentd.config.schema import Config
from agentd.daemon import record_entries, record_segments
from agentd.daemon.record_segments import NAME, Span
from agentd.daemon.record_traces import trace
from agentd.simulate.driver import simulate
from agentd.simulate.trace import TraceError, TraceLine, read_trace
from agentd.wire.lines import BadLine, decode_line
from tests.fuzz import grammar
from tests.fuzz.configs import scratch
from tests.fuzz.mutation import ODD, mutated
from tests.fuzz.target import Dice, Outcome, Target, pick, told

AGENTS: Final = ("a", "b")
# Virtual time beyond it only repeats itself, at the cost of real time.
SIMULATED_MS_MAX: Final = 6 * 3_600_000
LEAD_MS: Final = 1_700_000_000_000
"""The wall clock less BOOTTIME."""
ASKED_MS: Final = LEAD_MS + 86_400_000
_WORLDS: Final = (
    *(b'{"spawn":"fail"}', b'{"spawn":"ok"}', b'{"deaf_to_sigterm":true}', b'{"validate":"fail"}'),
    *(b'{"memory_limit":1000000}', b'{"memory_limit":1%s}' % (b"0" * 400), b'{"judge_takes":5}'),
    *(b'{"judge":{"closer":true,"confidence":1}}', b'{"judge":"fail"}', b'{"memory_limit":1e999}'),
)
_ENDS: Final = (
    *(b'{"code":0}', b'{"code":3}', b'{"signal":9}', b'{"signal":9,"oom":true}', b"{}"),
    *(b'{"code":256}', b'{"code":1,"signal":1}', b'{"oom":1}', b'{"code":true}'),
)
_STARTS: Final = (
    *(b"true", b'true,"at":"2026-11-21T00:00:00Z"', b'true,"intents":{"a":"held","b":"killed"}'),
    *(b'true,"at":"0001-01-01T00:00:00+23:00"', b'true,"at":"9999-12-31T23:59:59-23:00"', b"1"),
    *(b'true,"at":"2026-11-21"', b'true,"at":"1970-01-01T00:00:00.0000001Z"', b'true,"intents":[]'),
)
_ODD_T: Final = (b"null", b'"1"', b"true", b"-1", b"1e999", b"NaN", b"[]", b"9" * 400)
_RSS: Final = (
    b"1000",
    b"2e6",
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 400,
    b'1,"cpu_ms":12',
    b"true",
)


def make_trace(dice: Dice) -> bytes:
    """Return some lines of a trace in order of time, most of them right."""
    t_ms, lines = 0, []
    wild = dice.random() < 0.3
    for _ in range(2 + int(dice.random() * 20)):
        t_ms += pick(dice, (0, 0, 100, 1000, 30_000, 400_000))
        agent = b',"agent":"%s"' % pick(dice, (b"a", b"a", b"b", b"c") if wild else (b"a", b"b"))
        told_t = pick(dice, _ODD_T) if wild and dice.random() < 0.1 else b"%g" % (t_ms / 1000)
        lines.append(b'{"t":%s%s,%s}' % (told_t, agent, _happening(dice, wild=wild)))
    made = b"\n".join(lines)
    return mutated(dice, made, lines) if dice.random() < 0.4 else made


def _happening(dice: Dice, *, wild: bool) -> bytes:
    kind = int(dice.random() * 12)
    if kind < 5:
        return b'"line":' + grammar.line(dice)
    if kind < 7:
        word = pick(dice, (b"stop", b"start", b"kill", b"pause", b"resume", b"shutdown", b"ack"))
        if dice.random() < 0.1:
            return b'"cmd":' + grammar.command(dice)
        return b'"cmd":{"cmd":"%s","args":{"select":["a"],"id":1}}' % word
    return pick(
        dice,
        (
            b'"rss":' + pick(dice, _RSS[: None if wild else 3]),
            b'"exit":' + pick(dice, _ENDS[: None if wild else 5]),
            b'"world":' + pick(dice, _WORLDS[: None if wild else 5]),
            b'"start":' + pick(dice, _STARTS[: None if wild else 5]),
            *([b'"end":true', b'"daemon":' + pick(dice, (b'"crash"', b'"start"'))] * wild),
            b'"notify":' + pick(dice, (b'"READY=1"', b'"\\ud800=1"', b'"WATCHDOG=1\\nSTATUS=x"')),
            b'"note":"x"',
            b'"note":"y"',
        ),
    )


@cache
def _config() -> Config:
    agent = AgentConfig(command=["sleep", "1"])
    return Config(agents={"a": agent, "b": AgentConfig(command=["sleep", "1"], depends_on=["a"])})


def check_trace(data: bytes) -> Outcome:
    """Read a trace and play it: a `TraceError` that names a line, or a story in JSON."""
    text = data.decode(errors="surrogateescape").split("\n")
    try:
        found = read_trace(text, AGENTS)
    except TraceError as error:
        assert 1 <= error.line <= len(text)
        assert error.message
        str(error).encode(errors="replace")
        return told("refused")
    if found and found[-1].t_ms > SIMULATED_MS_MAX:
        return told("taken, and too long to play")
    return told("played") if _played(found) else told("taken, nothing in it")


def _played(found: list[TraceLine]) -> bool:
    lines: list[str] = []
    durables = simulate(_config(), found, lines.append)
    for line in lines:
        assert line.endswith("\n")
        json.loads(line)
        assert line[:-1].isprintable(), "control characters in the story"
    for durable in durables.values():
        assert durable.cost_micros >= 0
        assert durable.tokens >= 0
    return bool(lines)


def make_segment(dice: Dice) -> bytes:
    """Return a segment of a few frames, often torn or flipped."""
    frames: list[bytes] = []
    at_ms = 1_000_000
    for _ in range(1 + int(dice.random() * 4)):
        entries: list[record_entries.Entry] = []
        if not frames:
            entries.append((at_ms, "fleet", {"a": "up", "b": "stopped"}))
        begins_ms = at_ms
        for _ in range(int(dice.random() * 6)):
            at_ms += int(dice.random() * 5000)
            entries.append(_entry(dice, at_ms))
        span = Span(b"b" * 16, begins_ms, at_ms, LEAD_MS)
        frames.append(record_segments.frame_of(span, record_entries.encoded(entries)))
    made = b"".join(frames)
    if dice.random() < 0.5:
        return mutated(dice, made, frames, most=2)
    return made


def _entry(dice: Dice, at_ms: int) -> record_entries.Entry:
    kind = int(dice.random() * 9)
    if kind < 4:
        try:
            line = decode_line(grammar.line(dice)).line
        except BadLine:
            return (at_ms, "alive")
        return record_entries.lines_entry(at_ms, pick(dice, AGENTS), 1, [line])
    entries: tuple[Any, ...] = (
        (at_ms, "rss", "a", 1, 1000, None, 5),
        (at_ms, "exit", "a", 1, None, False),
        (at_ms, "cmd", "stop", ["a"], "why \x1b[2J", {}),
        (at_ms, "cmd", "signal", ["a", "b"], "", {"signal": "SIGHUP"}),
        (at_ms, "started", {"a": [None, 9]}),
        (at_ms, "fleet", {"a": "up"}),
        (at_ms, "failed", "a", pick(dice, ODD).decode(errors="surrogateescape")),
        (at_ms, "from a later version", "a", 1, 2, 3),
    )
    return tuple(pick(dice, entries))


def check_segment(data: bytes) -> Outcome:
    """Read a segment: whole frames up to the first that isn't, and from them a true trace."""
    directory: Path = scratch() / NAME
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / "00000001.frames").write_bytes(data)
    frames = list(record_segments.frames(scratch(), 0))
    whole = b"".join(record_segments.frame_of(span, payload) for span, payload in frames)
    assert data.startswith(whole), "a frame that nobody wrote"
    made = list(trace(scratch(), AGENTS, 0, ASKED_MS, lambda text: text.replace("secret", "***")))
    lines = [json.dumps(line) for line in made]
    read_trace(lines, AGENTS)
    return told("whole" if len(whole) == len(data) else f"torn after {min(len(frames), 3)}")


TARGETS: Final = (
    Target("trace", "traces, read and played", make_trace, check_trace, 1),
    Target("segments", "segments of the recorder", make_segment, check_segment, 1),
)
