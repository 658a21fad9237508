"""An agent that is removed, or has another name, doesn't take along what it has spent today."""

from agentd.core import effects as do
from agentd.core.states import Intent
from tests.core.cases import S, kept
from tests.core.fleet import Fleet
from tests.core.others import (
    TODAY,
    USD,
    begun_anew,
    day,
    intent_of,
    link,
    reload,
    see,
    spend,
    spending,
)


def own(fleet: Fleet, at_ms: int) -> object:
    """What other hosts are told that was spent here."""
    result = see(fleet, at_ms, date=TODAY).result
    assert result is not None
    told = result["spent_usd_day"]
    assert isinstance(told, dict)
    return told["own"]


def renamed(at_ms: int = 3 * S) -> Fleet:
    """`a` has spent 5 dollars of 10, and is called `z` from now on."""
    fleet = spending(10.0, "a")
    spend(fleet, "a", 5.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    reload(fleet, link(10.0), "z", at_ms=at_ms)
    fleet.end("a", signal=15)
    assert list(fleet.core.agents) == ["z"]
    return fleet


def test_others_are_told_of_it_all_the_same() -> None:
    assert own(renamed(), 4 * S) == 5.0


def test_it_counts_for_the_budget_once() -> None:
    fleet = renamed()
    spend(fleet, "z", 4.9, 4 * S)
    see(fleet, 5 * S, date=TODAY)
    assert intent_of(fleet, "z") is Intent.UP
    spend(fleet, "z", 0.1, 6 * S)
    see(fleet, 7 * S, date=TODAY)
    assert intent_of(fleet, "z") is Intent.PAUSED


def test_it_counts_while_the_agent_is_on_its_way_down_and_once_only() -> None:
    fleet = spending(10.0, "a")
    spend(fleet, "a", 5.0, 1 * S)
    reload(fleet, link(10.0), "z", at_ms=3 * S)
    assert sorted(fleet.core.agents) == ["a", "z"]
    assert own(fleet, 4 * S) == 5.0
    fleet.end("a", 5 * S, signal=15)
    assert own(fleet, 6 * S) == 5.0


def test_the_incident_stays_open_while_nobody_else_has_spent_anything() -> None:
    fleet = spending(10.0, "a")
    spend(fleet, "a", 10.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    reload(fleet, link(10.0), "z", at_ms=3 * S)
    fleet.end("a", 4 * S, signal=15)
    see(fleet, 5 * S, date=TODAY)
    fleet.pass_time(10 * S)
    assert [one.resolved_at_ms for one in kept(fleet).values()] == [None]
    assert fleet.core.hosts.over_budget
    after = begun_anew(fleet)
    see(after, after.now_ms + 1 * S, date=TODAY)
    after.pass_time(after.now_ms + 2 * 3_600 * S)
    assert {one.resolved_at_ms for one in kept(after).values()} == {None}, "nor at a reminder"
    spend(after, "z", 0.01)
    see(after, after.now_ms + 1 * S, date=TODAY)
    assert intent_of(after, "z") is Intent.PAUSED


def test_cut_off_it_is_part_of_this_host_s_share() -> None:
    fleet = spending(10.0, "a")
    spend(fleet, "a", 2.0, 1 * S)
    see(fleet, 2 * S, date=TODAY, others_micros=2 * USD, hosts_total=2)
    see(fleet, 3 * S, connected=False)
    spend(fleet, "a", 1.0, 4 * S)
    reload(fleet, link(10.0), "z", at_ms=5 * S)
    fleet.end("a", signal=15)
    spend(fleet, "z", 1.9, 6 * S)  # 2 of then, and a half of the 6 that were left
    fleet.pass_time(12 * S)
    assert intent_of(fleet, "z") is Intent.UP
    spend(fleet, "z", 0.1, 13 * S)
    fleet.pass_time(20 * S)
    assert intent_of(fleet, "z") is Intent.PAUSED


def test_a_new_daemon_knows_of_it() -> None:
    after = begun_anew(renamed())
    assert own(after, after.now_ms + 1 * S) == 5.0
    spend(after, "z", 1.0)
    assert own(after, after.now_ms + 1 * S) == 6.0


def test_it_is_written_down_with_the_removal_in_one_step() -> None:
    fleet = spending(10.0, "a")
    spend(fleet, "a", 5.0, 1 * S)
    fleet.ask("stop", "a", at_ms=2 * S)
    fleet.end("a", 3 * S, signal=15)
    before = len(fleet.effects)
    reload(fleet, link(10.0), "z", at_ms=4 * S)
    made = [one for _, one in fleet.effects[before:]]
    assert any(isinstance(one, do.Forget) for one in made)
    assert [one.spending.gone_micros for one in made if isinstance(one, do.PersistSpending)] == [
        5 * USD
    ]


def test_one_that_was_removed_while_no_daemon_ran_counts_too() -> None:
    fleet = spending(10.0, "a")
    spend(fleet, "a", 5.0, 1 * S)
    fleet.ask("stop", "a", at_ms=2 * S)
    fleet.end("a", 3 * S, signal=15)
    after = begun_anew(fleet, None, "z")
    assert list(after.core.agents) == ["z"]
    assert own(after, after.now_ms + 1 * S) == 5.0


def test_the_next_day_begins_with_nothing() -> None:
    fleet = renamed()
    fleet.tell(day(2), 4 * S)
    result = see(fleet, 5 * S, date="2026-11-02").result
    assert result is not None
    assert result["spent_usd_day"] == {"date": "2026-11-02", "own": 0.0}


def test_what_one_spent_that_was_stopped_since_yesterday_is_not_today_s() -> None:
    fleet = spending(10.0, "a")
    spend(fleet, "a", 5.0, 1 * S)
    fleet.ask("stop", "a", at_ms=2 * S)
    fleet.end("a", 3 * S, signal=15)
    fleet.core.periods = day(2).periods  # it is another day by the time that it is gone
    after = begun_anew(fleet, None, "z")
    assert own(after, after.now_ms + 1 * S) == 0.0


def test_of_one_that_comes_back_by_its_name_nothing_counts_twice() -> None:
    fleet = renamed()
    reload(fleet, link(10.0), "a", "z", at_ms=4 * S)
    spend(fleet, "a", 1.0, 5 * S)
    assert own(fleet, 6 * S) == 6.0
