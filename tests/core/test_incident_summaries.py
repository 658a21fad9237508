"""What an incident is called by: of all that is told of it, what says most of what broke."""

from agentd.config.agent import MemoryConfig
from agentd.config.units import Bytes
from agentd.core import effects as do
from agentd.core import events as ev
from tests.core.cases import MINUTE, S, alerts, fleet_of, only
from tests.core.fleet import Fleet, seen

MIB = 1 << 20
WHERE = "in do_handshake (api_client.py:47), socket to 10.0.0.7:443, CPU 0 %"


def look(fleet: Fleet, line: str = WHERE) -> None:
    """Answer the last look."""
    asked = [one for _, one in fleet.effects if isinstance(one, do.Diagnose)]
    fleet.tell(seen(asked[-1], line))


def test_what_says_where_it_is_stuck_is_what_the_incident_is_called_by() -> None:
    fleet = fleet_of("a")
    fleet.sees_at_once = False
    fleet.pass_time(301 * S + 1)
    assert only(fleet).summary.startswith("a is degraded: silent for 1m30s")
    look(fleet)
    assert only(fleet).severity == "warning"
    assert only(fleet).summary.startswith(f"a is unreachable: stuck 5m {WHERE}; silent for 5m")
    told = alerts(fleet)[-1]
    assert told.record.event == "agent.unreachable"
    assert told.incident == only(fleet)
    fleet.end("a", signal=15)
    assert only(fleet).summary.startswith(f"a is unreachable: stuck 5m {WHERE}; ")


def test_an_end_says_more_than_silence_and_less_than_where_it_was_stuck() -> None:
    fleet = fleet_of("a")
    fleet.pass_time(2 * MINUTE)
    fleet.end("a", signal=11)
    assert only(fleet).summary == "a failed: CRASHED: signal 11 (SIGSEGV)"
    fleet.end("a", 3 * MINUTE, code=1)
    assert only(fleet).summary == "a failed: CRASHED: signal 11 (SIGSEGV)"


def test_what_the_kernel_did_says_more_than_a_limit_that_was_reached() -> None:
    limited = MemoryConfig(limit_bytes=Bytes(100 * MIB), on_limit="alert")
    fleet = fleet_of("a", memory=limited)
    fleet.tell(ev.Sampled("a", 1, 200 * MIB, cpu_ms=0, io_bytes=0), 2 * S)
    assert only(fleet).summary.startswith("a reached its memory limit: ")
    killed = ev.ExitEvidence(oom_kills=1, oom_source="memory.events: oom_kill 0 -> 1")
    fleet.end("a", 3 * S, signal=9, evidence=killed)
    assert only(fleet).summary.startswith("a failed: OOM_KILLED: signal 9 (SIGKILL); memory.events")
