"""From what was recorded to a trace, and what a simulation makes of it."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.config.agent import AgentConfig, RestartConfig
from agentd.config.schema import Config
from agentd.core import events as ev
from agentd.core.effects import Effect
from agentd.core.supervisor import Supervisor
from agentd.daemon import record_entries
from agentd.daemon.record_segments import Span
from agentd.daemon.record_traces import Tracing
from agentd.simulate import driver
from agentd.simulate.calendar import AT_MS_DEFAULT
from agentd.simulate.trace import read_trace

BOOT = bytes(16)


def span(at_ms: int) -> Span:
    return Span(BOOT, at_ms, at_ms, 0)


def told(entries: Sequence[Any], since_ms: int = 0, end_ms: int = 100_000) -> list[Any]:
    """The trace of entries of one boot, whose wall clock begins with it."""
    tracing = Tracing(frozenset({"a", "b"}), since_ms, str)
    first, rest = [list(entry) for entry in entries[:2]], entries[2:]  # those come together
    lines = [*tracing.take(span(first[0][0]), first)] if first else []
    lines += [line for entry in rest for line in tracing.take(span(entry[0]), [list(entry)])]
    return [*lines, *tracing.end(end_ms)]


BEGIN = (
    (1_000, "started", {}),
    (1_000, "fleet", {"a": "up", "b": "stopped"}),
)


def test_a_trace_that_begins_later_begins_with_what_was_wanted_then() -> None:
    entries = [
        *BEGIN,
        (2_000, "cmd", "pause", ["a"], "", {}),
        (3_000, "cmd", "start", ["b"], "", {}),
        (9_000, "rss", "a", 1, 5, None, None),
    ]
    begin, rss, end = told(entries, since_ms=5_000, end_ms=20_000)
    assert begin["intents"] == {"a": "paused", "b": "up"}
    assert begin["at"] == "1970-01-01T00:00:05.000Z"
    assert rss == {"t": 4, "agent": "a", "rss": 5}
    assert end == {"t": 15, "end": True}


def test_where_nothing_has_happened_since_it_is_empty_but_for_its_length() -> None:
    begin, end = told(BEGIN, since_ms=5_000, end_ms=20_000)
    assert begin["intents"] == {"a": "up", "b": "stopped"}
    assert end["t"] == 15
    assert told([]) == []


def test_a_crash_of_the_daemon_lies_between_what_was_recorded() -> None:
    entries = [
        *BEGIN,
        (5_000, "rss", "a", 1, 5, None, None),
        (60_000, "started", {"a": [1, None], "other": [None, 9]}),
    ]
    assert told(entries)[1:-1] == [
        {"t": 4, "agent": "a", "rss": 5},
        {"t": 4, "daemon": "crash"},
        {"t": 59, "agent": "a", "exit": {"code": 1}},
        {"t": 59, "daemon": "start"},
    ]


def test_time_goes_on_over_a_reboot_and_never_back() -> None:
    tracing = Tracing(frozenset({"a"}), 0, str)
    rss = [7, "rss", "a", 1, 5, None, None]
    first = Span(BOOT, 0, 0, 1_000_000)
    second = Span(bytes([1]) * 16, 0, 0, 1_090_000)
    back = Span(bytes([1]) * 16, 0, 0, 500_000)  # somebody set the clock
    lines = [
        *tracing.take(first, [[0, "started", {}], [0, "fleet", {"a": "up"}]]),
        *tracing.take(second, [rss]),
        *tracing.take(back, [[1_007, *rss[1:]]]),
    ]
    assert [line["t"] for line in lines] == [0, 90.007, 91.007]


def test_an_agent_that_came_later_is_started_when_it_came() -> None:
    entries = [*BEGIN, (5_000, "fleet", {"a": "up", "b": "stopped", "c": "up"})]
    assert "cmd" not in json.dumps(told(entries))  # not one of those asked for
    entries = [
        (1_000, "started", {}),
        (1_000, "fleet", {"a": "up"}),
        (5_000, "fleet", {"a": "up", "b": "up"}),
        (6_000, "fleet", {"b": "up"}),
    ]
    lines = told(entries)
    assert lines[0]["intents"] == {"a": "up", "b": "stopped"}
    assert lines[1] == {"t": 4, "cmd": {"cmd": "start", "args": {"select": ["b"]}}}
    assert lines[2] == {"t": 5, "cmd": {"cmd": "stop", "args": {"select": ["a"]}}}


def test_signals_of_operators_and_what_was_not_recorded_are_notes() -> None:
    entries = [
        *BEGIN,
        (2_000, "cmd", "signal", ["a"], "", {"signal": "SIGHUP"}),
        (3_000, "dropped", 12),
        (4_000, "config"),
        (5_000, "failed", "a", "ENOENT: x"),
    ]
    lines = told(entries)
    assert [line["note"] for line in lines if "note" in line] == [
        "an operator sent signal SIGHUP to a",
        "12 lines were not recorded",
        "the configuration changed",
        "a could not be started: ENOENT: x",
    ]
    assert {"t": 4, "agent": "a", "exit": {}} in lines
    read_trace([json.dumps(line) for line in lines], ["a", "b"])


# Sessions in the simulator, recorded and replayed.


class Recording(Supervisor):
    """A core that writes down what the recorder would."""

    entries: list[Any] = []  # noqa: RUF012 - one list for all daemons of a session

    def step(self, event: ev.Event, now_ms: int) -> list[Effect]:
        if isinstance(event, ev.LinesReceived):
            entry = record_entries.lines_entry(now_ms, event.agent, event.incarnation, event.lines)
            self.entries.append(entry)
        else:
            found = record_entries.about(event, now_ms, self.agents)
            self.entries.append((now_ms, "alive") if found is None else found)
        effects = super().step(event, now_ms)
        if isinstance(event, ev.Started):
            self.entries.append((now_ms, "fleet", record_entries.fleet(self.agents)))
        return effects


BEATS = st.fixed_dictionaries({"tokens": st.sampled_from((0, 10, 500)), "cost_usd": st.just(0.01)})
HAPPENING = st.one_of(
    st.builds(lambda line: {"line": line, "agent": "a"}, BEATS),
    st.builds(lambda line: {"line": line, "agent": "b"}, BEATS),
    st.builds(lambda code: {"exit": {"code": code}, "agent": "a"}, st.integers(0, 2)),
    st.just({"exit": {"signal": 9, "oom": True}, "agent": "b"}),
    st.builds(
        lambda cmd, name: {"cmd": {"cmd": cmd, "args": {"select": [name]}}},
        st.sampled_from(("pause", "resume", "stop", "start", "restart", "kill", "hold", "unhold")),
        st.sampled_from("ab"),
    ),
    st.just({"rss": 5_000, "agent": "a"}),
    st.just({"daemon": "crash"}),
)
# Never at the very moment at which something is due.
WAITS = st.integers(0, 450).map(lambda step: 137 + 200 * step)
SESSIONS = st.lists(st.tuples(WAITS, HAPPENING), max_size=30)


def session(happenings: Sequence[tuple[int, dict[str, Any]]]) -> Iterator[str]:
    """A trace in which the daemon is up again soon after each crash."""
    t_ms = 0
    yield '{"t":0,"start":true}'
    for wait_ms, what in happenings:
        t_ms += wait_ms
        yield json.dumps({"t": t_ms / 1000, **what})
        if "daemon" in what:
            t_ms += 700
            yield json.dumps({"t": t_ms / 1000, "daemon": "start"})
    yield json.dumps({"t": (t_ms + 60_000) / 1000, "end": True})


def played(config: Config, lines: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    """What is decided of each agent: events and their reasons.

    Not their moments: who ends by itself in the very instant in which it is stopped is said to
    have been stopped, and in a simulation that takes a tenth of a second.
    """
    printed: list[str] = []
    driver.simulate(config, read_trace(lines, config.agents), printed.append)
    events = [event for event in map(json.loads, printed) if str(event.get("event")) in DECIDED]
    return {
        name: [(one["event"], one["reason"]) for one in events if one["agent"] == name]
        for name in config.agents
    }


DECIDED = (
    *("agent.exited", "agent.restarting", "agent.cooldown", "agent.escalated", "agent.completed"),
    *("agent.paused", "agent.resumed", "agent.killed", "agent.stopped", "agent.held"),
    *("agent.unreachable", "agent.degraded", "agent.healthy", "agent.recovered"),
    *("budget.exceeded", "cost.spike"),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SESSIONS)
def test_a_session_that_was_recorded_is_decided_alike(
    happenings: list[tuple[int, dict[str, Any]]],
) -> None:
    config = Config(
        agents={
            "a": AgentConfig(command=["x"], restart=RestartConfig(cooldown_ms=30_000)),
            "b": AgentConfig(command=["x"], restart=RestartConfig(policy="always")),
        }
    )
    lines = list(session(happenings))
    Recording.entries = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(driver, "Supervisor", Recording)
        lived = played(config, lines)
    end_ms = round(json.loads(lines[-1])["t"] * 1000)
    payload = record_entries.encoded(Recording.entries)
    tracing = Tracing(frozenset(config.agents), 0, str)
    whole = Span(BOOT, 0, end_ms, AT_MS_DEFAULT)
    traced = [
        *tracing.take(whole, record_entries.decoded(payload)),
        *tracing.end(end_ms + AT_MS_DEFAULT),
    ]
    assert played(config, [json.dumps(line) for line in traced]) == lived
