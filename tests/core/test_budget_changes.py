"""Budgets whose limit changes, by a reload or while agentd is down: the new limit holds."""

import pytest

from agentd.config.agent import BudgetConfig
from agentd.config.schema import Config
from agentd.core import events as ev
from agentd.core.accounts import Periods
from agentd.core.lines import Heartbeat
from agentd.core.states import State
from tests.core.fleet import Fleet, config

DAY_MS = 86_400_000
TODAY = ev.PeriodsBegan(Periods.of((0, DAY_MS // 24), (0, DAY_MS), (0, 30 * DAY_MS)))


def fleet_of(limit: int) -> Fleet:
    fleet = Fleet({"a": config(budget=BudgetConfig(tokens_per_day=limit))})
    fleet.tell(TODAY)
    fleet.start().beat("a", 1_000)
    return fleet


def changed_to(fleet: Fleet, limit: int | None, *, restarted: bool) -> Fleet:
    """Go on with another limit: of a reload, or of a config that changed while agentd was down."""
    agents = {"a": config(budget=BudgetConfig(tokens_per_day=limit))}
    if not restarted:
        fleet.tell(ev.Configured(Config(agents=agents), applied=frozenset({"a"})))
        return fleet
    again = Fleet(agents)
    again.now_ms = fleet.now_ms
    again.tell(TODAY)
    return again.start({"a": ev.Fate(fleet["a"].snapshot(), alive=True, pid=7)})


def resumed(tokens: int) -> Fleet:
    """Exceed 1,000 tokens a day by a person's leave."""
    fleet = fleet_of(1_000)
    fleet.beat("a", 2_000, Heartbeat(tokens=tokens))
    fleet.ask("resume", "a", at_ms=3_000)
    assert fleet.state_of("a") is State.RUNNING
    return fleet


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("tokens", "state"), [(999, State.RUNNING), (50_000, State.PAUSED)])
def test_a_raised_budget_ends_its_override(tokens: int, state: State, *, restarted: bool) -> None:
    fleet = changed_to(resumed(1_001), 2_000, restarted=restarted)
    fleet.beat("a", 4_000, Heartbeat(tokens=tokens))
    assert fleet.state_of("a") is state
    said = [record.data["used"] for record in fleet.told("budget.exceeded")]
    assert (50_000 + 1_001 in said) is (state is State.PAUSED)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("limit", "holds"),
    [(500, False), (1_000, False), (1_499, False), (1_500, True)],  # 1,500 are spent
)
def test_an_override_stands_while_its_budget_is_still_exceeded(
    limit: int, *, holds: bool, restarted: bool
) -> None:
    fleet = changed_to(resumed(1_500), limit, restarted=restarted)
    fleet.beat("a", 4_000, Heartbeat(tokens=50_000))
    assert (fleet.state_of("a") is State.PAUSED) is holds


@pytest.mark.parametrize("restarted", [False, True])
def test_a_budget_that_was_taken_away_and_comes_back_holds(*, restarted: bool) -> None:
    fleet = changed_to(resumed(1_500), None, restarted=restarted)
    fleet = changed_to(fleet, 2_000, restarted=restarted)
    fleet.beat("a", 4_000, Heartbeat(tokens=501))
    assert fleet.state_of("a") is State.PAUSED


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("limit", "warned"),
    [(1_000, 0), (1_125, 0), (1_127, 1), (10_000, 1)],  # four fifths of 1,125 are the 900 spent
)
def test_a_raised_budget_warns_anew(limit: int, warned: int, *, restarted: bool) -> None:
    fleet = fleet_of(1_000)
    fleet.beat("a", 2_000, Heartbeat(tokens=900))
    before = len(fleet.told("budget.warning")) * (not restarted)
    fleet = changed_to(fleet, limit, restarted=restarted)
    fleet.beat("a", 3_000, Heartbeat(tokens=max(100, limit * 94 // 100 - 900)))
    assert len(fleet.told("budget.warning")) - before == warned


def test_a_limit_that_is_raised_with_what_is_executed_holds_at_once() -> None:
    fleet = resumed(1_001)
    raised = config(budget=BudgetConfig(tokens_per_day=2_000))
    fleet.tell(ev.Configured(Config(agents={"a": raised}), restart=frozenset({"a"})))
    fleet.beat("a", 4_000, Heartbeat(tokens=50_000))  # before it is gone
    assert [record.data["limit"] for record in fleet.told("budget.exceeded")] == [1_000, 2_000]
