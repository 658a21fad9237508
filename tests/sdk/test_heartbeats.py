"""Heartbeats and what leaves with them."""

import json
import threading
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import pytest

import agentd
from agentd.sdk import link
from agentd.wire.lines import decode_line
from tests.sdk.daemons import FakeDaemon, until

COUNTED = {"seq", "ts"}


def said(line: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in line.items() if name not in COUNTED}


def next_control() -> dict[str, object]:
    found: list[dict[str, object]] = []
    until(lambda: bool(control := agentd.control()) and not found.append(control))
    return found[0]


def test_the_first_line_tells_who_speaks(daemon: FakeDaemon) -> None:
    agentd.heartbeat()
    daemon.wait()
    assert daemon.lines[0] == {
        "type": "hello",
        "token": "the-token",
        "sdk": f"python/{agentd.__version__}",
    }


def test_a_heartbeat_carries_what_is_said_and_nothing_else(daemon: FakeDaemon) -> None:
    agentd.heartbeat(tokens=900, task="ticket-918", progress=0.3, status="waiting_llm")
    agentd.heartbeat()
    first, second = daemon.wait(count=2)
    assert said(first) == {
        "status": "waiting_llm",
        "tokens": 900,
        "task": "ticket-918",
        "progress": 0.3,
    }
    assert said(second) == {}
    assert second["seq"] > first["seq"]


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("tokens", 1_000_000_000, 1_000_000_000),
        ("tokens", 1_000_000_001, None),  # the daemon would refuse the line
        ("tokens", 0, 0),
        ("tokens", -1, None),
        ("tokens", 12.0, 12),
        ("tokens", True, None),
        ("tokens", "900", None),
        ("cost_usd", 0, 0.0),  # known to be free, not unknown
        ("cost_usd", Decimal("0.25"), 0.25),
        ("cost_usd", float("nan"), None),
        ("cost_usd", float("inf"), None),
        ("cost_usd", 100_000.1, None),
        ("task", 918, "918"),
        ("task", "x" * 2000, "x" * 1024),
        ("task", "half \ud800 a pair\0", "half ? a pair?"),
        ("task", "two\nlines \u2028 and a tab\t", "two\nlines \u2028 and a tab\t"),
        ("task", ["a"], None),
        ("step", 17, 17),
        ("step", 1.5, 1.5),
        ("step", "search", "search"),
        ("progress", 1.5, 1.0),
        ("progress", {"done": 3, "total": 4, "state_fp": "ab"}, None),
        ("progress", {"done": -3}, None),
        ("latency_ms", 12, [12.0]),
        ("latency_ms", [1, "x", 3], [1.0, 3.0]),
        ("latency_ms", list(range(100)), [float(ms) for ms in range(36, 100)]),
        ("status", "resting", None),
        ("success", True, True),
        ("success", "yes", None),
        ("usage", {"input_tokens": 5, "output_tokens": 6}, None),
        ("usage", object(), None),
        ("silence_s", 300, 300.0),
    ],
)
def test_what_a_field_may_hold(daemon: FakeDaemon, name: str, value: object, sent: object) -> None:
    agentd.heartbeat(**{name: value}, model="stays")
    (line,) = daemon.wait()
    assert line["model"] == "stays"
    whole = {"progress": {"done": 3, "total": 4, "state_fp": "ab"}}
    whole["usage"] = {"input_tokens": 5, "output_tokens": 6}
    if value == whole.get(name):
        sent = value
    assert line.get(name) == sent
    assert link.LINK.ignored == (sent is None)


def test_the_daemon_takes_every_field(daemon: FakeDaemon) -> None:
    agentd.heartbeat(
        status="ok", tokens=1, usage={"input_tokens": 1}, cost_usd=0.1, model="m", provider="p",
        success=True, latency_ms=[1, 2], task="t", step=1, tool="t", goal="g", progress=0.5,
        silence_s=1, retry_after_s=1, off_thread=True,
    )  # fmt: skip
    (line,) = daemon.wait()
    assert decode_line(json.dumps(line).encode()).line


def test_a_strenum_is_a_text(daemon: FakeDaemon) -> None:
    class Status(StrEnum):
        IDLE = "idle"

    agentd.heartbeat(status=Status.IDLE, task=Status.IDLE)
    assert said(daemon.wait()[0]) == {"status": "idle", "task": "idle"}


def test_wrong_arguments_are_left_out_and_counted(daemon: FakeDaemon) -> None:
    agentd.heartbeat("by position", colour="red", task="t")
    assert said(daemon.wait()[0]) == {"task": "t"}
    assert link.LINK.ignored == 2


def test_reports_leave_with_the_next_heartbeat(daemon: FakeDaemon) -> None:
    agentd.report(success=True, latency_ms=230, cost_usd=0.03)
    agentd.report(success=False, latency_ms=[1, 2])
    agentd.report(successes=3, cost_usd=0.01)
    agentd.heartbeat(success=True, latency_ms=9)
    agentd.heartbeat()
    first, second = daemon.wait(count=2)
    assert said(first) == {
        "cost_usd": pytest.approx(0.04),
        "successes": 4,
        "failures": 1,
        "latency_ms": [230.0, 1.0, 2.0, 9.0],
        "success": True,
    }
    assert said(second) == {}


def test_of_many_reports_the_sums_and_the_newest_latencies_are_kept(daemon: FakeDaemon) -> None:
    for ms in range(1000):
        agentd.report(success=True, latency_ms=ms)
        assert len(link.LINK.tally._waiting) < 64
    assert link.LINK.tally._sum is not None
    assert len(link.LINK.tally._sum.latencies_ms) == 64
    agentd.heartbeat()
    (line,) = daemon.wait()
    assert line["successes"] == 1000
    assert line["latency_ms"] == [float(ms) for ms in range(936, 1000)]


def test_reports_of_many_threads_add_up(daemon: FakeDaemon) -> None:
    def work() -> None:
        for _ in range(500):
            agentd.report(successes=1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    agentd.heartbeat()
    assert daemon.wait()[0]["successes"] == 2000


def test_the_goal_leaves_once_with_the_next_heartbeat(daemon: FakeDaemon) -> None:
    agentd.goal("answer all tickets")
    agentd.heartbeat()
    agentd.heartbeat()
    first, second = daemon.wait(count=2)
    assert said(first) == {"goal": "answer all tickets"}
    assert said(second) == {}


def test_silence_parking_and_the_end_are_heartbeats(daemon: FakeDaemon) -> None:
    agentd.expect_silence(600)
    agentd.parked(30)
    assert not agentd.should_stop()
    agentd.shutting_down()
    assert agentd.should_stop()
    assert [said(line) for line in daemon.wait(count=3)] == [
        {"silence_s": 600.0},
        {"status": "error", "retry_after_s": 30.0},
        {"status": "shutting_down"},
    ]


def test_a_beat_of_another_thread_than_the_first_is_marked(daemon: FakeDaemon) -> None:
    agentd.heartbeat(task="loop")
    other = threading.Thread(target=lambda: agentd.heartbeat(task="aside"))
    other.start()
    other.join()
    agentd.heartbeat(task="loop")
    marks = [(line["task"], line.get("off_thread")) for line in daemon.wait(count=3)]
    assert marks == [("loop", None), ("aside", True), ("loop", None)]


def test_a_control_is_read_without_waiting(daemon: FakeDaemon) -> None:
    agentd.heartbeat()
    assert agentd.control() is None
    daemon.say(action="steer", reason="LOOP_DETECTED", text="try something else")
    assert next_control() == {
        "action": "steer",
        "reason": "LOOP_DETECTED",
        "text": "try something else",
    }
    assert agentd.control() is None
    assert not agentd.should_stop()


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ({"action": "stop"}, True),
        ({"action": "pause", "mode": "checkpoint", "reason": "BUDGET_EXCEEDED"}, True),
        ({"action": "pause", "reason": "USER_PAUSED"}, False),  # the system freezes it
        ({"action": "breaker", "name": "openai"}, False),
    ],
)
def test_should_stop(daemon: FakeDaemon, control: dict[str, str], expected: bool) -> None:
    agentd.heartbeat()
    daemon.say(**control)
    next_control()
    assert agentd.should_stop() is expected
    daemon.say(action="resume")
    next_control()
    assert not agentd.should_stop()


def test_controls_that_nobody_reads_are_bounded(daemon: FakeDaemon) -> None:
    agentd.heartbeat()
    for number in range(100):
        daemon.say(action="steer", number=number)
    daemon.say(action="stop")
    until(agentd.should_stop)
    numbers = []
    while control := agentd.control():
        numbers.append(control.get("number"))
    assert numbers == [*range(85, 100), None]


@pytest.mark.usefixtures("nobody")
def test_without_a_daemon_all_of_it_does_nothing() -> None:
    agentd.heartbeat(tokens=1)
    agentd.report(success=True)
    agentd.goal("g")
    with agentd.call("chat") as call, agentd.step("s", args="a") as step:
        call.usage(object())
        step.output({"error": 1})
    with agentd.action("a", key="k") as action:
        pass
    assert not action.acknowledged
    assert agentd.checkpoint({"a": 1}) is False
    assert agentd.restored() is None
    assert agentd.unfinished() == []
    assert agentd.control() is None
    assert not agentd.should_stop()
    assert link.LINK.ignored == 0


def test_a_path_that_no_socket_can_have_is_like_no_daemon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENTD_SOCKET", str(tmp_path / ("x" * 200)))
    link.reset()
    agentd.heartbeat()
    assert not link.LINK.connected
