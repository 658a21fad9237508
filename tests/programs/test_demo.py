"""The demo fleet as a user would run it: every trouble is met, and nothing is left behind."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentd.client import Client, NotReachable
from tests.programs.places import AGENTD

FLEET = {"healthy", "crashing", "stuck", "leaking", "looping", "spending", "shell"}
TROUBLED = {"crashing", "stuck", "leaking", "looping", "spending"}
PATIENCE_S = 110.0
Document = dict[str, Any]


@dataclass
class Story:
    """What happened in one demo, from its first to its last moment."""

    home: Path
    events: list[Document] = field(default_factory=list)
    early: dict[str, Document] = field(default_factory=dict)
    """Each agent's status once it was healthy for the first time."""
    late: dict[str, Document] = field(default_factory=dict)
    adopted: dict[str, Document] = field(default_factory=dict)
    """After the daemon was killed and came back."""
    exit_code: int | None = None
    left: list[str] = field(default_factory=list)
    incidents: list[Document] = field(default_factory=list)
    alerts: str = ""
    """What its sink had written by then."""

    def of(self, agent: str, *kinds: str) -> list[Document]:
        return [e for e in self.events if e["agent"] == agent and (e["event"] in kinds)]

    def kinds(self, agent: str) -> list[str]:
        return [event["event"] for event in self.events if event["agent"] == agent]


class Watcher:
    """Follows the events in a thread; `until` waits for what they tell."""

    def __init__(self, socket: str, events: list[Document]) -> None:
        self._events = events
        self._news = threading.Condition()
        self._client = Client(socket)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        with contextlib.suppress(NotReachable):  # the demo has ended
            for event in self._client.events(after=0, follow=True):
                with self._news:
                    self._events.append(event)
                    self._news.notify_all()

    def until(self, told: Callable[[], object]) -> None:
        with self._news:
            assert self._news.wait_for(told, PATIENCE_S), [
                (event["agent"], event["event"]) for event in self._events
            ]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    log = tmp_path_factory.mktemp("demo") / "stderr"
    environment = {key: word for key, word in os.environ.items() if not key.startswith("AGENTD_")}
    demo = subprocess.Popen(
        [AGENTD, "demo"],
        stdout=subprocess.PIPE,
        stderr=log.open("wb"),
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        assert demo.stdout is not None
        socket = next(found[1] for line in demo.stdout if (found := re.search(r"T=(\S+)", line)))
        yield _lived_through(demo, socket)
    finally:
        demo.terminate()
        demo.wait(30)


def _lived_through(demo: "subprocess.Popen[str]", socket: str) -> Story:
    story = Story(Path(socket).parent)
    client = _client(socket)
    watcher = Watcher(socket, story.events)
    watcher.until(
        lambda: {e["agent"] for e in story.events if e["event"] == "agent.ready"} == FLEET
    )
    story.early = _agents(client)
    watcher.until(
        lambda: (
            story.of("crashing", "agent.escalated")
            and story.of("stuck", "agent.recovered")
            and story.of("leaking", "agent.recovered")
            and story.of("looping", "agent.paused")
            and story.of("spending", "agent.paused")
        )
    )
    story.late = _agents(client)
    watcher.until(lambda: {e["agent"] for e in story.events if _was_told(e)} >= TROUBLED)
    story.incidents = client.incidents()["incidents"]
    story.alerts = (story.home / "alerts.txt").read_text()
    os.kill(client.status()["daemon"]["pid"], signal.SIGKILL)
    watcher.until(lambda: story.of("healthy", "agent.adopted"))
    story.adopted = _agents(client)
    demo.send_signal(signal.SIGINT)  # Ctrl-C
    story.exit_code = demo.wait(30)
    story.left = _traces_of(story.home)
    return story


def _was_told(event: Document) -> bool:
    return event["event"] == "alert.sent"


def _client(socket: str) -> Client:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            client = Client(socket)
            client.ping()
        except NotReachable:
            assert time.monotonic() < end, "the demo's daemon doesn't answer"
            time.sleep(0.05)
        else:
            return client


def _agents(client: Client) -> dict[str, Document]:
    return {agent["name"]: agent for agent in client.status()["agents"]}


def _traces_of(home: Path) -> list[str]:
    """Processes that were started for it and live on, and its directory."""
    found = [str(home)] if home.exists() else []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                environment = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                if str(home).encode() in environment:
                    found.append(entry.name)
    return found


@pytest.mark.timeout(200)
def test_the_healthy_agent_is_healthy_and_shows_its_work(story: Story) -> None:
    shown = story.late["healthy"]
    assert (shown["state"], shown["health"], shown["restarts"]) == ("running", "healthy", 0)
    assert shown["tokens"]["total"] > 0
    assert shown["tasks"]["success_rate"] == 1.0
    assert shown["task"].startswith("ticket-")
    assert shown["pid"] == story.early["healthy"]["pid"]


def test_the_shell_script_waits_for_the_agent_it_needs_and_beats(story: Story) -> None:
    shown = story.late["shell"]
    assert (shown["health"], shown["tokens"]["total"] > 0) == ("healthy", True)
    assert story.of("shell", "agent.started")[0]["id"] > story.of("healthy", "agent.ready")[0]["id"]


def test_the_crashing_agent_is_restarted_cools_down_and_goes_to_a_human(story: Story) -> None:
    told = story.of(
        "crashing", "agent.exited", "agent.restarting", "agent.cooldown", "agent.escalated"
    )
    assert [event["event"] for event in told] == [
        *("agent.exited", "agent.restarting"),
        *("agent.exited", "agent.cooldown", "agent.restarting"),
        *("agent.exited", "agent.escalated"),
    ]
    assert {event["reason"] for event in told} == {"EXITED"}
    assert "3" in told[0]["message"]  # its exit code
    assert told[-1]["severity"] == "critical"
    shown = story.late["crashing"]
    assert (shown["state"], shown["health"], shown["pid"]) == ("escalated", "unreachable", None)


def test_the_stuck_agent_is_degraded_unreachable_and_restarted(story: Story) -> None:
    told = story.of("stuck", "agent.degraded", "agent.unreachable", "agent.restarting")
    assert [(event["event"], event["reason"]) for event in told[:3]] == [
        ("agent.degraded", None),
        ("agent.unreachable", "TIMEOUT"),
        ("agent.restarting", "TIMEOUT"),
    ]
    assert "summary-17" in told[1]["message"]  # what it was doing when it was last heard of
    # Where it hangs, with whom: by py-spy, or by its own word.
    assert re.search(r"do_handshake \(stuck\.py:\d+\), socket to 127\.0\.0\.1:", told[1]["message"])


def test_each_trouble_is_one_incident_and_was_told_to_people(story: Story) -> None:
    assert sorted(each["agents"] for each in story.incidents) == [
        [name] for name in sorted(TROUBLED)
    ]
    for name in TROUBLED:
        assert f": {name}\n" in story.alerts, story.alerts
    assert "do_handshake (stuck.py:" in story.alerts
    assert "next: agentctl incident 1\n" in story.alerts


def test_the_leaking_agent_is_told_of_before_its_limit_and_restarted_at_it(story: Story) -> None:
    told = story.of("leaking", "memory.leak", "memory.pressure", "memory.limit", "agent.restarting")
    assert [event["event"] for event in told] == [
        *("memory.leak", "memory.pressure", "memory.limit", "agent.restarting")
    ]
    assert told[-1]["reason"] == "MEMORY_LIMIT"
    assert told[2]["data"]["limit_bytes"] == 112 << 20
    assert story.late["leaking"]["restarts"] == 1


def test_the_looping_agent_is_warned_then_paused(story: Story) -> None:
    told = story.of("looping", "loop.warning", "loop.detected", "agent.paused")
    assert [event["event"] for event in told] == ["loop.warning", "loop.detected", "agent.paused"]
    assert told[-1]["reason"] == "LOOP_DETECTED"
    assert "web_search" in told[1]["message"]
    assert story.late["looping"]["state"] == "paused"


def test_the_spending_agent_is_stopped_within_its_only_cycle(story: Story) -> None:
    told = story.of("spending", "budget.warning", "budget.exceeded", "agent.paused")
    assert [event["event"] for event in told] == [
        *("budget.warning", "budget.exceeded", "agent.paused")
    ]
    assert told[-1]["reason"] == "BUDGET_EXCEEDED"
    shown = story.late["spending"]
    assert (shown["state"], shown["heartbeats"]) == ("paused", 1)
    assert 0.4 <= shown["cost_usd"]["run"] < 0.5  # one call is some three cents


def test_a_daemon_that_was_killed_comes_back_to_the_same_agents(story: Story) -> None:
    for name in ("healthy", "shell"):
        assert story.adopted[name]["pid"] == story.late[name]["pid"]
    assert story.adopted["crashing"]["state"] == "escalated"


def test_ctrl_c_leaves_nothing_behind(story: Story) -> None:
    assert (story.exit_code, story.left) == (0, [])
