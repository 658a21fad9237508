"""The first step of a daemon: what was recorded meets what is true."""

from dataclasses import replace

import pytest

from agentd.config.agent import HeartbeatConfig
from agentd.config.units import Milliseconds
from agentd.core import boot
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.records import Durable
from agentd.core.states import Intent, State, StopReason
from agentd.sdk import link
from tests.core.fleet import Fleet, config

MINUTE_MS = 60_000


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


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.PARKED, State.PAUSED])
def test_g2_what_was_resumed_on_record_and_still_stands_is_let_go(state: State) -> None:
    fleet = Fleet({"a": config()})
    intent = Intent.PAUSED if state is State.PAUSED else Intent.UP
    fleet.start({"a": fate(state=state, intent=intent, alive=True, pid=42, stands=True)})
    assert (do.Thaw("a", 4) in [done for _, done in fleet.effects]) is (state is not State.PAUSED)


def test_p5_who_may_yet_wait_to_connect_is_not_silent() -> None:
    assert boot.RECONNECT_MS == link.RETRY_S_MAX * 1000
    hasty = HeartbeatConfig(interval_ms=Milliseconds(300), degraded_ms=Milliseconds(1_000))
    fleet = Fleet({"a": config(heartbeat=hasty)})
    fleet.start({"a": fate(state=State.RUNNING, ready=True, alive=True, pid=42)})
    fleet.pass_time(boot.RECONNECT_MS + 999)
    assert not fleet.told("agent.degraded")
    fleet.pass_time(boot.RECONNECT_MS + 1_000)
    assert fleet.told("agent.degraded")


def test_p5_a_gap_after_an_adoption_takes_nothing_of_the_patience_with_it() -> None:
    fleet = Fleet({"a": config()})
    fleet.start({"a": fate(state=State.RUNNING, ready=True, alive=True, pid=42)})
    fleet.tell(ev.Gap(300, "lag"), 1_300)
    fleet.pass_time(30_000 + 89_999)
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


def test_inv1_who_lives_although_its_record_has_it_cooling_ends_before_it_starts_again() -> None:
    fleet = Fleet({"a": config()})
    fleet.start({"a": fate(state=State.COOLDOWN, cooldown_until_ms=9_000, alive=True, pid=42)})
    assert (0, do.KillTree("a", 4)) in fleet.effects
    fleet.pass_time(60_000)
    assert (fleet.spawns, fleet.told("agent.restarting")) == ([], [])
    fleet.tell(ev.TreeEmpty("a", 4))
    assert fleet.starts_of("a") == [60_000]


def test_inv3_who_was_killed_as_a_left_over_of_its_cooldown_stays_down() -> None:
    fleet = Fleet({"a": config()})
    fleet.start({"a": fate(state=State.COOLDOWN, cooldown_until_ms=9_000, intent=Intent.KILLED)})
    fleet.pass_time(60_000)
    assert (fleet.spawns, fleet.told("agent.restarting")) == ([], [])


def test_g3_an_end_that_nobody_saw_is_unknown_and_decided_once() -> None:
    fleet = Fleet({"a": config()}).start({"a": fate(state=State.RUNNING, ready=True, ended=True)})
    assert fleet["a"].durable.last_exit is not None
    assert fleet["a"].durable.last_exit.reason is StopReason.UNKNOWN
    assert (fleet["a"].durable.failures, len(fleet.spawns)) == (1, 1)


def test_g3_what_is_certain_of_an_end_unseen_is_its_evidence() -> None:
    told = "pid 42 ended while no daemon watched"
    gone = replace(fate(state=State.RUNNING, ready=True, ended=True), evidence=told)
    fleet = Fleet({"a": config()}).start({"a": gone})
    last = fleet["a"].durable.last_exit
    assert last is not None
    assert (last.reason, last.evidence) == (StopReason.UNKNOWN, told)


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


@pytest.mark.parametrize("alive", [True, False])
def test_j6_an_agent_whose_file_came_back_while_it_was_being_removed_is_there(
    *, alive: bool
) -> None:
    """The daemon died in the removal; whoever reads the files now finds the agent in them."""
    removing = fate(
        state=State.STOPPING,
        stop_reason=StopReason.CONFIG_CHANGED,
        stop_evidence="it is no longer in the config",
        stop_after="remove",
    )
    here = replace(removing, alive=alive, pid=42 if alive else None, ended=not alive)
    fleet = Fleet({"a": config()}).start({"a": here})
    if alive:
        fleet.end("a", 1_000, signal=15)
    assert not fleet.told("agent.removed")
    assert len(fleet.starts_of("a")) == 1
