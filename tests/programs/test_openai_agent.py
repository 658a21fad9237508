"""The example agent on the public `openai` package, against the stub provider it ships with.

One daemon, three pairs of provider and agent: one that is well, one whose provider hangs,
one whose provider is over quota.
"""

import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON, Daemon, Document
from tests.programs.places import AGENTD, EXAMPLES
from tests.programs.waiting import awaited

DEADLINE_S = 6
TICKETS_BEFORE = 2
REPLIES = ("The order ships tomorrow.", "Refund granted.", "Please send the invoice number.")
TROUBLES = {
    "well": [],
    "hangs": ["--hang-after", str(TICKETS_BEFORE)],
    "quota": ["--fail-after", str(TICKETS_BEFORE), "--retry-after", "2"],
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tokens_of(tickets: int) -> int:
    """What the stub counts for so many tickets."""
    prompts = (len(f"Answer ticket-{n}.") // 4 + 4 for n in range(1, tickets + 1))
    replies = (len(REPLIES[n % 3]) // 4 + 1 for n in range(1, tickets + 1))
    return sum(prompts) + sum(replies)


def moment(event: Document) -> datetime:
    return datetime.fromisoformat(event["time"])


@pytest.fixture(scope="module")
def fleet() -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="agentd-") as folder:
        Path(folder).chmod(0o755)
        daemon = Daemon(Path(folder))
        for name, trouble in TROUBLES.items():
            port = free_port()
            stub = [PYTHON, "-u", str(EXAMPLES / "stub_model.py"), "--port", str(port), *trouble]
            daemon.agent(f"{name}-provider", stub, "heartbeat.required = false")
            environment = {
                "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
                "CALL_DEADLINE_S": str(DEADLINE_S),
                "PAUSE_S": "0.2",
            }
            lines = ", ".join(f"{key} = {json.dumps(text)}" for key, text in environment.items())
            daemon.agent(
                name,
                [PYTHON, "-u", str(EXAMPLES / "openai_agent" / "agent.py")],
                f'depends_on = ["{name}-provider"]\nenvironment = {{ {lines} }}\n'
                'startup_timeout = "60s"\nheartbeat.unreachable_after = "4s"\n',
            )
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.close()


def test_each_cycle_beats_with_the_tokens_that_the_provider_counted(fleet: Daemon) -> None:
    shown = fleet.until("well", lambda s: s["heartbeats"] >= 4)
    assert (shown["state"], shown["health"], shown["failures"]) == ("running", "healthy", 0)
    assert shown["tokens"]["total"] == tokens_of(shown["heartbeats"])
    assert shown["task"] == f"ticket-{shown['heartbeats']}"
    assert (shown["tasks"]["success"], shown["tasks"]["failure"]) == (shown["heartbeats"], 0)
    assert shown["tasks"]["latency_ms"]["mean"] > 0
    assert shown["cost_usd"]["known"] is False  # nobody said what a token costs: never 0


def test_an_agent_is_started_once_its_provider_is_ready(fleet: Daemon) -> None:
    [started] = awaited(fleet, "well", "agent.started")
    [ready] = awaited(fleet, "well-provider", "agent.ready")
    assert ready["id"] < started["id"]
    assert fleet.status("well")["depends_on"] == ["well-provider"]


def test_a_quota_parks_the_agent_and_is_no_failure(fleet: Daemon) -> None:
    shown = fleet.until_state("quota", "parked")
    assert 0 < shown["parked_s"] <= 2
    assert shown["pid"] is not None
    awaited(fleet, "quota", "agent.parked", 2)  # it came back, asked again, was told again
    shown = fleet.status("quota")
    assert (shown["failures"], shown["restarts"]) == (0, 0)
    assert fleet.events("quota", "agent.unreachable") == []


def test_a_hanging_provider_explains_silence_up_to_the_deadline_of_the_call(
    fleet: Daemon,
) -> None:
    """Silent for longer than `unreachable_after`, and well: the model is thinking."""
    [told] = awaited(fleet, "hangs", "agent.unreachable")
    assert told["reason"] == "TIMEOUT"
    assert "past its deadline" in told["message"]
    assert "chat openai stub-1" in told["message"]
    # Well until then: it may show as degraded for the last millisecond alone.
    degraded = [
        event for event in fleet.events("hangs", "agent.degraded") if event["id"] < told["id"]
    ]
    assert all(moment(told) - moment(event) < timedelta(seconds=0.5) for event in degraded)
    [restarting] = awaited(fleet, "hangs", "agent.restarting")
    assert restarting["reason"] == "TIMEOUT"
    shown = fleet.until("hangs", lambda s: s["incarnation"] != told["incarnation"])
    assert shown["restarts"] == 1
    assert fleet.status("hangs-provider")["restarts"] == 0


def test_the_example_config_is_right_from_any_directory() -> None:
    for config in EXAMPLES.glob("*/*.toml"):
        checked = subprocess.run(
            [AGENTD, "check", "--json", "--config", config],
            cwd="/",
            capture_output=True,
            check=False,
        )
        assert (checked.returncode, json.loads(checked.stdout)["errors"]) == (0, [])
