"""What survives SIGKILL: told with its pids, waited for within a bound, never called stopped."""

import pytest

from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.agent import Agent
from agentd.core.remains import GIVE_UP_MS
from agentd.core.states import Intent, State, StopReason
from tests.core.fleet import Fleet, config, kinds

S = 1_000
STUCK = "kill pending, pid 1001 (dd) in state D"


def killed(fleet: Fleet, name: str, at_ms: int) -> None:
    """Kill it by an operator's word; something of it survives."""
    fleet.ask("kill", name, at_ms=at_ms)
    fleet.tell(ev.KillStuck(name, 1, STUCK), at_ms + 2 * S)


def up(*names: str, **depends_on: list[str]) -> Fleet:
    """A fleet that runs, all of it ready."""
    fleet = Fleet({name: config(depends_on=depends_on.get(name, [])) for name in names}).start()
    for name in names:
        fleet.beat(name, fleet.now_ms + S)
    assert all(fleet.state_of(name) is State.RUNNING for name in names)
    return fleet


def exits_asked(fleet: Fleet) -> list[int]:
    return [at_ms for at_ms, effect in fleet.effects if isinstance(effect, do.Exit)]


def kill_sent_ms(fleet: Fleet, name: str) -> int:
    kills = [
        at_ms
        for at_ms, effect in fleet.effects
        if isinstance(effect, do.KillTree) and effect.agent == name
    ]
    return kills[-1]


def test_it_is_given_up_in_the_very_moment_and_names_what_is_left() -> None:
    fleet = up("a")
    killed(fleet, "a", 10 * S)
    fleet.pass_time(10 * S + GIVE_UP_MS - 1)
    assert not fleet["a"].is_given_up
    fleet.pass_time(10 * S + GIVE_UP_MS)
    assert fleet["a"].is_given_up
    told = fleet.told("agent.stopping")[-1]
    assert (told.severity, told.message) == (
        "critical",
        f"given up 30s after SIGKILL, and not stopped: {STUCK}",
    )
    fleet.pass_time(10 * S + 100 * GIVE_UP_MS)
    assert fleet.told("agent.stopping")[-1] is told  # once


def test_what_is_given_up_is_not_called_stopped_and_not_started_anew() -> None:
    fleet = up("a")
    killed(fleet, "a", 10 * S)
    fleet.pass_time(10 * S + GIVE_UP_MS)
    assert (fleet.state_of("a"), fleet["a"].intent) == (State.STOPPING, Intent.KILLED)
    assert not fleet.told("agent.exited")
    fleet.ask("resume", "a", at_ms=60 * S)
    fleet.pass_time(600 * S)
    assert len(fleet.spawns) == 1
    fleet.end("a", 700 * S, signal=9)  # its disk came back
    assert len(fleet.spawns) == 2
    assert not fleet["a"].is_given_up


def test_its_incident_stays_open_until_it_is_gone() -> None:
    fleet = up("a")
    killed(fleet, "a", 10 * S)
    fleet.pass_time(600 * S)
    [incident] = fleet.core.incidents.opened.values()
    assert STUCK in incident.summary
    fleet.end("a", 700 * S, signal=9)
    assert not fleet.core.incidents.opened


def test_a_shutdown_ends_without_it_and_says_of_whom_something_lives() -> None:
    fleet = up("a", "b")
    fleet.tell(ev.ShutdownAsked("SIGTERM"), 10 * S)
    fleet.end("b", 11 * S, signal=15)
    patience_ms = fleet["a"].config.stop_timeout_ms
    fleet.pass_time(10 * S + patience_ms)
    assert kill_sent_ms(fleet, "a") == 10 * S + patience_ms
    fleet.tell(ev.KillStuck("a", 1, STUCK), 12 * S + patience_ms)
    fleet.pass_time(10 * S + patience_ms + GIVE_UP_MS - 1)
    assert exits_asked(fleet) == []
    fleet.pass_time(10 * S + patience_ms + GIVE_UP_MS)
    assert exits_asked(fleet) == [10 * S + patience_ms + GIVE_UP_MS]
    told = fleet.told("daemon.stopping")[-1]
    assert told.message == f"agentd ends, and could not stop a: {STUCK}"
    assert told.data == {"agents": ["a"]}
    assert (fleet["a"].state, fleet["a"].durable.stop_reason) == (
        State.STOPPING,
        StopReason.DAEMON_STOPPED,
    )


def test_a_shutdown_of_what_dies_in_time_says_nothing_of_it() -> None:
    fleet = up("a")
    fleet.tell(ev.ShutdownAsked("SIGTERM"), 10 * S)
    fleet.end("a", 11 * S, signal=15)
    assert exits_asked(fleet) == [11 * S]
    assert len(fleet.told("daemon.stopping")) == 1


def test_stops_in_order_pass_over_it() -> None:
    fleet = up("base", "top", top=["base"])
    fleet.tell(ev.ShutdownAsked("SIGTERM"), 10 * S)
    patience_ms = fleet["top"].config.stop_timeout_ms
    fleet.tell(ev.KillStuck("top", 1, STUCK), 12 * S + patience_ms)
    given_up_ms = 10 * S + patience_ms + GIVE_UP_MS
    fleet.pass_time(given_up_ms - 1)
    assert fleet["base"].stop is None  # its dependant lives
    fleet.pass_time(given_up_ms)
    assert fleet["base"].stop is not None
    assert exits_asked(fleet) == []
    fleet.end("base", given_up_ms + S, signal=15)
    assert exits_asked(fleet) == [given_up_ms + S]


def test_a_spawn_that_never_comes_to_its_end_holds_no_shutdown_up() -> None:
    fleet = Fleet({"a": config()})
    fleet.can_spawn = False  # its exec hangs: neither `Spawned` nor `SpawnFailed` comes
    fleet.start()
    fleet.tell(ev.ShutdownAsked("SIGTERM"), 10 * S)
    fleet.pass_time(10 * S + fleet["a"].config.stop_timeout_ms + GIVE_UP_MS)
    assert len(exits_asked(fleet)) == 1
    assert fleet["a"].stuck == "its start has not come to an end"


def test_whoever_waits_for_its_stop_is_told_what_survives() -> None:
    fleet = up("a")
    killed(fleet, "a", 10 * S)
    waits = {"for": "stopped", "timeout_ms": 600 * S}
    asked = ev.Requested("w1", "wait", "ada", ("a",), "", waits)
    assert "Reply" not in kinds(fleet.tell(asked, 13 * S))
    fleet.pass_time(10 * S + GIVE_UP_MS)
    [reply] = [effect for _, effect in fleet.effects if getattr(effect, "request", "") == "w1"]
    assert isinstance(reply, do.Reply)
    assert reply.error is not None
    assert reply.error[:2] == ("conflict", f'"a" survives SIGKILL: {STUCK}')


def test_what_a_leader_left_that_ended_by_itself_is_told_too() -> None:
    fleet = up("a")
    seen = ev.ExitEvidence(survivors=1)
    fleet.tell(ev.Exited("a", 1, 0, None, seen), 10 * S)
    fleet.tell(ev.KillStuck("a", 1, STUCK), 12 * S)
    assert STUCK in fleet.told("agent.stopping")[-1].message
    fleet.tell(ev.ShutdownAsked("SIGTERM"), 20 * S)
    fleet.pass_time(20 * S + fleet["a"].config.stop_timeout_ms + GIVE_UP_MS)
    assert len(exits_asked(fleet)) == 1


@pytest.mark.parametrize("word", ["kill", "stop"])
def test_a_new_kill_is_waited_for_anew(word: str) -> None:
    fleet = up("a")
    killed(fleet, "a", 10 * S)
    fleet.pass_time(10 * S + GIVE_UP_MS)
    fleet.ask(word, "a", at_ms=100 * S)
    agent: Agent = fleet["a"]
    # A kill is sent again, and may end what a stop's first one did not.
    assert agent.is_given_up is (word == "stop")
