"""What a daemon recorded, played to the same policy and to another (CONTRACT 6.3)."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.config.load import load
from agentd.simulate.driver import simulate
from agentd.simulate.trace import read_trace
from agentd.wire.commands import decode_command
from tests.daemon.harness import Daemon, Document, Refused, alive

# What a policy decides; the rest of an event (pids, exact moments) differs in every run.
DECISIONS = (
    *("agent.exited", "agent.restarting", "agent.cooldown", "agent.escalated", "agent.completed"),
    *("agent.paused", "agent.resumed", "agent.killed", "agent.stopped", "budget.exceeded"),
    *("agent.unreachable", "cost.spike"),
)


def trace_of(daemon: Daemon, *names: str, since_ms: int | None = None) -> list[Document]:
    """What the daemon streams of its recording."""
    lines: list[Document] = []
    args = {"select": list(names), "since_ms": since_ms, "trace": True}
    for line in daemon.follow("events", **args):
        if "trace" not in line:
            assert line["ok"], line
            assert line["result"] == {"lines": len(lines)}
            break
        lines.append(line["trace"])
    return lines


def replayed(config: Path, trace: list[Document], name: str) -> list[tuple[str, str | None]]:
    """What a policy decides about an agent over a trace: events and their reasons."""
    loaded = load(config)
    assert not loaded.errors
    told: list[str] = []
    text = [json.dumps(line) for line in trace]
    simulate(loaded.config, read_trace(text, loaded.config.agents), told.append)
    return decisions([event for event in map(json.loads, told) if event.get("agent") == name])


def decisions(events: list[Document]) -> list[tuple[str, str | None]]:
    wanted = [event for event in events if event.get("event") in DECISIONS]
    return [(event["event"], event["reason"]) for event in wanted]


def test_the_same_policy_decides_alike_and_another_does_not(daemon: Daemon) -> None:
    daemon.beater(
        "crasher", "every=0.05", "beats=6", "then=3", text="[restart]\nfailures_max = 3\n"
    )
    daemon.beater("worker", "every=0.05")
    daemon.start()
    daemon.until_state("crasher", "escalated")
    daemon.until("worker", lambda shown: shown["heartbeats"] > 5)
    daemon.ask("pause", select=["worker"], reason="lunch")
    daemon.until_state("worker", "paused")
    daemon.ask("resume", select=["worker"])
    daemon.until_state("worker", "running")
    daemon.ask("kill", select=["worker"])
    daemon.until_state("worker", "stopped")
    trace = trace_of(daemon)
    assert trace[0] | {"at": ""} == {
        "t": 0,
        "start": True,
        "at": "",
        "intents": {"crasher": "up", "worker": "up"},
    }
    assert "end" in trace[-1]
    for name in ("crasher", "worker"):
        lived = decisions(daemon.events(name))
        assert lived
        assert replayed(daemon.config, trace, name) == lived
    said = [line["line"] for line in trace if line.get("agent") == "worker" and "line" in line]
    assert sum(line["tokens"] for line in said) == daemon.status("worker")["tokens"]["total"]
    daemon.beater("crasher", text='[restart]\npolicy = "never"\n')
    daemon.beater("worker", text='[budget]\ntokens_per_run = 30\non_exceeded = "pause"\n')
    never = [event for event, _ in replayed(daemon.config, trace, "crasher")]
    assert "agent.exited" in never
    assert "agent.restarting" not in never
    assert "budget.exceeded" in [event for event, _ in replayed(daemon.config, trace, "worker")]


def test_a_crash_of_the_daemon_is_replayed_with_what_died_meanwhile(daemon: Daemon) -> None:
    daemon.beater("a", "every=0.05")
    daemon.start()
    shown = daemon.until("a", lambda shown: shown["heartbeats"] > 3)
    trace_of(daemon)  # all that was said is on disk now
    daemon.crash()
    os.kill(shown["pid"], signal.SIGKILL)
    daemon.until_true(lambda: not alive(shown["pid"]))
    daemon.start()
    daemon.until("a", lambda shown: shown["restarts"] == 1 and shown["heartbeats"] > 3)
    trace = trace_of(daemon)
    kinds = [next(iter(line.keys() - {"t", "agent"})) for line in trace]
    assert kinds.count("daemon") == 2
    crash = kinds.index("daemon")
    assert kinds[crash : crash + 3] == ["daemon", "exit", "daemon"]
    assert replayed(daemon.config, trace, "a") == decisions(daemon.events("a"))


def test_a_trace_begins_where_it_is_asked_to(daemon: Daemon) -> None:
    daemon.beater("a", "every=0.05")
    daemon.beater("b", "every=0.05")
    daemon.start()
    daemon.until("a", lambda shown: shown["heartbeats"] > 5)
    daemon.ask("kill", select=["b"])
    daemon.until_state("b", "stopped")
    trace_of(daemon)
    since_ms = time.time_ns() // 1_000_000
    daemon.until("a", lambda shown: shown["heartbeats"] > 15)
    trace = trace_of(daemon, "a", "b", since_ms=since_ms)
    assert trace[0]["intents"] == {"a": "up", "b": "killed"}
    assert {line["agent"] for line in trace if "agent" in line} == {"a"}
    assert 0 <= trace[1]["t"] < 1
    assert [event for event, _ in replayed(daemon.config, trace, "b")] == []


def test_only_operators_get_a_trace_and_only_as_a_stream(daemon: Daemon) -> None:
    daemon.start()
    with pytest.raises(Refused, match="streamed"):
        daemon.ask("events", trace=True)
    assert decode_command(b'{"cmd":"events","args":{"trace":true}}').needs == "operator"
    assert decode_command(b'{"cmd":"events"}').needs == "viewer"


def test_a_recorder_that_is_turned_off_says_so_and_deletes_what_it_has(daemon: Daemon) -> None:
    daemon.beater("a", "every=0.05")
    daemon.start()
    daemon.until("a", lambda shown: shown["heartbeats"] > 3)
    assert trace_of(daemon)
    folder = daemon.root / "state" / "recorder"
    assert list(folder.iterdir())
    daemon.configure('recorder_max = "0"')
    daemon.ask("reload")
    with pytest.raises(Refused, match="nothing is recorded"):
        list(trace_refused(daemon))
    daemon.until_true(lambda: not list(folder.iterdir()))


def trace_refused(daemon: Daemon) -> Iterator[Document]:
    for line in daemon.follow("events", trace=True):
        if not line.get("ok", True):
            raise Refused(line["error"])
        yield line


def test_no_argument_of_another_command_is_taken_for_an_action(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.ask("ping", action="shutdown") == {"pong": True}
    assert daemon.ask("version", action="shutdown")["version"]
    assert daemon.ask("ping") == {"pong": True}


def test_agentctl_prints_what_agentd_simulate_reads(daemon: Daemon, tmp_path: Path) -> None:
    daemon.beater("a", "every=0.05", "beats=4", "then=1")
    daemon.start()
    daemon.until("a", lambda shown: shown["restarts"] >= 1)
    ctl = [sys.executable, "-m", "agentd.cli", "--socket", str(daemon.socket)]
    trace = tmp_path / "last-week.jsonl"
    with trace.open("w") as file:
        subprocess.run([*ctl, "events", "--trace", "a", "--since", "1h"], stdout=file, check=True)
    simulated = subprocess.run(
        [sys.executable, "-m", "agentd", "simulate", "--config", str(daemon.config), str(trace)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = decisions(list(map(json.loads, simulated.stdout.splitlines())))
    assert told[:2] == [("agent.exited", "EXITED"), ("agent.restarting", "EXITED")]
    wrong = subprocess.run([*ctl, "events", "--trace", "-f"], capture_output=True, check=False)
    assert wrong.returncode == 2
