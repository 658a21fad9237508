"""Starts, ends, stops and the operator's word, through the one door of the core."""

import pytest

from agentd.config.agent import AgentConfig, HeartbeatConfig, MemoryConfig, RestartConfig
from agentd.config.units import Bytes, Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core import liveness
from agentd.core.lines import Call, Heartbeat, Status
from agentd.core.records import Durable
from agentd.core.states import Health, Intent, State, StopReason
from tests.core.fleet import Fleet, kinds

MINUTE_MS = 60_000


def config(**keys: object) -> AgentConfig:
    return AgentConfig(command=["x"], **keys)  # type: ignore[arg-type]


def running(**keys: object) -> Fleet:
    fleet = Fleet({"a": config(**keys)}).start()
    fleet.beat("a", 1_000)
    assert fleet.state_of("a") is State.RUNNING
    return fleet


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


def test_a_restart_by_hand_counts_nothing_and_clears_an_escalation() -> None:
    fleet = running(restart=RestartConfig(failures_max=1))
    fleet.end("a", 2_000, code=1)
    assert fleet.state_of("a") is State.ESCALATED
    assert fleet.ask("restart", "a", at_ms=3_000).result is not None
    assert (fleet.state_of("a"), fleet["a"].durable.failures) == (State.STARTING, 0)


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


def test_b6_patience_ends_in_a_kill_of_the_whole_tree() -> None:
    fleet = running()
    fleet.ask("stop", "a", at_ms=5_000)
    fleet.pass_time(34_999)
    assert not [e for _, e in fleet.effects if isinstance(e, do.KillTree)]
    fleet.pass_time(35_000)
    assert fleet.effects[-1] == (35_000, do.KillTree("a", 1))


def test_intent_is_durable_before_the_deed() -> None:
    fleet = running()
    made = fleet.tell(ev.Requested("r", "kill", "ada", ("a",)), 5_000)
    order = kinds(made)
    assert order.index("Persist") < order.index("KillTree")
    persisted = next(e for e in made if isinstance(e, do.Persist))
    assert persisted.durable.intent is Intent.KILLED


def test_a_killed_agent_is_not_restarted_by_its_own_late_end() -> None:
    fleet = running()
    fleet.ask("kill", "a", at_ms=5_000)
    fleet.end("a", 5_010, signal=9)
    fleet.pass_time(10_000_000)
    assert (fleet.state_of("a"), fleet.starts_of("a")) == (State.STOPPED, [0])
    assert liveness.health_of(fleet["a"], fleet.now_ms) is Health.KILLED


def test_k3_a_kill_that_races_an_automatic_restart_wins() -> None:
    fleet = running()
    fleet.can_spawn = False
    fleet.end("a", 2_000, code=1)
    fleet.ask("kill", "a")
    made = fleet.tell(ev.Spawned("a", 2, 77))
    assert do.KillTree("a", 2) in made


@pytest.mark.parametrize("verb", ["start", "restart"])
@pytest.mark.parametrize("held_by", ["kill", "pause"])
def test_start_and_restart_of_what_was_held_back_conflict(verb: str, held_by: str) -> None:
    fleet = running()
    fleet.ask(held_by, "a")
    reply = fleet.ask(verb, "a")
    assert reply.error is not None
    assert reply.error[0] == "conflict"
    assert "agentctl resume a" in reply.error[2]


def test_paused_time_is_charged_to_no_timer() -> None:
    fleet = running()
    fleet.ask("pause", "a", at_ms=11_000)
    assert fleet.state_of("a") is State.PAUSED
    fleet.ask("resume", "a", at_ms=10_000_000)
    fleet.pass_time(10_000_000 + 79_999)
    assert not fleet.told("agent.degraded")
    fleet.pass_time(10_000_000 + 80_000)
    assert fleet.told("agent.degraded")


def test_a_cooldown_waits_out_a_pause() -> None:
    fleet = running()
    fleet.end("a", 2_000, code=1)
    fleet.end("a", 3_000, code=1)
    fleet.ask("pause", "a", at_ms=102_000)
    fleet.ask("resume", "a", at_ms=900_000)
    fleet.pass_time(1_099_999)
    assert len(fleet.starts_of("a")) == 2
    fleet.pass_time(1_100_000)
    assert len(fleet.starts_of("a")) == 3


def test_stop_of_a_paused_agent_makes_it_stopped() -> None:
    fleet = running()
    fleet.ask("pause", "a", at_ms=11_000)
    fleet.ask("stop", "a", at_ms=12_000)
    assert do.Thaw("a", 1) in [e for _, e in fleet.effects]
    fleet.end("a", 12_100, signal=15)
    assert (fleet.state_of("a"), fleet["a"].intent) == (State.STOPPED, Intent.STOPPED)


def test_nothing_starts_by_itself_while_held() -> None:
    fleet = running()
    fleet.ask("hold", "a")
    fleet.end("a", 2_000, code=1)
    fleet.pass_time(1_000_000)
    assert fleet.starts_of("a") == [0]
    fleet.ask("unhold", "a")
    assert fleet.starts_of("a") == [0, 1_000_000]


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


def test_stop_all_stops_dependants_first() -> None:
    fleet = Fleet({"a": config(), "b": config(depends_on=["a"])}).start()
    fleet.beat("a", 1_000)
    fleet.beat("b", 2_000)
    fleet.ask("stop", "all")
    assert (fleet.state_of("a"), fleet.state_of("b")) == (State.RUNNING, State.STOPPING)
    fleet.end("b", 3_000, signal=15)
    assert fleet.state_of("a") is State.STOPPING


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


def test_a_parked_agent_that_ends_is_started_at_the_end_of_the_wait_without_a_failure() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(status=Status.ERROR, retry_after_ms=60_000))
    assert fleet.state_of("a") is State.PARKED
    fleet.end("a", 3_000, code=1)
    assert fleet["a"].durable.failures == 0
    fleet.pass_time(61_999)
    assert len(fleet.spawns) == 1
    fleet.pass_time(62_000)
    assert len(fleet.spawns) == 2


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


def test_a_fresh_start_begins_a_new_execution() -> None:
    fleet = running()
    execution = fleet["a"].durable.execution
    fleet.ask("stop", "a")
    fleet.end("a", 2_000, signal=15)
    fleet.ask("start", "a")
    assert fleet["a"].durable.execution == execution
    fleet.ask("stop", "a")
    fleet.end("a", 3_000, signal=15)
    fleet.ask("start", "a", fresh=True)
    assert fleet["a"].durable.execution != execution


def fate(**keys: object) -> ev.Fate:
    durable = Durable(incarnation=4, incarnation_id="i4", execution="e1", first_start=False)
    for key in list(keys):
        if hasattr(durable, key):
            setattr(durable, key, keys.pop(key))
    return ev.Fate(durable, **keys)  # type: ignore[arg-type]


def test_g1_a_living_agent_is_adopted_and_not_started_again() -> None:
    fleet = Fleet({"a": config()})
    fleet.start({"a": fate(state=State.RUNNING, ready=True, alive=True, pid=42, failures=2)})
    assert fleet.spawns == []
    assert (fleet["a"].pid, fleet["a"].durable.failures) == (42, 2)
    fleet.pass_time(30_000 + 89_999)  # silence begins to count one interval later
    assert not fleet.told("agent.degraded")


@pytest.mark.parametrize("intent", [Intent.STOPPED, Intent.KILLED, Intent.PAUSED])
def test_inv3_what_was_down_by_intent_stays_down(intent: Intent) -> None:
    state = State.PAUSED if intent is Intent.PAUSED else State.STOPPED
    fleet = Fleet({"a": config()}).start({"a": fate(state=state, intent=intent)})
    fleet.pass_time(10_000_000)
    assert fleet.spawns == []


def test_i3_a_cooldown_goes_on_where_it_was() -> None:
    fleet = Fleet({"a": config()})
    fleet.now_ms = 180_000
    fleet.start({"a": fate(state=State.COOLDOWN, cooldown_until_ms=300_000, failures=2)})
    fleet.pass_time(299_999)
    assert fleet.spawns == []
    fleet.pass_time(300_000)
    assert fleet.starts_of("a") == [300_000]


def test_g3_an_end_that_nobody_saw_is_unknown_and_decided_once() -> None:
    fleet = Fleet({"a": config()}).start({"a": fate(state=State.RUNNING, ready=True, ended=True)})
    assert fleet["a"].durable.last_exit is not None
    assert fleet["a"].durable.last_exit.reason is StopReason.UNKNOWN
    assert (fleet["a"].durable.failures, len(fleet.spawns)) == (1, 1)


def test_a19_a_reboot_is_nobodys_failure() -> None:
    fleet = Fleet({"a": config()})
    fleet.start({"a": fate(state=State.RUNNING, ended=True, rebooted=True)})
    assert fleet["a"].durable.last_exit is not None
    assert fleet["a"].durable.last_exit.reason is StopReason.HOST_REBOOTED
    assert (fleet["a"].durable.failures, len(fleet.spawns)) == (0, 1)


def test_a_stop_that_a_crash_of_the_daemon_interrupted_is_finished() -> None:
    fleet = Fleet({"a": config()})
    fleet.start(
        {
            "a": fate(
                state=State.STOPPING,
                intent=Intent.KILLED,
                alive=True,
                pid=42,
                stop_reason=StopReason.USER_KILLED,
                stop_after="stay",
            )
        }
    )
    assert (0, do.KillTree("a", 4)) in fleet.effects


def test_a_wait_is_answered_when_its_goal_is_met() -> None:
    fleet = Fleet({"a": config()}).start()
    made = fleet.tell(ev.Requested("w", "wait", "ada", ("a",), "", {"for": "ready"}))
    assert "Reply" not in kinds(made)
    made = fleet.beat("a", 1_000)
    reply = next(e for e in made if isinstance(e, do.Reply))
    assert reply.result is not None


def test_a_wait_for_what_cannot_come_is_told_so() -> None:
    fleet = running(restart=RestartConfig(failures_max=1))
    fleet.end("a", 2_000, code=1)
    made = fleet.tell(ev.Requested("w", "wait", "ada", ("a",), "", {"for": "ready"}))
    reply = next(e for e in made if isinstance(e, do.Reply))
    assert reply.error is not None
    assert reply.error[0] == "conflict"


def test_a_wait_ends_with_its_patience() -> None:
    fleet = Fleet({"a": config()}).start()
    fleet.tell(ev.Requested("w", "wait", "ada", ("a",), "", {"for": "ready", "timeout_ms": 500}))
    fleet.pass_time(500)
    reply = next(e for _, e in fleet.effects if isinstance(e, do.Reply))
    assert reply.error is not None
    assert reply.error[0] == "timeout"


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    fleet = Fleet({"order-processor": config()}).start()
    reply = fleet.ask("stop", "order-procesor")
    assert reply.error == (
        "no_such_agent",
        'no agent matches "order-procesor"',
        'did you mean "order-processor"?',
    )
