"""One cause is one incident: who joins whose, who leaves it, and what outlives the daemon."""

import pytest

from agentd.config.agent import HeartbeatConfig, RestartConfig
from agentd.config.schema import Config
from agentd.config.units import Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core import incident as rules
from agentd.core import incidents as registry
from agentd.core.agent import Agent
from agentd.core.causes import ALIKE_MS
from agentd.core.lines import BreakerReport
from agentd.core.records import Record
from tests.core.cases import (
    HOUR,
    MINUTE,
    S,
    alerts,
    behind_a_breaker,
    fleet_of,
    kept,
    only,
)
from tests.core.fleet import Fleet, config

NAMES = [f"a{number:02}" for number in range(50)]


def numbers(fleet: Fleet, event: str = "agent.exited") -> list[int | None]:
    return [told.incident for told in fleet.told(event)]


# -- many at once ------------------------------------------------------------


def test_k9_fifty_agents_that_die_with_the_host_are_one_incident_and_each_in_history() -> None:
    fleet = fleet_of(*NAMES)
    for place, name in enumerate(NAMES):
        fleet.end(name, 10 * S + place * 50, signal=9)
    assert numbers(fleet) == [1] * 50
    assert only(fleet).agents == tuple(NAMES)
    assert only(fleet).summary.startswith("a00 (and 49 more) failed: CRASHED: signal 9")
    assert [told.agent for told in fleet.told("agent.exited")] == NAMES
    assert {one.incident.number for one in alerts(fleet) if one.incident is not None} == {1}
    for name in NAMES:
        assert only(fleet).resolved_at_ms is None
        fleet.beat(name, 13 * S)
    assert only(fleet).resolution == "healthy again, after 50 restarts"
    assert len(alerts(fleet, "resolve")) == 1


def test_k9_what_died_while_no_daemon_ran_is_one_incident() -> None:
    fleet = fleet_of(*NAMES)
    fates = {name: ev.Fate(fleet[name].snapshot(), ended=True) for name in NAMES}
    after = Fleet({name: config() for name in NAMES})
    after.now_ms = 10 * S
    after.start(fates)
    assert len(only(after).members) == 50


@pytest.mark.parametrize(("gap_ms", "found"), [(ALIKE_MS, [1, 1]), (ALIKE_MS + 1, [1, 2])])
def test_alike_counts_for_two_seconds_from_the_last_one(gap_ms: int, found: list[int]) -> None:
    fleet = fleet_of("a", "b")
    fleet.end("a", 10 * S, signal=9)
    fleet.end("b", 10 * S + gap_ms, signal=9)
    assert numbers(fleet) == found


def test_who_fails_otherwise_has_an_incident_of_its_own() -> None:
    fleet = fleet_of("a", "b")
    fleet.end("a", 10 * S, signal=9)
    fleet.end("b", 10 * S, code=1)
    assert numbers(fleet) == [1, 2]


def test_who_is_proven_to_be_well_leaves_it_and_later_trouble_is_its_own() -> None:
    silent = HeartbeatConfig(no_progress_ms=Milliseconds(24 * HOUR))
    fleet = fleet_of("a", "b", heartbeat=silent, restart=RestartConfig(failures_max=1))
    for name in ("a", "b"):
        fleet.tell(ev.OomChild(name, 1, "oom_kill 0 -> 1"), 10 * S)
        fleet.end(name, code=3)
    assert [incident.agents for incident in kept(fleet).values()] == [("a",), ("b",)]
    fleet = fleet_of("a", "b", heartbeat=silent)
    for name in ("a", "b"):
        fleet.end(name, 10 * S, signal=9)
    fleet.beat("a", 12 * S)
    assert fleet.core.incidents.of("a") is None
    assert only(fleet).resolved_at_ms is None
    assert fleet.core.incidents.bound == {"b": 1}
    fleet.tell(ev.OomChild("a", 2, "oom_kill 0 -> 1"), 20 * S)
    assert fleet.core.incidents.bound == {"a": 2, "b": 1}


def test_who_had_left_too_early_is_part_of_it_again() -> None:
    fleet = fleet_of("a", "b")
    for name in ("a", "b"):
        fleet.end(name, 10 * S, signal=9)
    fleet.beat("a", 12 * S)
    fleet.end("a", 20 * S, signal=11)
    assert numbers(fleet) == [1, 1, 1]
    assert fleet.told("incident.updated")[-1].message.startswith("a is part of it again: CRASHED")


# -- dependants --------------------------------------------------------------


def chain(**keys: object) -> Fleet:
    """`c` needs `b`, which needs `a`."""
    agents = {
        "a": config(**keys),
        "b": config(depends_on=["a"], **keys),
        "c": config(depends_on=["b"], **keys),
    }
    fleet = Fleet(agents).start()
    for name in "abc":
        fleet.beat(name, fleet.now_ms + 1 * S)
    return fleet


@pytest.mark.parametrize("dependant", ["b", "c"])
def test_a_dependant_joins_what_it_depends_on_directly_or_not(dependant: str) -> None:
    fleet = chain()
    fleet.end("a", 10 * S, signal=11)
    fleet.end(dependant, 20 * S, code=1)
    assert numbers(fleet) == [1, 1]
    assert only(fleet).agents == ("a", dependant)
    fleet.beat("a", 30 * S)
    assert only(fleet).resolved_at_ms is None
    fleet.beat(dependant, 31 * S)
    assert only(fleet).resolved_at_ms == 31 * S


def test_what_it_depends_on_does_not_join_it() -> None:
    fleet = chain()
    fleet.end("b", 10 * S, signal=11)
    fleet.end("a", 20 * S, code=1)
    assert numbers(fleet) == [1, 2]


def test_a_dependants_memory_is_explained_by_nothing() -> None:
    fleet = chain()
    fleet.end("a", 10 * S, signal=11)
    fleet.tell(ev.OomChild("b", 1, "oom_kill 0 -> 1"))
    assert sorted(kept(fleet)) == [1, 2]


# -- what is no agent --------------------------------------------------------


def test_an_open_breaker_is_an_incident_and_the_ends_that_it_explains_join_it() -> None:
    fleet = behind_a_breaker()
    assert only(fleet).agent is None
    assert (only(fleet).subject, only(fleet).cause) == ("breaker api", "DEPENDENCY_DOWN")
    for name in "ab":
        fleet.end(name, 11 * S, code=1)
    assert numbers(fleet) == [1, 1]
    assert only(fleet).agents == ("a", "b")
    assert only(fleet).summary.startswith("dependency 'api' fails: ")
    assert {one.record.event for one in alerts(fleet)} == {"breaker.opened"}


def test_it_is_over_when_the_dependency_answers_and_all_behind_it_are_well() -> None:
    fleet = behind_a_breaker()
    fleet.end("a", 11 * S, code=1)
    fleet.beat("b", 75 * S, BreakerReport("api", True, 1, None))
    assert fleet.told("breaker.closed")[0].incident == 1
    assert only(fleet).resolved_at_ms == 75 * S
    [alert] = alerts(fleet, "resolve")
    assert alert.record.event == "breaker.closed"


def test_an_end_that_no_open_breaker_explains_is_its_own() -> None:
    fleet = behind_a_breaker()
    fleet.end("a", 11 * S, signal=11)
    assert sorted(kept(fleet)) == [1, 2]


def test_a_failing_storage_is_the_hosts_incident() -> None:
    fleet = fleet_of("a")
    fleet.tell(ev.StorageChanged(ok=False, evidence="ENOSPC"), 10 * S)
    fleet.tell(ev.StorageChanged(ok=False, evidence="ENOSPC"), 20 * S)
    assert (only(fleet).agent, only(fleet).severity) == (None, "critical")
    for severity in ("warning", "info"):  # of a log that is kept, or not: that is not the store
        fleet.core.note(Record("daemon.storage", severity, "the logs"), 25 * S)
    fleet.beat("a", 26 * S)
    assert only(fleet).resolved_at_ms is None
    fleet.tell(ev.StorageChanged(ok=True), 30 * S)
    assert only(fleet).resolution == "the storage works again"


@pytest.mark.parametrize(
    ("agent", "summary"), [("a", "a met a bug of agentd: oops"), (None, "oops")]
)
def test_a_bug_of_agentd_is_an_incident_of_the_agent_that_it_befell(
    agent: str | None, summary: str
) -> None:
    fleet = fleet_of("a", heartbeat=HeartbeatConfig(no_progress_ms=Milliseconds(24 * HOUR)))
    made = fleet.core.note(Record("daemon.fault", "critical", "oops", agent), fleet.now_ms)
    [alert] = [one for one in made if isinstance(one, do.Alert)]
    assert alert.incident is not None
    assert (alert.incident.agent, alert.incident.summary) == (agent, summary)
    fleet.beat("a")
    while fleet.now_ms < HOUR + S:
        assert 1 in fleet.core.incidents.opened
        fleet.beat("a", fleet.now_ms + 30 * S)
    assert not fleet.core.incidents.opened


# -- bounds ------------------------------------------------------------------


def test_too_many_open_ones_close_the_oldest_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "OPEN_MAX", 2)
    fleet = fleet_of("a", "b", "c")
    for place, name in enumerate("abc"):
        fleet.end(name, 10 * S + place * MINUTE, code=place + 1)
    assert sorted(fleet.core.incidents.opened) == [2, 3]
    assert kept(fleet)[1].resolution.startswith("closed unresolved: 2 others are open")


def test_an_incident_is_not_of_more_agents_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MEMBERS_MAX", 2)
    fleet = fleet_of("a", "b", "c")
    for name in "abc":
        fleet.end(name, 10 * S, signal=9)
    assert [len(incident.members) for incident in kept(fleet).values()] == [2, 1]


def test_agents_that_were_removed_leave_nothing_behind() -> None:
    fleet = fleet_of("a", "b")
    for name in "ab":
        fleet.end(name, 10 * S, signal=9)
    fleet.tell(ev.Configured(Config(agents={"b": config()})))
    fleet.end("a", 20 * S, signal=15)
    assert set(fleet.core.incidents.causes.ended) == {"a"}
    fleet.beat("b", 30 * S)
    assert only(fleet).resolved_at_ms == 30 * S
    assert set(fleet.core.incidents.causes.ended) == {"b"}


def test_a_heartbeat_costs_no_look_at_all_who_are_part_of_the_incident(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restart = RestartConfig(failures_max=50, cooldown_ms=Milliseconds(0))
    fleet = fleet_of(*NAMES, restart=restart)
    for at_ms in (10 * S, 20 * S):
        for name in NAMES:
            fleet.end(name, at_ms, signal=9)
        for name in NAMES:
            fleet.beat(name, at_ms + 1 * S)
    incident = only(fleet)
    assert (incident.reopened, incident.resolved_at_ms, len(incident.members)) == (1, None, 50)
    looked: list[str] = []
    is_well = rules.is_well

    def counted(agent: Agent) -> bool:
        looked.append(agent.name)
        return is_well(agent)

    def proof(agent: Agent, _reopened: int) -> int:
        looked.append(agent.name)
        return MINUTE

    monkeypatch.setattr(rules, "is_well", counted)
    monkeypatch.setattr(rules, "proof_ms", proof)
    for name in NAMES:
        fleet.beat(name, 22 * S)
    assert set(looked) == set(NAMES)
    assert len(looked) <= 3 * len(NAMES)
    fleet.pass_time(21 * S + MINUTE)
    assert only(fleet).resolved_at_ms == 21 * S + MINUTE
