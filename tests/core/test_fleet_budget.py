"""The budget over all hosts: both sides of its bounds, cut off and not, and a person's word."""

import pytest

from agentd.config.schema import Config
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.budgets import FLEET_BUDGET
from agentd.core.host_views import FleetSpending
from agentd.core.lines import Heartbeat
from agentd.core.states import Intent, State
from tests.core.cases import MINUTE, SILENT_OK, S, alerts, kept, only
from tests.core.fleet import Fleet, config
from tests.core.others import (
    DAY_MS,
    PATIENCE_MS,
    TODAY,
    USD,
    agent,
    assert_paused_at,
    begun_anew,
    cut_off_after,
    day,
    host,
    intent_of,
    link,
    linked,
    reload,
    see,
    see_until,
    spend,
    spending,
)


def told(fleet: Fleet) -> list[str]:
    return [one.event for one in fleet.told("budget.warning", "budget.exceeded")]


@pytest.mark.parametrize(
    ("own", "others", "events"),
    [
        (1.0, 6.99, []),
        (1.0, 7.0, ["budget.warning"]),
        (1.0, 8.99, ["budget.warning"]),
        (1.0, 9.0, ["budget.exceeded"]),
        (10.0, 0.0, ["budget.exceeded"]),
        (0.0, 12.0, []),  # others' own matter: nobody here has spent anything
    ],
)
def test_both_sides_of_each_bound(own: float, others: float, events: list[str]) -> None:
    fleet = spending()
    spend(fleet, "a", own, 1 * S)
    see(fleet, 2 * S, date=TODAY, others_micros=round(others * USD), hosts_total=4)
    see(fleet, 3 * S, date=TODAY, others_micros=round(others * USD), hosts_total=4)
    assert told(fleet) == events
    over = "budget.exceeded" in events
    assert (intent_of(fleet, "a") is Intent.PAUSED) is over
    assert intent_of(fleet, "b") is Intent.UP, "who spends nothing goes on"


def test_it_is_one_incident_and_one_alert_that_names_the_fleet_s_budget() -> None:
    fleet = spending(10.0, "a", "b", "c")
    for place, name in enumerate("abc"):
        spend(fleet, name, 1.0, (1 + place) * S)
    see(fleet, 5 * S, date=TODAY, others_micros=7 * USD, hosts_total=4)
    [alert] = alerts(fleet)
    assert "the fleet's budget is exceeded: $10.00 of $10.00 today on 4 hosts" in (
        alert.record.message
    )
    assert (only(fleet).agent, only(fleet).agents) == (None, ("a", "b", "c"))
    assert only(fleet).cause == "BUDGET_EXCEEDED"
    for name in "abc":
        assert fleet[name].durable.reason == "BUDGET_EXCEEDED"
        assert FLEET_BUDGET in fleet[name].durable.evidence


def test_what_is_spent_here_alone_is_noticed_within_seconds() -> None:
    fleet = spending()
    see(fleet, 1 * S, date=TODAY)
    spend(fleet, "a", 10.0, 2 * S)
    fleet.pass_time(6 * S)
    assert intent_of(fleet, "a") is Intent.PAUSED


def test_what_others_spent_yesterday_is_not_counted_today() -> None:
    fleet = spending()
    spend(fleet, "a", 1.0, 1 * S)
    see(fleet, 2 * S, date="2026-10-31", others_micros=50 * USD)
    assert told(fleet) == []


def test_a_person_s_word_holds_for_that_agent_until_the_day_ends() -> None:
    fleet = spending()
    for name in "ab":
        spend(fleet, name, 5.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    reply = fleet.ask("resume", "a", at_ms=3 * S)
    assert reply.result is not None
    assert f"overridden: {FLEET_BUDGET} until its day ends" in str(reply.result)
    see_until(fleet, MINUTE, date=TODAY)
    spend(fleet, "a", 5.0)
    see_until(fleet, 2 * MINUTE, date=TODAY)
    assert intent_of(fleet, "a") is Intent.UP
    assert intent_of(fleet, "b") is Intent.PAUSED
    fleet.tell(day(2))
    assert intent_of(fleet, "b") is Intent.PAUSED, "nothing that a budget stopped goes on by itself"
    spend(fleet, "a", 10.0)
    see(fleet, 2 * MINUTE + 5 * S, date="2026-11-02")
    assert intent_of(fleet, "a") is Intent.PAUSED
    assert told(fleet) == ["budget.exceeded", "budget.exceeded"]


def test_a_person_s_word_holds_that_comes_before_a_new_daemon_has_seen_the_others() -> None:
    fleet = spending()
    spend(fleet, "a", 10.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    assert intent_of(fleet, "a") is Intent.PAUSED
    after = begun_anew(fleet)
    after.ask("resume", "a", at_ms=3 * S)
    see_until(after, MINUTE, date=TODAY)
    assert intent_of(after, "a") is Intent.UP


def test_a_start_by_hand_overrides_it_as_a_resume_does() -> None:
    fleet = spending()
    spend(fleet, "a", 10.0, 1 * S)
    fleet.ask("stop", "a", at_ms=1 * S)
    fleet.end("a", 1 * S + 1, signal=15)
    see(fleet, 2 * S, date=TODAY)
    assert intent_of(fleet, "a") is Intent.STOPPED, "an operator's word stands"
    fleet.ask("start", "a", at_ms=3 * S)
    see_until(fleet, MINUTE, date=TODAY)
    assert intent_of(fleet, "a") is Intent.UP


def test_a_start_that_comes_with_the_news_that_all_is_spent_is_paused_by_that_news() -> None:
    fleet = linked(
        {"a": config(heartbeat=SILENT_OK, depends_on=["machine-3/orders"])}, link(10.0)
    ).start()
    fleet.tell(day(1))
    see(fleet, 1 * S, host("machine-3", agent("orders")), date=TODAY)
    spend(fleet, "a", 5.0, 2 * S)
    fleet.ask("stop", "a", at_ms=3 * S)
    fleet.end("a", 4 * S, signal=15)
    see(fleet, 5 * S, host("machine-3", agent("orders", ready=False)), date=TODAY)
    fleet.ask("start", "a", at_ms=6 * S)
    assert fleet.starts_of("a") == [1 * S]
    ready = host("machine-3", agent("orders"))
    see(fleet, 7 * S, ready, date=TODAY, others_micros=5 * USD, hosts_total=2)
    assert fleet.starts_of("a") == [1 * S, 7 * S]
    assert intent_of(fleet, "a") is Intent.PAUSED


def test_nobody_starts_on_one_whom_it_pauses_in_that_very_step() -> None:
    fleet = spending(10.0, "a")
    see(fleet, 1 * S, date=TODAY)
    spend(fleet, "a", 10.0, 2 * S)
    agents = {"a": fleet["a"].config, "b": config(heartbeat=SILENT_OK, depends_on=["a"])}
    fleet.tell(ev.Configured(Config(agents=agents, fleet=link(10.0))), 3 * S)
    assert intent_of(fleet, "a") is Intent.PAUSED
    assert fleet.starts_of("b") == []


def test_the_incident_ends_with_the_day_once_its_agents_are_well() -> None:
    fleet = spending()
    spend(fleet, "a", 10.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    fleet.ask("resume", "a", at_ms=3 * S)
    see_until(fleet, 5 * MINUTE, date=TODAY)
    assert only(fleet).resolved_at_ms is None
    fleet.tell(day(2))
    see_until(fleet, 6 * MINUTE, date="2026-11-02")
    assert only(fleet).resolution == "there is room in the fleet's budget again"


def test_a_limit_that_is_raised_gives_room_and_forgets_what_was_said_over_it() -> None:
    fleet = spending()
    spend(fleet, "a", 10.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    fleet.ask("resume", "a", at_ms=3 * S)
    reload(fleet, link(20.0), at_ms=4 * S)
    assert fleet["a"].durable.budgets_overridden == ()
    spend(fleet, "a", 10.0, 5 * S)
    see(fleet, 6 * S, date=TODAY)
    assert intent_of(fleet, "a") is Intent.PAUSED


def test_a_limit_that_was_changed_while_no_daemon_ran_forgets_it_too() -> None:
    fleet = spending()
    spend(fleet, "a", 10.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    fleet.ask("resume", "a", at_ms=3 * S)
    assert begun_anew(fleet)["a"].durable.budgets_overridden == (FLEET_BUDGET,)
    after = begun_anew(fleet, link(20.0))
    assert after["a"].durable.budgets_overridden == ()
    spend(after, "a", 10.0, 4 * S)
    see(after, 5 * S, date=TODAY)
    after.ask("resume", "a", at_ms=6 * S)
    assert begun_anew(after)["a"].durable.budgets_overridden == (FLEET_BUDGET,)


def test_room_that_comes_and_goes_with_the_link_ends_no_person_s_word() -> None:
    fleet = cut_off_after(2.5)
    spend(fleet, "a", 2.5, 4 * S)
    fleet.pass_time(9 * S)
    assert "until its day ends" in str(fleet.ask("resume", "a", at_ms=10 * S).result)
    for minute in range(1, 5):
        see(fleet, minute * MINUTE, date=TODAY, hosts_total=4)
        see(fleet, minute * MINUTE + 5 * S, connected=False)
        spend(fleet, "a", 1.0)
        fleet.pass_time(minute * MINUTE + 50 * S)
        assert intent_of(fleet, "a") is Intent.UP, minute
    fleet.tell(day(2))
    assert fleet["a"].durable.budgets_overridden == ()


@pytest.mark.parametrize("taken_away", [True, False])
def test_a_budget_that_is_taken_away_is_over(taken_away: bool) -> None:
    fleet = spending()
    spend(fleet, "a", 10.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    reload(fleet, link() if taken_away else link(10.0), at_ms=4 * S)
    fleet.ask("resume", "a", at_ms=5 * S)
    see_until(fleet, 2 * MINUTE, date=TODAY)
    assert (only(fleet).resolved_at_ms is not None) is taken_away


# -- cut off -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "paused"),
    [(1.49, False), (1.5, True)],  # $6 are left, and there are four hosts
)
def test_cut_off_an_equal_share_of_what_was_left_may_be_spent(more: float, paused: bool) -> None:
    fleet = cut_off_after(1.0, others_usd=3.0)
    spend(fleet, "a", more, 4 * S)
    fleet.pass_time(9 * S)
    assert (intent_of(fleet, "a") is Intent.PAUSED) is paused
    if paused:
        assert "this host's share of what was left" in fleet.told("budget.exceeded")[0].message


def test_the_shares_of_all_who_are_cut_off_add_up_to_what_was_left() -> None:
    spent = []
    for number in range(4):
        fleet = spending(10.0, "a")
        spend(fleet, "a", 1.0, 1 * S)
        see(fleet, 2 * S, date=TODAY, others_micros=3 * USD, hosts_total=4)
        see(fleet, 3 * S, connected=False)
        while intent_of(fleet, "a") is Intent.UP and fleet.now_ms < 60 * MINUTE:
            spend(fleet, "a", 0.01 * (number + 1), fleet.now_ms + 4 * S)
        fleet.pass_time(fleet.now_ms + MINUTE)
        spent.append(fleet["a"].durable.cost_micros)
    # No more than a few seconds of spending beyond: here one cycle of each, and the next one.
    assert 10 * USD <= sum(spent) <= 10 * USD + 2 * sum(range(1, 5)) * 10_000


def test_a_link_that_says_nothing_any_more_is_as_good_as_cut() -> None:
    fleet = spending()
    spend(fleet, "a", 1.0, 1 * S)
    see(fleet, 2 * S, date=TODAY, others_micros=3 * USD, hosts_total=4)
    spend(fleet, "a", 2.0, 3 * S)
    fleet.pass_time(2 * S + PATIENCE_MS - 1)
    assert intent_of(fleet, "a") is Intent.UP
    fleet.pass_time(2 * S + PATIENCE_MS)
    assert intent_of(fleet, "a") is Intent.PAUSED


def test_cut_off_on_a_new_day_its_share_is_of_the_whole_budget() -> None:
    fleet = cut_off_after(1.0, others_usd=8.0)
    fleet.tell(day(2), 4 * S)
    assert_paused_at(fleet, "a", 2.5)


def test_seen_again_what_all_have_spent_counts() -> None:
    fleet = cut_off_after(2.5)
    spend(fleet, "a", 2.5, 4 * S)
    fleet.pass_time(9 * S)
    assert intent_of(fleet, "a") is Intent.PAUSED
    see(fleet, 10 * S, date=TODAY, others_micros=1 * USD, hosts_total=4)
    fleet.ask("resume", "a", at_ms=11 * S)
    assert fleet["a"].durable.budgets_overridden == (), "there is room: nothing to override"
    see_until(fleet, MINUTE, date=TODAY, others_micros=1 * USD, hosts_total=4)
    assert fleet.state_of("a") is State.RUNNING


# -- over daemon restarts ----------------------------------------------------


def test_a_new_daemon_tells_it_no_second_time_and_keeps_what_a_person_said() -> None:
    fleet = spending()
    for name in "ab":
        spend(fleet, name, 5.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    fleet.ask("resume", "a", at_ms=3 * S)
    after = begun_anew(fleet)
    see_until(after, after.now_ms + MINUTE, date=TODAY)
    assert told(after) == []
    assert intent_of(after, "a") is Intent.UP
    assert intent_of(after, "b") is Intent.PAUSED
    assert [one for one in kept(after).values() if one.resolved_at_ms is not None] == []


def test_a_new_daemon_that_is_cut_off_goes_by_what_was_written_down() -> None:
    fleet = spending()
    spend(fleet, "a", 1.0, 1 * S)
    see(fleet, 2 * S, date=TODAY, others_micros=3 * USD, hosts_total=4)
    [*_, written] = [one for _, one in fleet.effects if isinstance(one, do.PersistSpending)]
    assert written.spending == FleetSpending(DAY_MS, 1 * USD, 3 * USD, 4, 0, 10 * USD)
    after = begun_anew(fleet)
    spend(after, "a", 1.5, after.now_ms + 1 * S)
    after.pass_time(after.now_ms + PATIENCE_MS)
    assert intent_of(after, "a") is Intent.PAUSED


def test_it_is_not_written_down_at_each_word_of_the_link() -> None:
    fleet = spending()
    for number in range(1, 101):
        see(fleet, number * 5 * S, date=TODAY, others_micros=number * 1_000, hosts_total=4)
    written = [one for _, one in fleet.effects if isinstance(one, do.PersistSpending)]
    assert len(written) == 3, "its limit, the first word, and one hundredth of it"


def test_a_cost_that_nobody_knows_is_told_for_the_fleet_s_budget_as_for_any() -> None:
    fleet = spending()
    fleet.beat("a", 1 * S, Heartbeat(tokens=900, model="new"))
    [warning] = fleet.told("budget.warning")
    assert warning.data["budgets"] == [FLEET_BUDGET]


def test_before_the_first_word_of_the_link_nobody_is_paused() -> None:
    fleet = spending()
    spend(fleet, "a", 50.0, 1 * S)
    fleet.pass_time(PATIENCE_MS - 1)
    assert intent_of(fleet, "a") is Intent.UP
    fleet.pass_time(PATIENCE_MS)
    assert intent_of(fleet, "a") is Intent.PAUSED


def test_an_external_agent_that_spends_is_told_of_and_left_alone() -> None:
    fleet = linked({"x": config(external=True)}, link(10.0))
    fleet.tell(day(1))
    fleet.start()
    spend(fleet, "x", 10.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    assert told(fleet) == ["budget.exceeded"]
    assert intent_of(fleet, "x") is Intent.UP
