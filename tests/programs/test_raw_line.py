"""A Python agent that talks the raw socket line: all it says is shown, as the person reads it."""

import json

import pytest

from tests.daemon.harness import PYTHON, Daemon
from tests.programs.places import AGENTS

BEAT = {
    "status": "waiting_tool",
    "tokens": 900,
    "cost_usd": 0.01,
    "model": "stub-1",
    "success": True,
    "latency_ms": 200,
    "task": "ticket-918",
    "step": 17,
    "tool": "web_search",
    "goal": "empty the inbox",
    "progress": 0.3,
    "seq": 1,
    "ts": 1.0,
    "a_field_of_tomorrow": {"kept": "out of the way"},
}
LAST = {
    "status": "waiting_llm",
    "usage": {"input_tokens": 80, "output_tokens": 20},
    "cost_usd": 0.002,
    "successes": 2,
    "failures": 1,
    "latency_ms": [100, 300, 400],
    "progress": {"done": 8, "total": 16},
    "silence_s": 120,
}
CALL = {"type": "call", "phase": "start", "call": "c7", "op": "chat", "provider": "openai"}


def worker(daemon: Daemon, *lines: dict[str, object]) -> None:
    words = [json.dumps(line) for line in lines]
    daemon.agent("worker", [PYTHON, "-S", str(AGENTS / "worker.py"), *words])
    daemon.start()


def test_all_that_a_heartbeat_says_is_shown(daemon: Daemon) -> None:
    worker(daemon, BEAT, LAST)
    shown = daemon.until("worker", lambda s: s["heartbeats"] == 2)
    assert (shown["state"], shown["health"]) == ("running", "healthy")
    told = ("status", "task", "step", "tool", "goal", "progress")
    assert [shown[key] for key in told] == [
        *("waiting_llm", "ticket-918", "17", "web_search", "empty the inbox", 0.5)
    ]
    assert (shown["tokens"]["total"], shown["tokens"]["last_cycle"]) == (1_000, 100)
    assert shown["cost_usd"]["run"] == pytest.approx(0.012)
    assert shown["cost_usd"]["known"] is True
    assert shown["tasks"] == {
        "success": 3,
        "failure": 1,
        "success_rate": 0.75,
        "latency_ms": {"mean": 250.0, "p95": 400.0},
    }
    assert 0 < shown["expected_silence_s"] <= 120


def test_an_announced_silence_holds_the_verdict_off_and_no_announcement_does_not(
    daemon: Daemon,
) -> None:
    worker(daemon, {"silence_s": 60, "task": "long"})
    daemon.agent("silent", [PYTHON, "-S", str(AGENTS / "worker.py"), json.dumps({"task": "x"})])
    daemon.ask("reload")
    daemon.until("silent", lambda s: s["last_exit"] and s["last_exit"]["reason"] == "TIMEOUT")
    shown = daemon.status("worker")  # the older of the two, and as silent
    assert (shown["health"], shown["restarts"], shown["heartbeats"]) == ("healthy", 0, 1)
    assert shown["silence_s"] > 2


def test_an_open_call_is_shown_and_its_usage_counts_once(daemon: Daemon) -> None:
    first = {**CALL, "call": "c6"}
    usage = {"input_tokens": 500, "output_tokens": 70}
    ended = {"type": "call", "phase": "end", "call": "c6", "ok": True, "usage": usage}
    worker(daemon, first, ended, {"tokens": 570}, {**CALL, "deadline_s": 60})
    shown = daemon.until("worker", lambda s: s["heartbeats"] and s["open_call"])
    assert shown["tokens"]["total"] == 570
    assert shown["open_call"]["label"] == "chat openai"
    assert 0 < shown["open_call"]["left_s"] <= 60
    assert 0 < shown["expected_silence_s"] <= 60


def test_a_bad_line_costs_the_agent_nothing_but_the_line(daemon: Daemon) -> None:
    worker(daemon, {"task": "a"}, {"tokens": -5}, {"task": "b"})
    shown = daemon.until("worker", lambda s: s["heartbeats"] == 2)
    assert (shown["task"], shown["tokens"]["total"]) == ("b", 0)
    assert daemon.ask("status")["daemon"]["lines_rejected"] == 1
