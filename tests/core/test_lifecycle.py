"""Starts, ends and silence, through the one door of the core."""

import pytest

from agentd.config.agent import AgentConfig, HeartbeatConfig, MemoryConfig, RestartConfig
from agentd.config.units import Bytes, Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core import liveness
from agentd.core.lines import ActionBegun, Call, Heartbeat, Notify, Status
from agentd.core.states import Health, State, StopReason
from tests.core.fleet import Fleet, config, kinds, running

MINUTE_MS = 60_000


def test_the_first_restart_comes_at_once_the_second_waits_the_third_failure_escalates() -> None:
    fleet = running()
    fleet.end("a", 2_000, code=3)
    assert fleet.starts_of("a") == [0, 2_000]
    fleet.end("a", 2_500, code=3)
    assert fleet.state_of("a") is State.COOLDOWN
    fleet.pass_time(2_000 + 5 * MINUTE_MS - 1)
    assert fleet.starts_of("a") == [0, 2_000]
    fleet.pass_time(2_000 + 5 * MINUTE_MS)
    assert fleet.starts_of("a") == [0, 2_000, 302_000]
    fleet.end("a", 302_100, code=3)
    assert fleet.state_of("a") is State.ESCALATED
    assert len(fleet.told("agent.escalated")) == 1
    fleet.pass_time(10_000_000)
    assert len(fleet.starts_of("a")) == 3


def test_the_row_starts_anew_after_stable_health() -> None:
    fleet = running()
    fleet.end("a", 2_000, code=1)
    fleet.beat("a", 3_000)
    for at_ms in range(20_000, 15 * MINUTE_MS + 40_000, 20_000):
        fleet.beat("a", at_ms)
    assert fleet["a"].durable.failures == 0
    fleet.end("a", 16 * MINUTE_MS, code=1)
    assert fleet.starts_of("a")[-1] == 16 * MINUTE_MS


def test_degraded_time_is_not_stable_time() -> None:
    fleet = running()
    fleet.end("a", 2_000, code=1)
    fleet.beat("a", 3_000)
    for at_ms in range(100_000, 16 * MINUTE_MS, 100_000):  # each time degraded at 90 s
        fleet.beat("a", at_ms)
    assert fleet["a"].durable.failures == 1


@pytest.mark.parametrize(
    ("silent_ms", "health"),
    [
        (89_999, Health.HEALTHY),
        (90_000, Health.DEGRADED),
        (300_000, Health.DEGRADED),
        (300_001, Health.UNREACHABLE),
    ],
)
def test_health_follows_silence(silent_ms: int, health: Health) -> None:
    fleet = running(heartbeat=HeartbeatConfig(on_unreachable="alert"))
    fleet.pass_time(1_000 + silent_ms)
    assert liveness.health_of(fleet["a"], fleet.now_ms) is health


def test_an_unreachable_agent_is_stopped_and_restarted_by_policy() -> None:
    fleet = running()
    fleet.pass_time(1_000 + 300_001)
    assert fleet.state_of("a") is State.STOPPING
    assert fleet.told("agent.unreachable")[0].severity == "warning"
    fleet.end("a", 302_000, signal=15)
    assert fleet["a"].durable.last_exit is not None
    assert fleet["a"].durable.last_exit.reason is StopReason.TIMEOUT
    assert fleet["a"].durable.failures == 1
    assert fleet.starts_of("a") == [0, 302_000]


def test_b9_an_announced_silence_is_expected_once() -> None:
    fleet = running(heartbeat=HeartbeatConfig(on_unreachable="alert"))
    fleet.beat("a", 2_000, Heartbeat(silence_ms=600_000))
    fleet.pass_time(602_000 + 89_999)
    assert not fleet.told("agent.degraded")
    fleet.beat("a", 691_999)
    fleet.pass_time(691_999 + 90_000)
    assert len(fleet.told("agent.degraded")) == 1


def test_an_announced_silence_is_capped() -> None:
    fleet = running(heartbeat=HeartbeatConfig(max_silence_ms=Milliseconds(10_000)))
    fleet.beat("a", 2_000, Heartbeat(silence_ms=600_000))
    fleet.pass_time(12_000 + 90_000)
    assert fleet.told("agent.degraded")


def test_waiting_for_a_human_is_expected_silence() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(status=Status.WAITING_HUMAN))
    fleet.pass_time(3_602_000)
    assert not fleet.told("agent.degraded")


def test_an_open_call_explains_silence_up_to_its_deadline_and_not_beyond() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Call("c1", start=True, deadline_ms=600_000))
    fleet.pass_time(601_999)
    assert not fleet.told("agent.degraded", "agent.unreachable")
    fleet.pass_time(602_001)
    assert fleet.told("agent.unreachable")


def test_the_end_of_a_call_is_a_sign_of_life() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Call("c1", start=True, deadline_ms=600_000))
    fleet.beat("a", 500_000, Call("c1", start=False, ok=True))
    fleet.pass_time(589_999)
    assert not fleet.told("agent.degraded")


def test_p5_a_gap_of_our_own_is_nobodys_silence() -> None:
    fleet = running()
    fleet.now_ms = 400_000  # nothing was served for 399 seconds
    fleet.tell(ev.Gap(399_000, "stall"))
    fleet.tell(ev.Ticked())
    assert not fleet.told("agent.degraded", "agent.unreachable")
    assert fleet.told("daemon.stalled")


def test_a_start_that_takes_too_long_is_a_failure() -> None:
    fleet = Fleet({"a": config()}).start()
    fleet.pass_time(119_999)
    assert fleet.state_of("a") is State.STARTING
    fleet.pass_time(120_000)
    assert fleet.state_of("a") is State.STOPPING
    fleet.end("a", 120_100, signal=15)
    assert fleet["a"].durable.reason is StopReason.STARTUP_TIMEOUT
    assert fleet["a"].durable.failures == 1


def test_a_silent_exit_is_not_taken_for_success() -> None:
    fleet = running()
    fleet.end("a", 2_000, code=0)
    assert fleet.state_of("a") is State.COMPLETED
    assert fleet.told("agent.completed")[0].severity == "warning"


def test_a_late_event_of_an_old_incarnation_changes_nothing() -> None:
    fleet = running()
    fleet.end("a", 2_000, code=1)
    before = fleet["a"].durable.failures
    assert fleet.tell(ev.Exited("a", 1, code=1)) == []
    assert fleet.tell(ev.TreeEmpty("a", 1)) == []
    assert fleet.tell(ev.LinesReceived("a", 1, (Heartbeat(),))) == []
    assert fleet["a"].durable.failures == before


def test_p4_a_tree_that_still_lives_blocks_the_next_start() -> None:
    fleet = running()
    made = fleet.tell(ev.Exited("a", 1, code=1, evidence=ev.ExitEvidence(survivors=2)), 2_000)
    assert do.KillTree("a", 1) in made
    fleet.pass_time(900_000)
    assert fleet.starts_of("a") == [0]
    fleet.tell(ev.TreeEmpty("a", 1))
    assert fleet.starts_of("a") == [0, 900_000]


def test_p8_a_shortage_of_the_host_is_retried_and_not_charged() -> None:
    fleet = Fleet({"a": config()})
    fleet.can_spawn = False
    fleet.start()
    fleet.tell(ev.SpawnFailed("a", 1, "EAGAIN", shortage=True))
    fleet.pass_time(999)
    assert len(fleet.spawns) == 1
    fleet.pass_time(1_000)
    assert len(fleet.spawns) == 2
    assert fleet["a"].durable.failures == 0


def test_a9_a_wrong_command_is_a_failure() -> None:
    fleet = Fleet({"a": config()})
    fleet.can_spawn = False
    fleet.start()
    fleet.tell(ev.SpawnFailed("a", 1, "ENOENT: /no/such: no such file"))
    assert fleet["a"].durable.reason is StopReason.SPAWN_FAILED
    assert fleet["a"].durable.failures == 1


def test_a_dependant_starts_when_its_dependency_is_ready_and_stops_before_it() -> None:
    fleet = Fleet({"b": config(depends_on=["a"]), "a": config()}).start()
    assert [name for _, name in fleet.spawns] == ["a"]
    fleet.beat("a", 1_000)
    assert [name for _, name in fleet.spawns] == ["a", "b"]
    fleet.beat("b", 2_000)
    fleet.tell(ev.ShutdownAsked(), 3_000)
    assert (fleet.state_of("b"), fleet.state_of("a")) == (State.STOPPING, State.RUNNING)
    fleet.end("b", 3_100, signal=15)
    assert fleet.state_of("a") is State.STOPPING
    made = fleet.end("a", 3_200, signal=15)
    assert "Exit" in kinds(made)
    assert fleet["a"].durable.reason is StopReason.DAEMON_STOPPED


def test_the_memory_limit_restarts_gracefully() -> None:
    fleet = running(memory=MemoryConfig(limit_bytes=Bytes(100 << 20)))
    fleet.tell(ev.Sampled("a", 1, 91 << 20), 2_000)
    assert [record.event for record in fleet.told("memory.pressure")] == ["memory.pressure"]
    fleet.tell(ev.Sampled("a", 1, 100 << 20), 3_000)
    assert fleet.state_of("a") is State.STOPPING
    fleet.end("a", 3_100, signal=15)
    assert fleet["a"].durable.last_exit is not None
    assert fleet["a"].durable.last_exit.reason is StopReason.MEMORY_LIMIT
    assert fleet["a"].durable.failures == 1


def test_an_external_agent_is_judged_by_silence_alone() -> None:
    fleet = Fleet({"x": AgentConfig(external=True)}).start()
    assert liveness.health_of(fleet["x"], 0) is Health.UNKNOWN
    fleet.beat("x", 1_000)
    assert liveness.health_of(fleet["x"], 1_000) is Health.HEALTHY
    fleet.pass_time(301_001)
    assert fleet.told("agent.unreachable")[0].severity == "critical"
    assert fleet.spawns == []


def test_validate_runs_before_every_start_but_the_first_of_an_execution() -> None:
    fleet = running(restart=RestartConfig(validate="check-state"))
    assert "Validate" not in kinds(e for _, e in fleet.effects)
    fleet.end("a", 2_000, code=1)
    assert len(fleet.spawns) == 1
    assert (2_000, do.Validate("a", 2)) in fleet.effects
    fleet.tell(ev.Validated("a", 2, ok=False, evidence="state.json is torn"))
    assert fleet["a"].durable.reason is StopReason.STATE_INVALID
    assert fleet["a"].durable.failures == 2


def test_what_a_quick_program_says_before_the_news_of_its_spawn_is_heard() -> None:
    fleet = Fleet({"a": config(ready="notify")})
    fleet.can_spawn = False
    fleet.start()
    fleet.beat("a", 10, Notify(ready=True), Heartbeat(task="t1"))
    fleet.tell(ev.Spawned("a", 1, 77))
    assert fleet.state_of("a") is State.RUNNING
    assert fleet["a"].telemetry.task == "t1"


def quick(fleet: Fleet) -> None:
    """A program that has asked something before the news of its spawn."""
    fleet.can_spawn = False
    fleet.start()
    fleet.tell(ev.AgentAsked("a", 1, "agent-1", ActionBegun("k", "mail")), 10)


def refused(made: list[do.Effect]) -> list[str]:
    return [e.request for e in made if isinstance(e, do.Reply) and e.error is not None]


def test_who_asked_in_a_run_that_ends_before_the_news_of_its_spawn_is_answered() -> None:
    fleet = Fleet({"a": config()})
    quick(fleet)
    assert refused(fleet.end("a", 20, code=1)) == ["agent-1"]
    fleet = Fleet({"a": config()})
    quick(fleet)
    assert refused(fleet.tell(ev.SpawnFailed("a", 1, "no such file"), 20)) == ["agent-1"]
    fleet = Fleet({"a": config()})
    quick(fleet)
    assert refused(fleet.tell(ev.SpawnFailed("a", 1, "EAGAIN", shortage=True), 20)) == ["agent-1"]
    assert not fleet["a"].early


def test_a_goal_belongs_to_its_execution() -> None:
    fleet = running()
    fleet.beat("a", None, Heartbeat(goal="sell"))
    fleet.end("a", 2_000, code=1)
    assert fleet.state_of("a") is State.STARTING
    assert fleet["a"].telemetry.goal == "sell"
    fleet.ask("start", "a", at_ms=3_000, fresh=True)
    fleet.beat("a", None, Heartbeat(goal="sell more"))
    fleet.end("a", 4_000, signal=15)
    assert fleet["a"].incarnation == 3
    assert fleet["a"].telemetry.goal is None
