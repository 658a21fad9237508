"""The operator's word: it wins, and it is durable before the deed."""

import pytest

from agentd.config.agent import RestartConfig
from agentd.config.schema import Config
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core import liveness
from agentd.core.lines import Heartbeat, Status
from agentd.core.states import Health, Intent, State, StopReason
from tests.core.fleet import Fleet, config, kinds, running

MINUTE_MS = 60_000


def test_a_restart_by_hand_counts_nothing_and_clears_an_escalation() -> None:
    fleet = running(restart=RestartConfig(failures_max=1))
    fleet.end("a", 2_000, code=1)
    assert fleet.state_of("a") is State.ESCALATED
    assert fleet.ask("restart", "a", at_ms=3_000).result is not None
    assert (fleet.state_of("a"), fleet["a"].durable.failures) == (State.STARTING, 0)


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


def test_stop_all_stops_dependants_first() -> None:
    fleet = Fleet({"a": config(), "b": config(depends_on=["a"])}).start()
    fleet.beat("a", 1_000)
    fleet.beat("b", 2_000)
    fleet.ask("stop", "all")
    assert (fleet.state_of("a"), fleet.state_of("b")) == (State.RUNNING, State.STOPPING)
    fleet.end("b", 3_000, signal=15)
    assert fleet.state_of("a") is State.STOPPING


@pytest.mark.parametrize(("verb", "state"), [("start", "running"), ("restart", "starting")])
def test_a_later_word_calls_off_a_stop_that_waits_for_its_dependants(verb: str, state: str) -> None:
    fleet = Fleet({"a": config(), "b": config(depends_on=["a"])}).start()
    fleet.beat("a", 1_000)
    fleet.beat("b", 2_000)
    fleet.ask("stop", "all", at_ms=5_000)
    fleet.ask(verb, "a", at_ms=6_000)
    fleet.end("b", 7_000, signal=15)
    if verb == "restart":
        fleet.end("a", 8_000, signal=15)
    fleet.pass_time(60_000)
    assert (fleet["a"].intent, fleet.state_of("a").value) == (Intent.UP, state)
    assert fleet["a"].stop is None
    assert fleet["a"].has_process


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


def test_a_wait_for_paused_is_met_by_a_frozen_agent() -> None:
    fleet = running()
    fleet.ask("pause", "a")
    made = fleet.tell(ev.Requested("w", "wait", "ada", ("a",), "", {"for": "paused"}))
    reply = next(e for e in made if isinstance(e, do.Reply))
    assert reply.result is not None


def test_a_restart_by_hand_of_a_held_agent_is_made() -> None:
    fleet = running()
    fleet.ask("hold", "a")
    fleet.ask("restart", "a")
    fleet.end("a", 2_000, signal=15)
    assert fleet.starts_of("a") == [0, 2_000]


@pytest.mark.parametrize(("name", "number"), [("SIGTERM", 15), ("SIGKILL", 9), ("SIGPROF", 27)])
def test_a_signal_by_hand_that_ends_an_agent_is_told_as_such_and_pages_nobody(
    name: str, number: int
) -> None:
    fleet = running()
    fleet.ask("signal", "a", at_ms=2_000, signal=name)
    fleet.end("a", 2_100, signal=number)
    last = fleet["a"].durable.last_exit
    assert last is not None
    told = f"signal {number} ({name}), sent by `agentctl signal` of ada 100ms before"
    assert (last.reason, last.evidence) == (StopReason.CRASHED, told)
    assert fleet["a"].durable.failures == 1, "the restart policy applies"
    fleet.ask("signal", "a", at_ms=3_000, signal=name)
    fleet.end("a", 3_100, signal=number)
    assert fleet.state_of("a") is State.COOLDOWN
    fleet.pass_time(302_100)
    assert fleet.starts_of("a") == [0, 2_100, 302_100]
    assert _alerts(fleet) == []


def test_another_signal_than_the_one_that_was_sent_by_hand_is_a_crash_like_any() -> None:
    fleet = running()
    fleet.ask("signal", "a", at_ms=2_000, signal="SIGHUP")
    fleet.end("a", 2_100, signal=9)
    last = fleet["a"].durable.last_exit
    assert last is not None
    assert last.evidence == "signal 9 (SIGKILL), sender unknown, no OOM evidence"
    assert _alerts(fleet)
    # The next incarnation was sent nothing.
    fleet.beat("a", 2_500)
    fleet.end("a", 3_000, signal=1)
    last = fleet["a"].durable.last_exit
    assert last is not None
    assert last.evidence == "signal 1 (SIGHUP)"


def _alerts(fleet: Fleet) -> list[str]:
    return [effect.record.event for _, effect in fleet.effects if isinstance(effect, do.Alert)]


def test_a_held_agent_that_runs_goes_on_with_a_new_config() -> None:
    fleet = running()
    fleet.ask("hold", "a")
    _reconfigure(fleet, 2_000)
    fleet.end("a", 2_100, signal=15)
    assert fleet.starts_of("a") == [0, 2_100]
    fleet.end("a", 3_000, code=1)
    fleet.pass_time(1_000_000)
    assert fleet.starts_of("a") == [0, 2_100], "after a failure it is held still"


def test_a_paused_agent_whose_command_changed_is_resumed_with_the_new_one() -> None:
    fleet = running()
    fleet.ask("pause", "a", at_ms=2_000)
    _reconfigure(fleet, 3_000)
    assert fleet.state_of("a") is State.PAUSED
    assert fleet.effects[-1] != (3_000, do.Thaw("a", 1))
    reply = fleet.ask("resume", "a", at_ms=4_000)
    assert "restarts: what is executed changed while it was paused" in str(reply.result)
    fleet.end("a", 4_100, signal=15)
    last = fleet["a"].durable.last_exit
    assert last is not None
    assert last.reason is StopReason.CONFIG_CHANGED
    assert fleet.starts_of("a") == [0, 4_100]
    assert fleet["a"].durable.failures == 0
    # Once: the next pause ends where it began.
    fleet.beat("a", 5_000)
    fleet.ask("pause", "a", at_ms=6_000)
    assert "goes on where it stood" in str(fleet.ask("resume", "a", at_ms=7_000).result)


def _reconfigure(fleet: Fleet, at_ms: int) -> None:
    agents = {"a": config(environment={"NEW": "1"})}
    fleet.tell(ev.Configured(Config(agents=agents), restart=frozenset({"a"})), at_ms)


def test_a_stop_of_what_waits_without_a_process_is_told() -> None:
    """No run ends, so nothing else would say that it is down by somebody's wish."""
    fleet = running()
    fleet.end("a", 2_000, signal=9)
    fleet.end("a", 3_000, signal=9)
    assert fleet.state_of("a") is State.COOLDOWN
    fleet.ask("stop", "a")
    [told] = fleet.told("agent.stopped")
    assert told.reason == "USER_STOPPED"
    fleet.ask("stop", "a")
    assert len(fleet.told("agent.stopped")) == 1, "it is down already"
