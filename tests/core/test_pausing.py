"""Pause and resume in both modes: no process or a frozen one, the same execution, no clock runs."""

import pytest

from agentd.config.agent import (
    HeartbeatConfig,
    LoopConfig,
    MemoryConfig,
    PauseConfig,
    RestartConfig,
)
from agentd.config.units import Bytes, Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.lines import ActionBegun, CheckpointPut, Heartbeat, Hello, Status
from agentd.core.states import Health, Intent, State, StopReason
from tests.core.fleet import Fleet, config, running
from tests.core.steps import STEP_MS, step

CHECKPOINT = PauseConfig(mode="checkpoint", checkpoint_timeout_ms=Milliseconds(20_000))
MINUTE_MS = 60_000


def controls(fleet: Fleet) -> list[do.Control]:
    return [one for _, one in fleet.effects if isinstance(one, do.Control)]


def signals(fleet: Fleet) -> list[tuple[int, str]]:
    made = [(at, one) for at, one in fleet.effects if isinstance(one, do.Signal | do.KillTree)]
    return [(at, one.signal if isinstance(one, do.Signal) else "SIGKILL") for at, one in made]


def alerts(fleet: Fleet) -> list[str]:
    return [one.record.event for _, one in fleet.effects if isinstance(one, do.Alert)]


def crashed(fleet: Fleet, **found: object) -> Fleet:
    """Another daemon meets what this one had on disk."""
    after = Fleet({name: agent.config for name, agent in fleet.core.agents.items()})
    after.now_ms = fleet.now_ms
    fate = ev.Fate(fleet["a"].snapshot(), **found)  # type: ignore[arg-type]
    return after.start({"a": fate})


def test_it_is_asked_to_commit_and_exit_and_no_signal_is_sent() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.ask("pause", "a", at_ms=5_000)
    assert controls(fleet) == [
        do.Control("a", 1, "pause", "USER_PAUSED", {"mode": "checkpoint", "timeout_s": 20.0})
    ]
    fleet.beat("a", 6_000, CheckpointPut("1"))
    fleet.end("a", 7_000, code=0)
    assert signals(fleet) == []
    assert (fleet.state_of("a"), fleet["a"].intent) == (State.PAUSED, Intent.PAUSED)
    assert fleet["a"].durable.reason is StopReason.USER_PAUSED
    fleet.pass_time(10_000_000)
    assert fleet.starts_of("a") == [0]
    assert alerts(fleet) == []
    assert not fleet["a"].troubled


def test_resumed_it_starts_in_the_same_execution_and_its_end_was_no_failure() -> None:
    fleet = running(pause=CHECKPOINT, restart=RestartConfig(validate="check"))
    fleet.beat("a", 2_000, CheckpointPut("1"))
    execution = fleet["a"].durable.execution
    fleet.ask("pause", "a", at_ms=5_000)
    fleet.end("a", 7_000, code=1)
    fleet.ask("resume", "a", at_ms=9_000)
    durable = fleet["a"].durable
    assert (9_000, do.Validate("a", 2)) in fleet.effects
    fleet.tell(ev.Validated("a", 2, ok=True))
    assert fleet.starts_of("a") == [0, 9_000]
    assert (durable.execution, durable.failures, durable.row) == (execution, 0, 0)
    assert durable.checkpoint is not None


def test_a_state_that_validate_refuses_is_not_resumed_into() -> None:
    fleet = running(pause=CHECKPOINT, restart=RestartConfig(validate="check", policy="never"))
    fleet.ask("pause", "a", at_ms=5_000)
    fleet.end("a", 7_000, code=0)
    fleet.ask("resume", "a", at_ms=9_000)
    fleet.tell(ev.Validated("a", 2, ok=False, evidence="torn"))
    assert fleet["a"].durable.reason is StopReason.STATE_INVALID
    assert fleet.starts_of("a") == [0]


def test_patience_ends_in_a_stop_and_that_in_a_kill_and_both_are_said() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.ask("pause", "a", at_ms=5_000)
    fleet.pass_time(24_999)
    assert signals(fleet) == []
    fleet.pass_time(54_999)
    assert signals(fleet) == [(25_000, "SIGTERM")]
    fleet.pass_time(55_000)
    assert signals(fleet) == [(25_000, "SIGTERM"), (55_000, "SIGKILL")]
    told = [record.message for record in fleet.told("agent.stopping")]
    assert any("within 20s of being asked: SIGTERM" in message for message in told)
    assert any("SIGKILL to the whole tree" in message for message in told)
    fleet.end("a", 55_100, signal=9)
    assert fleet.state_of("a") is State.PAUSED
    assert alerts(fleet) == []


def test_who_says_hello_while_it_is_asked_is_asked_again() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.ask("pause", "a", at_ms=5_000)
    fleet.beat("a", 9_000, Hello("python/1.0"))
    assert [one.data["timeout_s"] for one in controls(fleet)] == [20.0, 16.0]
    fleet.beat("a", 9_500)
    assert len(controls(fleet)) == 2


def test_a_policy_pause_keeps_its_own_reason_and_is_resumed_the_same_way() -> None:
    beat = HeartbeatConfig(on_unreachable="pause")
    fleet = running(pause=CHECKPOINT, heartbeat=beat)
    fleet.pass_time(302_000)
    assert controls(fleet)[0].reason == "TIMEOUT"
    fleet.end("a", 303_000, code=0)
    durable = fleet["a"].durable
    assert (fleet.state_of("a"), durable.reason) == (State.PAUSED, StopReason.TIMEOUT)
    assert "silent" in durable.evidence
    assert "agent.paused" in alerts(fleet)
    fleet.ask("resume", "a", at_ms=400_000)
    assert fleet.starts_of("a") == [0, 400_000]


@pytest.mark.parametrize("mode", ["freeze", "checkpoint"])
def test_a_kill_while_it_pauses_wins_at_once(mode: str) -> None:
    fleet = running(pause=PauseConfig(mode=mode))  # type: ignore[arg-type]
    fleet.ask("pause", "a", at_ms=5_000)
    fleet.ask("kill", "a", at_ms=6_000)
    assert (6_000, "SIGKILL") in signals(fleet)
    fleet.end("a", 6_100, signal=9)
    assert (fleet["a"].intent, fleet.state_of("a")) == (Intent.KILLED, State.STOPPED)
    assert fleet["a"].durable.reason is StopReason.USER_KILLED


def test_a_stop_while_it_pauses_is_a_stop_from_then_on() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.ask("pause", "a", at_ms=5_000)
    fleet.ask("stop", "a", at_ms=6_000)
    assert signals(fleet) == [(6_000, "SIGTERM")]
    fleet.pass_time(36_000)
    assert signals(fleet)[1:] == [(36_000, "SIGKILL")]
    fleet.end("a", 36_100, signal=9)
    assert fleet.state_of("a") is State.STOPPED
    assert fleet["a"].intent is Intent.STOPPED


def test_resumed_while_it_pauses_it_starts_again_when_it_is_down() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.ask("pause", "a", at_ms=5_000)
    reply = fleet.ask("resume", "a", at_ms=6_000)
    assert "starts again" in str(reply.result)
    assert signals(fleet) == [], "it is let commit all the same"
    fleet.end("a", 7_000, code=0)
    assert fleet.starts_of("a") == [0, 7_000]
    assert fleet["a"].durable.failures == 0


def test_resumed_on_its_way_down_it_is_told_of_and_what_repeats_itself_is_let_pass() -> None:
    fleet = running(pause=CHECKPOINT, loop=LoopConfig(on_loop="pause"))
    looping = [step("where is it")] * 5
    for line in looping:
        fleet.beat("a", fleet.now_ms + STEP_MS, line)
    assert fleet.told("loop.detected")
    assert fleet.state_of("a") is State.STOPPING
    fleet.ask("resume", "a", at_ms=fleet.now_ms + STEP_MS)
    [resumed] = fleet.told("agent.resumed")
    assert resumed.message == "resumed by ada"
    fleet.end("a", fleet.now_ms + 100, code=0)
    fleet.beat("a", fleet.now_ms + 1_000)
    for line in looping:
        fleet.beat("a", fleet.now_ms + STEP_MS, line)
    assert fleet.state_of("a") is State.RUNNING
    assert len(fleet.told("loop.detected")) == 1


def test_paused_resumed_and_paused_again_it_stays_paused() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.ask("pause", "a", at_ms=5_000)
    fleet.ask("resume", "a", at_ms=5_100)
    fleet.ask("pause", "a", at_ms=5_200)
    fleet.end("a", 7_000, code=0)
    assert fleet.state_of("a") is State.PAUSED
    assert fleet["a"].durable.reason is StopReason.USER_PAUSED
    fleet.pass_time(1_000_000)
    assert fleet.starts_of("a") == [0]


def test_a_daemon_that_dies_while_it_pauses_goes_on_with_it_and_asks_again() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.ask("pause", "a", at_ms=5_000)
    after = crashed(fleet, alive=True, pid=1001)
    assert signals(after) == []
    assert controls(after) == []
    after.tell(ev.AgentAsked("a", 1, "agent-1", CheckpointPut("1")), 6_000)
    assert [one.data["mode"] for one in controls(after)] == ["checkpoint"]
    after.pass_time(24_999)
    assert signals(after) == []
    after.pass_time(25_000)
    assert signals(after) == [(25_000, "SIGTERM")]
    after.end("a", 25_100, signal=15)
    assert after.state_of("a") is State.PAUSED


def test_a_daemon_that_dies_and_finds_it_gone_leaves_it_paused() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.ask("pause", "a", at_ms=5_000)
    after = crashed(fleet, ended=True, code=0)
    assert after.state_of("a") is State.PAUSED
    assert after["a"].durable.failures == 0
    assert after["a"].durable.reason is StopReason.USER_PAUSED
    assert alerts(after) == []


def test_one_that_is_starting_is_asked_as_well() -> None:
    fleet = Fleet({"a": config(pause=CHECKPOINT)}).start()
    assert fleet.state_of("a") is State.STARTING
    fleet.ask("pause", "a", at_ms=500)
    assert len(controls(fleet)) == 1
    fleet.beat("a", 700, Heartbeat())
    assert fleet.state_of("a") is State.STOPPING
    fleet.end("a", 800, code=0)
    assert fleet.state_of("a") is State.PAUSED


def test_one_in_cooldown_has_nothing_to_commit_and_keeps_what_is_left() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.end("a", 2_000, signal=9)
    fleet.beat("a", 2_500)
    fleet.end("a", 3_000, signal=9)
    assert fleet.state_of("a") is State.COOLDOWN
    fleet.ask("pause", "a", at_ms=102_000)
    assert (fleet.state_of("a"), controls(fleet)) == (State.PAUSED, [])
    fleet.ask("resume", "a", at_ms=1_000_000)
    fleet.pass_time(1_199_999)
    assert len(fleet.starts_of("a")) == 2
    fleet.pass_time(1_200_000)
    assert len(fleet.starts_of("a")) == 3


@pytest.mark.parametrize("mode", ["freeze", "checkpoint"])
def test_one_that_is_parked_without_a_process_waits_on_for_its_provider(mode: str) -> None:
    fleet = running(pause=PauseConfig(mode=mode))  # type: ignore[arg-type]
    fleet.beat("a", 2_000, Heartbeat(status=Status.ERROR, retry_after_ms=600_000))
    fleet.end("a", 3_000, code=1)
    assert fleet.state_of("a") is State.PARKED
    fleet.ask("pause", "a", at_ms=4_000)
    assert fleet.state_of("a") is State.PAUSED
    fleet.ask("resume", "a", at_ms=5_000)
    assert fleet.state_of("a") is State.PARKED
    fleet.pass_time(601_999)
    assert len(fleet.starts_of("a")) == 1
    fleet.pass_time(602_000)
    assert fleet.starts_of("a")[1:] == [602_000]


def test_one_that_is_frozen_while_parked_is_parked_again() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(status=Status.ERROR, retry_after_ms=600_000))
    fleet.ask("pause", "a", at_ms=4_000)
    fleet.ask("resume", "a", at_ms=400_000)
    assert fleet.state_of("a") is State.PARKED
    fleet.pass_time(602_000)
    assert fleet.state_of("a") is State.RUNNING
    assert fleet.told("agent.unreachable") == []


# -- what a frozen agent's clocks do -------------------------------------------


def test_a_start_that_was_frozen_is_not_charged_with_the_pause() -> None:
    fleet = Fleet({"a": config()}).start()
    fleet.ask("pause", "a", at_ms=100_000)
    fleet.ask("resume", "a", at_ms=1_000_000)
    assert fleet.state_of("a") is State.STARTING
    fleet.pass_time(1_019_999)
    assert not fleet.told("agent.stopping")
    fleet.pass_time(1_020_000)
    assert fleet["a"].durable.stop_reason is StopReason.STARTUP_TIMEOUT


def test_nor_by_a_daemon_that_restarted_meanwhile() -> None:
    fleet = Fleet({"a": config()}).start()
    fleet.ask("pause", "a", at_ms=100_000)
    fleet.pass_time(500_000)
    after = crashed(fleet, alive=True, pid=1001)
    assert any(isinstance(one, do.Freeze) for _, one in after.effects)
    after.ask("resume", "a", at_ms=1_000_000)
    after.pass_time(1_019_999)
    assert not after.told("agent.stopping")
    after.pass_time(1_020_000)
    assert after["a"].durable.stop_reason is StopReason.STARTUP_TIMEOUT


def test_what_was_stable_so_far_counts_on_after_the_pause() -> None:
    beat = HeartbeatConfig(required=False)
    fleet = Fleet({"a": config(heartbeat=beat)}).start()
    fleet.end("a", 1_000, code=1)
    assert fleet["a"].durable.failures == 1
    fleet.ask("pause", "a", at_ms=1_000 + 10 * MINUTE_MS)
    fleet.ask("resume", "a", at_ms=1_000 + 100 * MINUTE_MS)
    fleet.pass_time(999 + 105 * MINUTE_MS)
    assert fleet["a"].durable.failures == 1
    fleet.pass_time(1_000 + 105 * MINUTE_MS)
    assert fleet["a"].durable.failures == 0


def test_from_start_to_start_a_pause_does_not_count() -> None:
    fleet = running()
    fleet.end("a", 2_000, code=1)
    fleet.beat("a", 3_000)
    fleet.ask("pause", "a", at_ms=12_000)
    fleet.ask("resume", "a", at_ms=10_012_000)
    fleet.end("a", 10_013_000, code=1)
    assert fleet.state_of("a") is State.COOLDOWN
    assert fleet["a"].durable.cooldown_until_ms == 10_002_000 + 300_000


def test_nobody_is_paged_for_what_an_operator_did() -> None:
    for cmd in ("pause", "kill", "stop"):
        fleet = running()
        fleet.ask(cmd, "a", at_ms=5_000)
        if cmd == "pause":
            fleet.tell(ev.Froze("a", 1, error="no such cgroup"))
            assert do.Signal("a", 1, "SIGSTOP", tree=True) in [one for _, one in fleet.effects]
            fleet.ask("resume", "a", at_ms=500_000)
            fleet.beat("a", 500_100)
        else:
            fleet.end("a", 6_000, signal=9)
        fleet.pass_time(510_000)
        assert alerts(fleet) == [], cmd
        assert not fleet["a"].troubled, cmd
        assert not fleet.told("agent.recovered"), cmd


def test_what_ended_a_pausing_agent_early_is_no_failure_but_its_actions_are_named() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.beat("a", 2_000, ActionBegun("k", "stripe.refund"))
    fleet.ask("pause", "a", at_ms=5_000)
    fleet.end("a", 6_000, signal=11)
    assert fleet["a"].durable.failures == 0
    assert [one.severity for one in fleet.told("action.unfinished")] == ["critical"]
    assert alerts(fleet) == []


def test_health_of_what_is_paused_is_nobodys_business() -> None:
    fleet = running(pause=CHECKPOINT)
    fleet.ask("pause", "a", at_ms=5_000)
    fleet.end("a", 6_000, code=0)
    fleet.pass_time(10_000_000)
    assert fleet["a"].noted is Health.UNKNOWN
    assert not fleet.told("agent.unreachable", "agent.degraded")


@pytest.mark.parametrize("action", ["kill", "restart"])
def test_no_verdict_outranks_a_stop_that_waits_for_its_dependants(action: str) -> None:
    memory = MemoryConfig(limit_bytes=Bytes(1000), on_limit=action, settle_ms=Milliseconds(0))  # type: ignore[arg-type]
    fleet = Fleet({"a": config(memory=memory), "b": config(depends_on=["a"])}).start()
    fleet.beat("a", 1_000)
    fleet.beat("b", 1_100)
    fleet.ask("stop", "a", "b", at_ms=2_000)
    assert fleet["a"].stop is None, "it waits until its dependant is down"
    fleet.tell(ev.Sampled("a", 1, rss_bytes=5_000), 3_000)
    assert fleet.told("memory.limit")
    assert fleet["a"].intent is Intent.STOPPED
    assert fleet["a"].stop is None


def test_a_new_daemon_does_not_kill_what_may_take_longer_to_commit_than_to_stop() -> None:
    patient = PauseConfig(mode="checkpoint", checkpoint_timeout_ms=Milliseconds(90_000))
    fleet = running(pause=patient)
    fleet.ask("pause", "a", at_ms=5_000)
    after = crashed(fleet, alive=True, pid=1001)
    after.pass_time(94_999)
    assert signals(after) == []
    after.pass_time(95_000)
    assert signals(after) == [(95_000, "SIGTERM")]
