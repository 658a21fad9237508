"""Changes of state are written once and shown many times; never as they were before."""

from agentd.config.agent import AgentConfig
from agentd.core.agent import Agent, Transition
from agentd.core.states import State
from agentd.wire.documents import TransitionsShown


def agent(name: str = "a") -> Agent:
    return Agent(name, AgentConfig())


def change(one: Agent, state: State, at_ms: int) -> None:
    one.transitions.append(Transition(at_ms, state, "so it is"))


def states(shown: TransitionsShown, one: Agent, distance_ms: int = 0) -> list[object]:
    return [change["state"] for change in shown.of(one, distance_ms)]


def test_a_change_is_shown_at_once_and_what_did_not_change_is_not_written_again() -> None:
    shown, one = TransitionsShown(), agent()
    assert shown.of(one, 0) == []
    change(one, State.STARTING, 5)
    first = shown.of(one, 0)
    assert [change["state"] for change in first] == ["starting"]
    assert shown.of(one, 0) is first
    change(one, State.RUNNING, 7)
    assert states(shown, one) == ["starting", "running"]
    assert [change["state"] for change in first] == ["starting"]


def test_a_clock_that_was_set_shows_other_times() -> None:
    shown, one = TransitionsShown(), agent()
    change(one, State.STARTING, 5)
    times = [shown.of(one, distance_ms)[0]["time"] for distance_ms in (0, 1000, 0)]
    assert times == ["1970-01-01T00:00:00.005Z", "1970-01-01T00:00:01.005Z", times[0]]


def test_of_twenty_that_are_kept_the_last_is_shown_though_there_are_no_more() -> None:
    shown, one = TransitionsShown(), agent()
    for number in range(60):
        change(one, State.STARTING if number % 2 else State.RUNNING, number)
        assert shown.of(one, 0)[-1]["time"] == f"1970-01-01T00:00:00.{number:03d}Z"


def test_another_agent_of_the_same_name_has_its_own() -> None:
    shown, one, other = TransitionsShown(), agent(), agent()
    change(one, State.STARTING, 5)
    change(other, State.STARTING, 5)
    change(other, State.RUNNING, 6)
    assert states(shown, one) == ["starting"]
    assert states(shown, other) == ["starting", "running"]


def test_those_that_are_gone_are_forgotten() -> None:
    shown = TransitionsShown()
    for number in range(100):
        shown.of(agent(f"a{number}"), 0)
    shown.keep_only({"a7": agent("a7")})
    assert list(shown._kept) == ["a7"]
