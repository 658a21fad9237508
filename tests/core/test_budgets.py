"""Budgets: both sides of each bound, each told once a period, and a person's word over them."""

from typing import Any

import pytest

from agentd.config.agent import BudgetConfig
from agentd.config.schema import Config
from agentd.config.units import MicroDollars
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.accounts import Periods
from agentd.core.lines import Call, Heartbeat, Usage
from agentd.core.states import Intent, State
from agentd.wire.documents import agent_document
from tests.core.fleet import Fleet, config, kinds, running

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
USD = 1_000_000


def budget(**keys: object) -> BudgetConfig:
    found = {key + "_micros" * key.startswith("usd"): value for key, value in keys.items()}
    return BudgetConfig(
        **{key: MicroDollars(val) if key.endswith("micros") else val for key, val in found.items()}
    )


def at(hour: int) -> ev.PeriodsBegan:
    begins = hour * HOUR_MS
    day = hour // 24 * DAY_MS
    month = hour // 720 * 30 * DAY_MS
    spans = ((begins, begins + HOUR_MS), (day, day + DAY_MS), (month, month + 30 * DAY_MS))
    return ev.PeriodsBegan(Periods.of(*spans))


def fleet_of(hour: int = 0, **keys: object) -> Fleet:
    fleet = Fleet({"a": config(budget=budget(**keys))})
    fleet.tell(at(hour))
    fleet.start().beat("a", 1_000)
    return fleet


def end(call: str, tokens: int = 0, micros: int | None = None) -> Call:
    return Call(call, start=False, model="m", usage=Usage(tokens), cost_micros=micros)


def shown(fleet: Fleet) -> dict[str, Any]:
    document = agent_document(fleet["a"], fleet.core.agents, fleet.now_ms, fleet.now_ms)
    [found] = document["budgets"]  # type: ignore[misc, attr-defined]
    return dict(found)


PERIODS = ("cycle", "run", "hour", "day", "month")


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (799, []),
        (800, ["budget.warning"]),
        (1_000, ["budget.warning"]),  # all of it may be spent
        (1_001, ["budget.exceeded"]),
    ],
)
def test_tokens_on_both_sides_of_each_bound(period: str, tokens: int, told: list[str]) -> None:
    fleet = fleet_of(**{f"tokens_per_{period}": 1_000})
    fleet.beat("a", 2_000, end("1", tokens, 0))
    events = [record.event for record in fleet.told("budget.warning", "budget.exceeded")]
    assert events == told
    assert (fleet.state_of("a") is State.PAUSED) is (tokens > 1_000)


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize(
    ("micros", "told"),
    [
        (4 * USD - 1, []),
        (4 * USD, ["budget.warning"]),
        (5 * USD, ["budget.warning"]),
        (5 * USD + 1, ["budget.exceeded"]),
    ],
)
def test_dollars_on_both_sides_of_each_bound(period: str, micros: int, told: list[str]) -> None:
    fleet = fleet_of(**{f"usd_per_{period}": 5 * USD})
    fleet.beat("a", 2_000, Heartbeat(cost_micros=micros))
    events = [record.event for record in fleet.told("budget.warning", "budget.exceeded")]
    assert events == told


def test_it_is_stopped_within_the_cycle_and_not_at_its_end() -> None:
    fleet = fleet_of(tokens_per_cycle=1_000)
    effects = [fleet.beat("a", 2_000 + n, end(f"c{n}", 300, 0)) for n in range(5)]
    stopped = [number for number, made in enumerate(effects) if "Freeze" in kinds(made)]
    assert stopped == [3]
    [told] = fleet.told("budget.exceeded")
    assert (told.severity, told.reason) == ("critical", "BUDGET_EXCEEDED")
    assert told.data["used"] == 1_200
    assert told.data["limit"] == 1_000


def test_what_is_spent_is_durable_before_anything_is_done_about_it() -> None:
    fleet = fleet_of(tokens_per_day=1_000)
    made = fleet.beat("a", 2_000, end("1", 1_001, 0))
    assert isinstance(made[0], do.Persist)
    assert made[0].durable.tokens == 1_001
    assert made[0].durable.intent is Intent.PAUSED
    assert not made[0].lazy
    assert kinds(made).index("Persist") < kinds(made).index("Freeze")


@pytest.mark.parametrize(
    ("action", "state"), [("pause", State.PAUSED), ("kill", State.STOPPING), ("alert", None)]
)
def test_on_exceeded_is_carried_out_once(action: str, state: State | None) -> None:
    fleet = fleet_of(tokens_per_day=1_000, on_exceeded=action)
    for number in range(10):
        fleet.beat("a", 2_000 + number, Heartbeat(tokens=500))
    assert len(fleet.told("budget.warning")) == 1  # at 1,000
    assert len(fleet.told("budget.exceeded")) == 1
    assert fleet.state_of("a") is (state or State.RUNNING)


def test_an_external_agent_can_only_be_told_of() -> None:
    fleet = Fleet({"a": config(external=True, budget=budget(tokens_per_day=10))}).start()
    fleet.beat("a", 1_000, Heartbeat(tokens=11))
    [told] = fleet.told("budget.exceeded")
    assert told.data["on_exceeded"] == "alert"
    assert fleet["a"].intent is Intent.UP


def test_what_dropped_lines_spent_is_judged_as_well() -> None:
    fleet = fleet_of(tokens_per_day=1_000)
    lines = [Heartbeat(tokens=500), Heartbeat(tokens=501)]
    fleet.tell(ev.LinesDropped("a", fleet["a"].incarnation, 2, lines), 2_000)
    assert fleet.state_of("a") is State.PAUSED


def test_each_period_is_told_of_once() -> None:
    fleet = fleet_of(tokens_per_hour=1_000, on_exceeded="alert")
    for hour in range(3):
        fleet.tell(at(hour))
        for _ in range(4):
            fleet.beat("a", fleet.now_ms + 1, Heartbeat(tokens=400))
    told = [record.event for record in fleet.told("budget.warning", "budget.exceeded")]
    assert told == ["budget.warning", "budget.exceeded"] * 3


def test_nothing_goes_on_by_itself_when_the_period_is_over() -> None:
    fleet = fleet_of(tokens_per_hour=1_000)
    fleet.beat("a", 2_000, Heartbeat(tokens=1_001))
    fleet.tell(at(1))
    fleet.pass_time(2 * HOUR_MS)
    assert fleet.state_of("a") is State.PAUSED


# A person's word.


def test_resume_overrides_what_is_exceeded_until_its_period_ends() -> None:
    fleet = fleet_of(tokens_per_hour=1_000, tokens_per_day=3_000)
    fleet.beat("a", 2_000, Heartbeat(tokens=1_001))
    reply = fleet.ask("resume", "a", at_ms=3_000)
    assert "tokens_per_hour until its hour ends" in str(reply.result)
    [resumed] = fleet.told("agent.resumed")
    assert resumed.data == {"overridden": ["tokens_per_hour"]}
    fleet.beat("a", 4_000, Heartbeat(tokens=1_500))
    assert fleet.state_of("a") is State.RUNNING
    fleet.beat("a", 5_000, Heartbeat(tokens=500))  # the day's budget holds all the same
    assert fleet.state_of("a") is State.PAUSED
    names = [record.data["budget"] for record in fleet.told("budget.exceeded")]
    assert names == ["tokens_per_hour", "tokens_per_day"]


def test_the_next_period_holds_again() -> None:
    fleet = fleet_of(tokens_per_hour=1_000)
    fleet.beat("a", 2_000, Heartbeat(tokens=1_001))
    fleet.ask("resume", "a", at_ms=3_000)
    fleet.tell(at(1))
    fleet.beat("a", 4_000, Heartbeat(tokens=1_000))
    assert fleet.state_of("a") is State.RUNNING
    fleet.beat("a", 5_000, Heartbeat(tokens=1))
    assert fleet.state_of("a") is State.PAUSED


def test_resume_after_a_kill_overrides_the_day_and_begins_a_run() -> None:
    fleet = fleet_of(tokens_per_day=1_000, tokens_per_run=2_000, on_exceeded="kill")
    fleet.beat("a", 2_000, Heartbeat(tokens=2_001))
    assert fleet["a"].intent is Intent.KILLED
    fleet.end("a", signal=9)
    fleet.ask("resume", "a", at_ms=3_000)
    fleet.beat("a", 4_000, Heartbeat(tokens=2_000))
    assert fleet["a"].intent is Intent.UP
    fleet.beat("a", 5_000, Heartbeat(tokens=1))  # the run's budget, which began anew
    assert fleet["a"].intent is Intent.KILLED


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_start_by_hand_is_a_persons_word_as_well(verb: str) -> None:
    fleet = fleet_of(tokens_per_day=1_000)
    fleet.beat("a", 2_000, Heartbeat(tokens=1_001))
    fleet.ask("stop", "a", at_ms=3_000)
    fleet.end("a", 4_000, signal=15)
    reply = fleet.ask(verb, "a", at_ms=5_000)
    assert "overridden: tokens_per_day until its day ends" in str(reply.result)
    [record] = fleet.told("agent.resumed")
    assert record.message == f"{verb}ed by ada; overridden: tokens_per_day until its day ends"
    assert record.data == {"overridden": ["tokens_per_day"]}
    fleet.beat("a", 6_000, Heartbeat(tokens=1_001))
    assert fleet["a"].intent is Intent.UP


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_start_by_hand_that_overrides_nothing_does_not_speak_of_it(verb: str) -> None:
    fleet = fleet_of(tokens_per_day=1_000)
    reply = fleet.ask(verb, "a", at_ms=2_000)
    assert "overridden" not in str(reply.result)
    assert not fleet.told("agent.resumed")


def test_resumed_before_a_kill_has_ended_it_the_budgets_overridden_are_told() -> None:
    fleet = fleet_of(tokens_per_day=1_000, tokens_per_run=900, on_exceeded="kill")
    fleet.beat("a", 2_000, Heartbeat(tokens=1_001))
    assert fleet.state_of("a") is State.STOPPING
    reply = fleet.ask("resume", "a", at_ms=3_000)
    told = "overridden: tokens_per_day until its day ends"
    assert f"starts again as soon as it has stopped; {told}" in str(reply.result)
    [record] = fleet.told("agent.resumed")
    assert record.message == f"resumed by ada after a kill, as a new execution; {told}"
    assert record.data == {"overridden": ["tokens_per_day"]}
    fleet.end("a", 4_000, signal=9)
    fleet.beat("a", 5_000, Heartbeat(tokens=900))
    assert fleet["a"].intent is Intent.UP


def test_a_restart_by_policy_overrides_nothing() -> None:
    fleet = fleet_of(tokens_per_day=1_000)
    fleet.beat("a", 2_000, Heartbeat(tokens=1_000))
    fleet.end("a", 3_000, code=1)
    fleet.beat("a", 4_000, Heartbeat(tokens=1))
    assert fleet.state_of("a") is State.PAUSED


def test_whoever_is_stopped_by_an_operator_is_not_paused_instead() -> None:
    fleet = fleet_of(tokens_per_day=1_000)
    fleet.ask("stop", "a", at_ms=2_000)
    fleet.beat("a", 2_100, Heartbeat(tokens=1_001))
    assert fleet.told("budget.exceeded")
    assert fleet["a"].intent is Intent.STOPPED


# Restarts and reloads.


def test_inv11_a_restart_of_the_daemon_changes_nothing() -> None:
    fleet = fleet_of(tokens_per_day=1_000, on_exceeded="alert")
    fleet.beat("a", 2_000, Heartbeat(tokens=900))
    durable = fleet["a"].snapshot()
    again = Fleet({"a": config(budget=budget(tokens_per_day=1_000))})
    again.now_ms = 3_000
    again.tell(at(0))
    again.start({"a": ev.Fate(durable, alive=True, pid=7)})
    again.beat("a", 4_000, Heartbeat(tokens=100))
    assert not again.told("budget.warning", "budget.exceeded")  # told before
    again.beat("a", 5_000, Heartbeat(tokens=1))
    assert again.state_of("a") is State.PAUSED


def test_a_day_that_ended_while_no_daemon_ran_is_over() -> None:
    fleet = fleet_of(tokens_per_day=1_000, on_exceeded="alert")
    fleet.beat("a", 2_000, Heartbeat(tokens=2_000))
    again = Fleet({"a": config(budget=budget(tokens_per_day=1_000))})
    again.now_ms = 3_000
    again.tell(at(24))
    again.start({"a": ev.Fate(fleet["a"].snapshot(), alive=True, pid=7)})
    again.beat("a", 4_000, Heartbeat(tokens=1_000))
    assert again.state_of("a") is State.RUNNING


@pytest.mark.parametrize(("limit", "state"), [(900, State.RUNNING), (899, State.PAUSED)])
def test_a_lowered_budget_holds_at_once(limit: int, state: State) -> None:
    fleet = fleet_of(tokens_per_day=2_000)
    fleet.beat("a", 2_000, Heartbeat(tokens=900))
    changed = Config(agents={"a": config(budget=budget(tokens_per_day=limit))})
    fleet.tell(ev.Configured(changed, applied=frozenset({"a"})))
    assert fleet.state_of("a") is state


def test_a_raised_budget_holds_anew() -> None:
    fleet = fleet_of(tokens_per_day=1_000, on_exceeded="alert")
    fleet.beat("a", 2_000, Heartbeat(tokens=1_500))
    changed = Config(agents={"a": config(budget=budget(tokens_per_day=2_000))})
    fleet.tell(ev.Configured(changed, applied=frozenset({"a"})))
    fleet.beat("a", 3_000, Heartbeat(tokens=501))
    assert len(fleet.told("budget.exceeded")) == 2
    assert fleet.state_of("a") is State.PAUSED


# Unknown cost.


def test_a_budget_in_dollars_says_once_a_day_that_it_holds_nothing() -> None:
    fleet = fleet_of(usd_per_day=5 * USD, tokens_per_day=10_000)
    for hour in (0, 5, 24):
        fleet.tell(at(hour))
        for _ in range(3):
            fleet.beat("a", fleet.now_ms + 1, end(f"{fleet.now_ms}", 10))
    told = fleet.told("budget.warning")
    assert len(told) == 2
    assert '"m"' in told[0].message
    assert told[0].data["budgets"] == ["usd_per_day"]


def test_tokens_are_held_whatever_they_cost() -> None:
    fleet = fleet_of(usd_per_day=5 * USD, tokens_per_day=1_000)
    fleet.beat("a", 2_000, end("1", 1_001))
    assert fleet.state_of("a") is State.PAUSED


def test_calls_wait_for_the_heartbeat_that_tells_the_cost_where_heartbeats_do() -> None:
    fleet = fleet_of(usd_per_day=5 * USD)
    fleet.beat("a", 2_000, Heartbeat(tokens=10, cost_micros=5))
    fleet.beat("a", 3_000, end("1", 10), end("2", 10))
    fleet.beat("a", 4_000, Heartbeat(cost_micros=7))
    assert not fleet.told("budget.warning")
    fleet.beat("a", 5_000, *[end(str(n), 10) for n in range(10)])
    assert fleet.told("budget.warning")


def test_without_a_budget_in_dollars_nobody_is_told() -> None:
    fleet = running(budget=budget(tokens_per_day=1_000))
    fleet.beat("a", 2_000, end("1", 10))
    assert not fleet.told("budget.warning")


# For people.


def test_status_shows_what_is_spent_and_when_the_period_ends() -> None:
    fleet = fleet_of(usd_per_hour=5 * USD)
    fleet.beat("a", 2_000, Heartbeat(cost_micros=6 * USD))
    assert shown(fleet) == {
        "name": "usd_per_hour",
        "limit": 5.0,
        "used": 6.0,
        "exceeded": True,
        "overridden": False,
        "period_ends_s": 3_598.0,
    }
    fleet.ask("resume", "a")
    assert shown(fleet)["overridden"] is True


def test_what_nobody_knows_is_not_shown_as_nothing() -> None:
    fleet = fleet_of(usd_per_day=5 * USD)
    fleet.beat("a", 2_000, end("1", 10))
    assert shown(fleet)["used"] is None
