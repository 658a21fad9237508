"""Messages to deliver, and whoever runs a sink's programs in the place of the daemon."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.config.schema import SinkConfig
from agentd.sinks.http import Http
from agentd.sinks.message import Message, Program, Resources

CANARY = "canary-T0p53cret"

EVENT: dict[str, object] = {
    "id": 123,
    "time": "2026-11-21T03:00:05.123Z",
    "host": "web-1",
    "agent": "orders",
    "incarnation": "9f2c",
    "event": "agent.unreachable",
    "severity": "critical",
    "reason": "TIMEOUT",
    "message": "silent for 5m; stuck 5m in do_handshake (api_client.py:47), socket to 10.0.0.7:443",
    "data": {"silence_ms": 300_120},
}
INCIDENT: dict[str, object] = {
    "id": 12,
    "agent": "orders",
    "agents": ["orders", "mailer"],
    "cause": "TIMEOUT",
    "severity": "critical",
    "opened": "2026-11-21T03:00:05.123Z",
    "resolved": None,
    "acknowledged_by": None,
    "summary": "orders hangs in a TLS handshake",
    "restarts": 1,
    "open": True,
}
TRIGGER = Message(
    alert_id="a-1",
    dedup_key="web-1/12",
    kind="trigger",
    severity="critical",
    host="web-1",
    agent="orders",
    event=EVENT,
    incident=INCIDENT,
    next="agentctl incident 12",
)
REPORT = replace(
    TRIGGER,
    kind="digest",
    severity="info",
    agent=None,
    event={},
    incident=None,
    next="agentctl report --date 2026-11-20",
    report={"date": "2026-11-20", "host": "web-1", "agents": [], "slow_problems": [], "ok": True},
    report_text="2026-11-20, web-1: 1 agent waits for you\n\nNeeds you:\n  orders: <escalated>\n",
)


@dataclass(frozen=True)
class Ended:
    ok: bool
    told: str


def run(program: Program) -> Ended:
    """Run a program; the real one is tests/daemon/test_errands.py."""
    try:
        ended = subprocess.run(
            program.argv,
            input=program.stdin,
            env={"PATH": "/usr/bin:/bin", **program.environment},
            timeout=program.timeout_ms / 1000,
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ended(ok=False, told=f"took longer than {program.timeout_ms / 1000:g} s")
    said = ended.stderr.decode().strip()
    return Ended(ended.returncode == 0, f"exited with code {ended.returncode}: {said}")


def resources(directory: Path) -> Resources:
    return Resources(directory, run)


def config(kind: str, **options: object) -> SinkConfig:
    return SinkConfig(name="ops", type=kind, **options)  # type: ignore[arg-type]


def hasty() -> Http:
    """Whoever waits half a second, for tests of what never comes."""
    return Http(deadline_s=0.5)
