"""What of incidents outlives agentd: those that are open, and those that may be opened again."""

from dataclasses import replace

from agentd.config.agent import RestartConfig
from agentd.config.schema import AlertsConfig, Config
from agentd.config.units import Milliseconds
from agentd.core import events as ev
from agentd.core.records import IncidentRecord
from agentd.core.states import State
from tests.core.cases import (
    HOUR,
    MINUTE,
    SILENT_OK,
    S,
    alerts,
    behind_a_breaker,
    fleet_of,
    kept,
    only,
)
from tests.core.fleet import Fleet, config


def next_daemon(before: Fleet, *, alive: bool = True, at_ms: int | None = None) -> Fleet:
    """A new core that finds what is on disk, and the processes alive or as they were."""
    agents = {name: agent.config for name, agent in before.core.agents.items()}
    fleet = Fleet(agents)
    fleet.now_ms = before.now_ms if at_ms is None else at_ms
    fates = {
        name: ev.Fate(agent.snapshot(), alive=alive and agent.has_process, pid=1)
        for name, agent in before.core.agents.items()
    }
    found = list(kept(before).values())
    fleet.tell(ev.Started(fates, found, max(kept(before), default=0) + 1))
    return fleet


def escalated() -> Fleet:
    fleet = fleet_of("a", "b", restart=RestartConfig(failures_max=1))
    for name in "ab":
        fleet.end(name, 10 * S, signal=11)
    return fleet


def test_an_incident_outlives_the_daemon_with_its_number_its_key_and_its_reminder() -> None:
    before = escalated()
    after = next_daemon(before, at_ms=20 * S)
    assert after.core.incidents.opened == {1: only(before)}
    assert after.core.incidents.bound == {"a": 1, "b": 1}
    after.pass_time(10 * S + HOUR)
    [reminder] = alerts(after, "reminder")
    assert reminder.incident is not None
    assert reminder.incident.key == only(before).key
    after.ask("start", "a")
    after.end("a", code=1)
    assert only(after).number == 1


def test_what_is_well_by_now_is_resolved_but_only_by_a_heartbeat() -> None:
    before = fleet_of("a")
    before.end("a", 10 * S, signal=11)
    after = next_daemon(before)
    assert after.core.incidents.of("a") is not None
    after.beat("a", 20 * S)
    assert only(after).resolved_at_ms == 20 * S


def test_a_proof_goes_on_and_one_that_came_to_its_end_meanwhile_is_taken() -> None:
    before = fleet_of("a", heartbeat=SILENT_OK)
    before.end("a", 10 * S, signal=11)
    assert only(next_daemon(before, at_ms=60 * S)).resolved_at_ms == 60 * S
    after = next_daemon(before, at_ms=20 * S)
    after.pass_time(39 * S)
    assert 1 in after.core.incidents.opened
    after.pass_time(40 * S)
    assert not after.core.incidents.opened


def test_who_has_still_to_prove_it_goes_on_beside_others_that_are_not_well() -> None:
    before = fleet_of("a", "b", heartbeat=SILENT_OK)
    for name in "ab":
        before.end(name, 10 * S, signal=11)
    before.end("b", 11 * S, signal=11)
    after = next_daemon(before, at_ms=20 * S)
    assert after.core.incidents.bound == {"a": 1, "b": 1}
    after.end("a", 21 * S, signal=9)
    assert set(kept(after)) == {1}


def test_who_is_in_trouble_elsewhere_is_bound_there_and_no_incident_is_left_without_anybody() -> (
    None
):
    before = fleet_of("a", "b", heartbeat=SILENT_OK)
    for name in "ab":
        before.end(name, 10 * S, signal=11)
    one, other = only(before).members
    left = replace(one, troubles=(), well_since_ms=15 * S, left_at_ms=15 * S)
    found = [
        replace(only(before), members=(replace(one, troubles=("agent.exited",)),)),
        replace(only(before), number=2, members=(left, other)),
    ]
    after = Fleet({name: config(heartbeat=SILENT_OK) for name in "ab"})
    after.now_ms = 20 * S
    fates = {name: ev.Fate(before[name].snapshot(), alive=True, pid=1) for name in "ab"}
    after.tell(ev.Started(fates, found, 3))
    assert after.core.incidents.bound == {"a": 1, "b": 2}
    after.pass_time(2 * MINUTE)
    assert not after.core.incidents.opened


def test_a_breaker_is_not_known_any_more_and_its_incident_is_over() -> None:
    before = behind_a_breaker()
    after = next_daemon(before)
    assert only(after).resolution == "the dependency answers again"


def test_numbers_go_on_where_they_ended() -> None:
    fleet = Fleet({"a": config()})
    fleet.tell(ev.Started({}, (), 41))
    fleet.beat("a", 1 * S)
    fleet.end("a", 2 * S, signal=11)
    assert only(fleet).number == 41


def test_who_is_gone_is_no_part_of_it() -> None:
    before = escalated()
    agents = {"b": config(restart=RestartConfig(failures_max=1))}
    fleet = Fleet(agents)
    fleet.now_ms = 20 * S
    fates = {name: ev.Fate(agent.snapshot()) for name, agent in before.core.agents.items()}
    fleet.tell(ev.Started(fates, [only(before)], 2))
    assert fleet.core.incidents.bound == {"b": 1}
    assert fleet.state_of("b") is State.ESCALATED


def test_a_shorter_reminder_counts_from_the_change() -> None:
    before = escalated()
    found = replace(only(before), members=only(before).members)
    assert isinstance(found, IncidentRecord)
    alerts_config = AlertsConfig(remind_every_ms=Milliseconds(10 * MINUTE))
    agents = {name: agent.config for name, agent in before.core.agents.items()}
    before.tell(ev.Configured(Config(agents=agents, alerts=alerts_config)), 30 * MINUTE)
    before.pass_time(45 * MINUTE)
    assert len(alerts(before, "reminder")) == 1


def test_trouble_that_returns_after_a_restart_of_agentd_opens_its_incident_again() -> None:
    before = fleet_of("a")
    before.end("a", 10 * S, signal=11)
    before.beat("a", 12 * S)
    assert only(before).resolved_at_ms == 12 * S
    after = next_daemon(before, at_ms=20 * S)
    assert not after.core.incidents.opened
    after.end("a", 30 * S, signal=11)
    assert (only(after).number, only(after).key) == (1, only(before).key)
    assert (only(after).reopened, only(after).resolved_at_ms) == (1, None)


def test_after_a_restart_trouble_of_another_kind_is_an_incident_of_its_own() -> None:
    before = fleet_of("a")
    before.end("a", 10 * S, signal=11)
    before.beat("a", 12 * S)
    after = next_daemon(before, at_ms=20 * S)
    after.tell(ev.OomChild("a", 2, "oom_kill 0 -> 1"), 30 * S)
    assert set(kept(after)) == {2}


def test_after_a_restart_what_was_over_for_long_is_not_opened_again() -> None:
    before = fleet_of("a", heartbeat=SILENT_OK)
    before.end("a", 10 * S, signal=11)
    before.pass_time(HOUR)
    assert only(before).resolved_at_ms is not None
    after = next_daemon(before, at_ms=HOUR + 1 * S)
    after.end("a", HOUR + 3 * S, signal=11)
    assert set(kept(after)) == {2}


def test_who_left_an_incident_before_the_restart_has_part_in_it_again_after_it() -> None:
    before = fleet_of("a", "b")
    for name in "ab":
        before.end(name, 10 * S, signal=9)
    before.beat("a", 12 * S)
    after = next_daemon(before, at_ms=13 * S)
    assert after.core.incidents.bound == {"b": 1}
    after.end("a", 20 * S, signal=11)
    assert after.core.incidents.bound == {"a": 1, "b": 1}
