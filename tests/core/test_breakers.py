"""Breakers of shared dependencies: when they open, whom they let through, what they tell."""

import pytest

from agentd.config.agent import HeartbeatConfig
from agentd.config.schema import BreakerConfig, Config
from agentd.config.units import Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.breaker import NAMES_MAX, NAMES_PER_AGENT_MAX, USED_LATELY_MS
from agentd.core.lines import BreakerAsk, BreakerReport
from agentd.core.retry_budget import WindowCount
from agentd.core.states import StopReason
from tests.core.fleet import Fleet, config

S = 1_000


def fleet_of(*names: str, **keys: object) -> Fleet:
    """A running fleet; `keys` configure the breaker `api`."""
    agents = {name: config(heartbeat=HeartbeatConfig(required=False)) for name in names}
    fleet = Fleet(agents).start()
    breakers = {"api": BreakerConfig(**keys)}  # type: ignore[arg-type]
    fleet.tell(ev.Configured(Config(agents=agents, breakers=breakers)))
    for name in names:
        fleet.beat(name)
    return fleet


def report(
    fleet: Fleet, agent: str, at_ms: int, *, ok: bool = False, attempt: int = 1, name: str = "api"
) -> list[do.Effect]:
    return fleet.beat(agent, at_ms, BreakerReport(name, ok, attempt, None if ok else "429"))


def ask(fleet: Fleet, agent: str, at_ms: int, name: str = "api") -> dict[str, object]:
    fleet.pass_time(at_ms)
    asked = ev.AgentAsked(agent, fleet[agent].incarnation, "q", BreakerAsk(name))
    [reply] = [one for one in fleet.tell(asked) if isinstance(one, do.Reply)]
    assert reply.result is not None
    return dict(reply.result)


def fail(fleet: Fleet, count: int, at_ms: int = 10 * S, agent: str = "a") -> None:
    for _ in range(count):
        report(fleet, agent, at_ms)


def alerts(fleet: Fleet) -> list[str]:
    return [one.record.event for _, one in fleet.effects if isinstance(one, do.Alert)]


def controls(fleet: Fleet) -> list[tuple[str, object]]:
    return [
        (one.agent, one.data["state"])
        for _, one in fleet.effects
        if isinstance(one, do.Control) and one.action == "breaker"
    ]


@pytest.mark.parametrize(("failures", "opened"), [(4, 0), (5, 1)])
def test_it_opens_at_the_configured_number_of_failures(failures: int, opened: int) -> None:
    fleet = fleet_of("a", failures=5)
    fail(fleet, failures)
    assert len(fleet.told("breaker.opened")) == opened


@pytest.mark.parametrize(("last_ms", "opened"), [(70 * S, 1), (70 * S + 1, 0)])
def test_failures_older_than_the_window_do_not_count(last_ms: int, opened: int) -> None:
    fleet = fleet_of("a", failures=2, window_ms=Milliseconds(60 * S))
    report(fleet, "a", 10 * S)
    report(fleet, "a", last_ms)
    assert len(fleet.told("breaker.opened")) == opened


def test_failures_of_all_agents_count_together_and_make_one_alert() -> None:
    fleet = fleet_of("a", "b", "c", failures=3)
    for name in "abc":
        report(fleet, name, 10 * S)
    [record] = fleet.told("breaker.opened")
    assert (record.agent, record.severity, record.reason) == (None, "warning", "DEPENDENCY_DOWN")
    assert record.data["agents"] == ["a", "b", "c"]
    assert record.data["error"] == "429"
    assert record.data["next"] == "agentctl breakers"
    assert alerts(fleet) == ["breaker.opened"]
    assert controls(fleet) == [("a", "open"), ("b", "open"), ("c", "open")]


def test_it_is_refused_while_open_and_tried_once_after_reset() -> None:
    fleet = fleet_of("a", "b", failures=1, reset_ms=Milliseconds(60 * S))
    fail(fleet, 1)
    assert ask(fleet, "a", 69_999) == {
        "state": "open", "allow": False, "retry_allowed": False, "retry_in_s": 0.001,
    }  # fmt: skip
    assert fleet.core.next_deadline_ms() == 70 * S
    assert ask(fleet, "a", 70 * S)["allow"] is True
    assert len(fleet.told("breaker.half_open")) == 1
    refused = ask(fleet, "b", 80 * S)
    assert (refused["state"], refused["allow"], refused["retry_in_s"]) == ("half_open", False, 50.0)


def test_a_trial_that_goes_well_closes_it_and_one_that_fails_opens_it_again() -> None:
    fleet = fleet_of("a", "b", failures=1)
    fail(fleet, 1)
    assert ask(fleet, "b", 70 * S)["allow"]
    report(fleet, "b", 71 * S)
    assert [record.event for record in fleet.told("breaker.opened")] == ["breaker.opened"] * 2
    assert ask(fleet, "b", 131 * S)["allow"]
    report(fleet, "b", 132 * S, ok=True)
    assert len(fleet.told("breaker.closed")) == 1
    assert ask(fleet, "a", 132 * S)["state"] == "closed"
    # The outage is told when it begins and when it is over, not at each trial.
    assert alerts(fleet) == ["breaker.opened", "breaker.closed"]


def test_the_failure_of_a_call_from_before_does_not_outweigh_a_trial() -> None:
    fleet = fleet_of("a", "b", failures=1)
    fail(fleet, 1)
    ask(fleet, "b", 70 * S)
    report(fleet, "a", 71 * S)
    assert len(fleet.told("breaker.opened")) == 1
    report(fleet, "b", 72 * S, ok=True)
    assert fleet.told("breaker.closed")


def test_whoever_never_asks_opens_it_again_by_failing() -> None:
    fleet = fleet_of("a", failures=1)
    fail(fleet, 1)
    fleet.pass_time(70 * S)
    report(fleet, "a", 71 * S)
    assert len(fleet.told("breaker.opened")) == 2


def test_reports_while_open_change_nothing() -> None:
    fleet = fleet_of("a", failures=1)
    fail(fleet, 1)
    report(fleet, "a", 11 * S, ok=True)
    report(fleet, "a", 12 * S)
    assert [record.event for record in fleet.told("breaker.opened", "breaker.closed")] == [
        "breaker.opened"
    ]
    assert ask(fleet, "a", 69_999)["state"] == "open"


def test_a_trial_that_nobody_reports_or_whose_agent_ended_makes_room() -> None:
    fleet = fleet_of("a", "b", failures=1)
    fail(fleet, 1)
    assert ask(fleet, "a", 70 * S)["allow"]
    assert not ask(fleet, "b", 129_999)["allow"]
    assert ask(fleet, "b", 130 * S)["allow"]
    assert not ask(fleet, "a", 131 * S)["allow"]
    fleet.end("b", 132 * S, code=0)
    assert ask(fleet, "a", 132 * S)["allow"]


@pytest.mark.parametrize(("most", "allowed"), [(1, 1), (2, 2)])
def test_half_open_lets_so_many_through_at_a_time(most: int, allowed: int) -> None:
    fleet = fleet_of("a", "b", "c", failures=1, half_open_max=most)
    fail(fleet, 1)
    assert sum(bool(ask(fleet, name, 70 * S)["allow"]) for name in "abc") == allowed


@pytest.mark.parametrize(("retries", "allowed"), [(5, True), (6, False)])
def test_a_floor_of_retries_is_always_allowed(retries: int, allowed: bool) -> None:
    fleet = fleet_of("a", retry_floor_per_minute=6, retry_ratio=0.0)
    for _ in range(retries):
        report(fleet, "a", 10 * S, ok=True, attempt=2)
    said = ask(fleet, "a", 20 * S)
    assert (said["allow"], said["retry_allowed"]) == (True, allowed)
    # What was counted at 10 s is a minute old at 70 s.
    assert said["retry_in_s"] == (0 if allowed else 50)


@pytest.mark.parametrize(("retries", "allowed"), [(19, True), (20, False)])
def test_more_retries_are_allowed_where_there_are_more_first_attempts(
    retries: int, allowed: bool
) -> None:
    fleet = fleet_of("a", "b", retry_floor_per_minute=0, retry_ratio=0.2)
    for _ in range(100):
        report(fleet, "a", 10 * S, ok=True)
    for _ in range(retries):
        report(fleet, "b", 10 * S, ok=True, attempt=2)
    assert ask(fleet, "a", 11 * S)["retry_allowed"] is allowed


def test_no_retry_without_a_first_attempt_where_there_is_no_floor() -> None:
    fleet = fleet_of("a", retry_floor_per_minute=0)
    said = ask(fleet, "a", 10 * S)
    assert (said["allow"], said["retry_allowed"], said["retry_in_s"]) == (True, False, 60)


def test_an_agent_that_fails_while_a_breaker_is_open_is_explained_and_not_told_apart() -> None:
    fleet = fleet_of("a", "b", "c", failures=2)
    report(fleet, "a", 10 * S)
    report(fleet, "b", 10 * S)
    for name in "ab":
        fleet.end(name, 20 * S, code=1)
    exits = fleet.told("agent.exited")
    assert [record.reason for record in exits] == ["DEPENDENCY_DOWN"] * 2
    assert "api (breaker open, last error 429)" in exits[0].message
    assert alerts(fleet) == ["breaker.opened"]
    fleet.end("c", 21 * S, code=1)
    assert fleet["c"].durable.reason is StopReason.EXITED
    assert "agent.exited" in alerts(fleet)


def test_a_crash_by_signal_is_a_crash_whatever_is_open() -> None:
    fleet = fleet_of("a", failures=1)
    fail(fleet, 1)
    fleet.end("a", 20 * S, signal=11)
    assert fleet["a"].durable.reason is StopReason.CRASHED
    assert "agent.exited" in alerts(fleet)


def test_an_escalation_is_told_even_so() -> None:
    fleet = fleet_of("a", failures=1)
    fail(fleet, 1)
    fleet[("a")].durable.failures = 2
    fleet.end("a", 20 * S, code=1)
    assert "agent.escalated" in alerts(fleet)


def test_a_name_without_config_gets_the_defaults() -> None:
    fleet = fleet_of("a")
    for _ in range(4):
        report(fleet, "a", 10 * S, name="other")
    assert not fleet.told("breaker.opened")
    report(fleet, "a", 10 * S, name="other")
    assert fleet.told("breaker.opened")[0].data["name"] == "other"


def test_names_that_agents_make_up_are_bounded() -> None:
    names = [f"a{number}" for number in range(NAMES_MAX // NAMES_PER_AGENT_MAX + 2)]
    fleet = fleet_of(*names)
    for agent in names:
        for number in range(NAMES_PER_AGENT_MAX + 5):
            report(fleet, agent, fleet.now_ms, ok=True, name=f"{agent}-{number}")
    known = fleet.core.breakers.known
    assert len(known) == NAMES_MAX + 1
    assert "api" in known
    assert f"{names[-1]}-{NAMES_PER_AGENT_MAX - 1}" in known
    assert f"{names[-1]}-{NAMES_PER_AGENT_MAX}" not in known
    assert ask(fleet, names[-1], fleet.now_ms, "one-too-many")["allow"] is True
    later_ms = fleet.now_ms + USED_LATELY_MS + 1
    ask(fleet, names[-1], later_ms, "one-more")
    assert "one-more" in known


def test_what_is_open_is_forgotten_last() -> None:
    fleet = fleet_of(*(f"a{number}" for number in range(20)))
    for _ in range(5):
        report(fleet, "a0", 10 * S, name="down")
    for agent in range(1, 20):
        for number in range(NAMES_PER_AGENT_MAX):
            report(fleet, f"a{agent}", 11 * S, ok=True, name=f"{agent}-{number}")
    assert "down" in fleet.core.breakers.known


def test_a_reload_applies_to_a_breaker_that_is_open() -> None:
    fleet = fleet_of("a", failures=1, reset_ms=Milliseconds(60 * S))
    fail(fleet, 1)
    shorter = BreakerConfig(failures=1, reset_ms=Milliseconds(20 * S))
    agents = fleet.core.config.agents
    fleet.tell(ev.Configured(Config(agents=agents, breakers={"api": shorter})), 15 * S)
    assert fleet.core.next_deadline_ms() == 30 * S
    fleet.pass_time(30 * S)
    assert fleet.told("breaker.half_open")


def test_only_whoever_used_it_lately_is_told() -> None:
    fleet = fleet_of("a", "b", failures=1)
    report(fleet, "b", 10 * S, ok=True)
    fail(fleet, 1, 10 * S + USED_LATELY_MS + 1)
    assert controls(fleet) == [("a", "open")]


def test_a_window_forgets_within_one_sixtieth_of_it() -> None:
    count = WindowCount(60_000)
    count.add(10_500)
    assert count.total(69_999) == 1
    assert count.total(70_000) == 0


def test_what_failed_before_it_was_closed_counts_no_more() -> None:
    fleet = fleet_of("a", failures=2)
    fail(fleet, 2)
    ask(fleet, "a", 70 * S)
    report(fleet, "a", 70 * S, ok=True)
    report(fleet, "a", 70 * S + 1)
    assert ask(fleet, "a", 70 * S + 2)["state"] == "closed"


def test_a_reload_to_more_failures_counts_on() -> None:
    fleet = fleet_of("a", failures=2)
    fail(fleet, 1)
    agents = fleet.core.config.agents
    fleet.tell(ev.Configured(Config(agents=agents, breakers={"api": BreakerConfig(failures=3)})))
    fail(fleet, 1)
    assert not fleet.told("breaker.opened")
    fail(fleet, 1)
    assert fleet.told("breaker.opened")
