"""One agent's incident: when it opens, what is part of it, when it is over."""

import pytest

from agentd.config.agent import BudgetConfig, HeartbeatConfig, MemoryConfig, RestartConfig
from agentd.config.units import Bytes, Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.effects import Journal
from agentd.core.lines import Heartbeat, Status
from agentd.core.states import State
from tests.core.cases import HOUR, MINUTE, SILENT_OK, S, alerts, beat_on, fleet_of, kept, only
from tests.core.fleet import Fleet, seen

MIB = 1 << 20
STABLE = RestartConfig(
    stable_after_ms=Milliseconds(15 * MINUTE), failures_max=50, cooldown_ms=Milliseconds(0)
)


def crashed(at_ms: int = 10 * S, **keys: object) -> Fleet:
    fleet = fleet_of("a", **keys)
    fleet.end("a", at_ms, signal=11)
    return fleet


# -- opening -----------------------------------------------------------------


def test_the_first_failure_opens_an_incident_that_its_event_and_its_alert_belong_to() -> None:
    fleet = crashed()
    [told] = fleet.told("agent.exited")
    [opened] = fleet.told("incident.opened")
    assert told.incident == opened.incident == 1
    assert opened.message == "a failed: CRASHED: signal 11 (SIGSEGV)"
    assert (opened.severity, opened.reason, opened.agent) == ("warning", "CRASHED", "a")
    alert = next(one for one in alerts(fleet) if one.record is told)
    assert alert.incident is not None
    assert (alert.kind, alert.incident.number, alert.incident.agents) == ("trigger", 1, ("a",))


def test_an_incident_is_durable_with_the_step_that_opens_it_and_before_its_deeds() -> None:
    fleet = fleet_of("a")
    made = fleet.end("a", 10 * S, signal=11)
    places = {type(effect): place for place, effect in reversed(list(enumerate(made)))}
    assert places[do.PersistIncident] < places[Journal] < places[do.Alert] < places[do.Spawn]


def test_silence_began_with_the_last_sign_of_life_and_an_end_with_itself() -> None:
    fleet = fleet_of("a")
    fleet.pass_time(2 * MINUTE)
    assert (only(fleet).began_at_ms, only(fleet).opened_at_ms) == (1 * S, 91 * S)
    assert only(crashed()).began_at_ms == 10 * S


def test_warnings_of_what_may_come_open_none() -> None:
    fleet = fleet_of("a", budget=BudgetConfig(tokens_per_run=100, on_exceeded="alert"))
    fleet.beat("a", 10 * S, Heartbeat(tokens=90))
    [told] = fleet.told("budget.warning")
    assert told.incident is None
    assert kept(fleet) == {}
    [alert] = alerts(fleet)
    assert (alert.record, alert.incident) == (told, None)


def test_a_warning_belongs_to_the_incident_that_is_open() -> None:
    fleet = fleet_of("a", budget=BudgetConfig(tokens_per_run=100, on_exceeded="alert"))
    fleet.pass_time(2 * MINUTE)
    fleet.beat("a", None, Heartbeat(tokens=90))
    [told] = fleet.told("budget.warning")
    assert told.incident == 1


@pytest.mark.parametrize(("status", "opened"), [(Status.DONE, 0), (Status.WORKING, 1)])
def test_an_exit_without_a_word_is_one_and_work_that_is_done_is_none(
    status: Status, opened: int
) -> None:
    fleet = fleet_of("a")
    fleet.beat("a", 2 * S, Heartbeat(status=status))
    fleet.end("a", 3 * S, code=0)
    assert len(fleet.told("incident.opened")) == opened
    assert fleet.core.incidents.of("a") is None or fleet.state_of("a") is State.COMPLETED


# -- one cause, one incident -------------------------------------------------


def test_unreachable_after_degraded_is_the_same_incident_and_names_the_cause() -> None:
    fleet = fleet_of("a", heartbeat=HeartbeatConfig(on_unreachable="alert"))
    fleet.pass_time(2 * MINUTE)
    assert (only(fleet).cause, only(fleet).severity) == ("agent.degraded", "warning")
    fleet.pass_time(10 * MINUTE)
    assert (only(fleet).cause, only(fleet).severity) == ("TIMEOUT", "critical")
    assert only(fleet).summary.startswith("a is unreachable: silent for 5m")
    [risen] = fleet.told("incident.updated")
    assert risen.message.startswith("critical now: silent for 5m")


def test_further_failures_of_a_row_and_the_escalation_are_the_same_incident() -> None:
    fleet = crashed()
    for at_ms in (20 * S, 400 * S):
        fleet.end("a", at_ms, signal=11)
    assert fleet.state_of("a") is State.ESCALATED
    assert {told.incident for told in fleet.told("agent.exited", "agent.escalated")} == {1}
    assert only(fleet).summary.startswith("a needs a human: gave up after failure 3 of 3")
    assert (only(fleet).severity, only(fleet).cause) == ("critical", "CRASHED")
    assert only(fleet).restarts == 2


def test_severity_never_falls() -> None:
    fleet = fleet_of("a")
    seen = ev.ExitEvidence(oom_kills=1)
    fleet.end("a", 10 * S, signal=9, evidence=seen)
    assert only(fleet).severity == "critical"
    fleet.end("a", 20 * S, signal=11)
    assert only(fleet).severity == "critical"


def test_who_escalates_is_told_of_the_incident() -> None:
    fleet = crashed(restart=RestartConfig(failures_max=1, on_escalate=["tell"]))
    [run] = [one for _, one in fleet.effects if isinstance(one, do.Run)]
    told = run.payload["incident"]
    assert told == {
        "number": 1,
        "key": only(fleet).key,
        "cause": "CRASHED",
        "severity": "critical",
        "summary": only(fleet).summary,
        "agents": ["a"],
        "open_s": 0.0,
    }


# -- over, and back ----------------------------------------------------------


def test_a_heartbeat_resolves_it_and_the_recovery_is_the_alert_that_says_so() -> None:
    fleet = crashed()
    fleet.beat("a", 12 * S)
    assert only(fleet).resolved_at_ms == only(fleet).recovered_at_ms == 12 * S
    assert only(fleet).resolution == "healthy again, after 1 restart"
    [alert] = alerts(fleet, "resolve")
    assert alert.record.event == "agent.recovered"
    assert alert.incident == only(fleet)
    [told] = fleet.told("incident.resolved")
    assert told.message == "resolved: healthy again, after 1 restart; it lasted 2s"
    assert fleet.core.incidents.of("a") is None


@pytest.mark.parametrize(("by_hand", "kept_with"), [(False, [1]), (True, [])])
def test_what_an_agent_died_of_is_kept_even_if_it_is_well_again_by_then(
    by_hand: bool, kept_with: list[int]
) -> None:
    fleet = crashed()
    fleet.beat("a", 12 * S)
    fleet.sees_at_once = False
    if by_hand:
        fleet.ask("signal", "a", at_ms=20 * S, signal="SIGTERM")
    fleet.end("a", 20 * S, signal=15)
    asked = [one for _, one in fleet.effects if isinstance(one, do.Diagnose)][-1]
    fleet.ask("stop", "a", at_ms=21 * S)
    made = fleet.tell(seen(asked, "a last word", log_tail=["x"]), 22 * S)
    found = [one.incident for one in made if isinstance(one, do.SaveEvidence)]
    assert found == kept_with


def test_running_is_no_proof_where_heartbeats_are_required() -> None:
    fleet = crashed(ready="spawn")
    fleet.pass_time(60 * S)
    assert fleet.told("agent.recovered")
    assert fleet.core.incidents.of("a") is not None
    fleet.beat("a")
    assert fleet.core.incidents.of("a") is None


@pytest.mark.parametrize(("stable_s", "proof_s"), [(900, 30), (20, 20)])
def test_without_heartbeats_half_a_minute_of_running_is_the_first_proof(
    stable_s: int, proof_s: int
) -> None:
    restart = RestartConfig(stable_after_ms=Milliseconds(stable_s * S))
    fleet = crashed(heartbeat=SILENT_OK, restart=restart)
    fleet.pass_time((10 + proof_s) * S - 1)
    assert only(fleet).resolved_at_ms is None
    fleet.pass_time((10 + proof_s) * S)
    assert only(fleet).resolved_at_ms == (10 + proof_s) * S
    assert only(fleet).recovered_at_ms == 10 * S
    [alert] = alerts(fleet, "resolve")
    assert alert.record.event == "incident.resolved"


def test_time_that_nobody_watched_proves_nothing() -> None:
    fleet = crashed(heartbeat=SILENT_OK)
    fleet.now_ms = 35 * S
    fleet.tell(ev.Gap(20 * S, "suspend"))
    fleet.pass_time(59 * S)
    assert only(fleet).resolved_at_ms is None
    fleet.pass_time(60 * S)
    assert only(fleet).resolved_at_ms == 60 * S


def test_what_comes_back_too_early_opens_the_same_incident_and_has_to_prove_more() -> None:
    fleet = crashed(restart=STABLE)
    key = only(fleet).key
    fleet.beat("a", 12 * S)
    for proof_min in (1, 2, 4, 8, 15, 15):
        fleet.end("a", fleet.now_ms + 10 * S, signal=11)
        assert only(fleet).resolved_at_ms is None
        assert only(fleet).key == key
        well_ms = fleet.now_ms + 2 * S
        beat_on(fleet, "a", well_ms)
        beat_on(fleet, "a", well_ms + proof_min * MINUTE - 1)
        assert only(fleet).resolved_at_ms is None, proof_min
        fleet.beat("a", well_ms + proof_min * MINUTE)
        assert only(fleet).resolved_at_ms == fleet.now_ms, proof_min
    assert only(fleet).reopened == 6


def test_it_is_told_that_it_came_back_and_nobody_has_it_in_hand_any_more() -> None:
    fleet = crashed(restart=STABLE)
    fleet.ask("ack", id=1)
    fleet.beat("a", 12 * S)
    fleet.end("a", 20 * S, signal=11)
    again = fleet.told("incident.opened")[-1]
    assert again.message.startswith("opened again, as it came back: a failed")
    assert again.data["reopened"] == 1
    assert only(fleet).acknowledged_by == ""
    assert only(fleet).remind_at_ms == 20 * S + HOUR


@pytest.mark.parametrize(("after_ms", "numbers"), [(15 * MINUTE, [1]), (15 * MINUTE + 1, [1, 2])])
def test_long_after_a_recovery_trouble_is_a_new_incident(after_ms: int, numbers: list[int]) -> None:
    silent = HeartbeatConfig(no_progress_ms=Milliseconds(24 * HOUR))
    fleet = fleet_of("a", heartbeat=silent)
    fleet.pass_time(91 * S)  # degraded: no row of failures that would hold them together
    fleet.beat("a", 92 * S)
    at_ms = 92 * S + after_ms
    beat_on(fleet, "a", at_ms - 90 * S)
    fleet.pass_time(at_ms)
    assert len(fleet.told("agent.degraded")) == 2
    assert sorted(kept(fleet)) == numbers


def test_other_trouble_is_another_incident() -> None:
    fleet = crashed(budget=BudgetConfig(tokens_per_run=100, on_exceeded="alert"))
    fleet.beat("a", 12 * S)
    fleet.beat("a", 13 * S, Heartbeat(tokens=900))
    assert [one.cause for one in kept(fleet).values()] == ["CRASHED", "BUDGET_EXCEEDED"]


def test_work_that_is_done_needs_no_proof() -> None:
    fleet = crashed(heartbeat=SILENT_OK)
    fleet.end("a", 12 * S, code=0)
    assert fleet.state_of("a") is State.COMPLETED
    assert only(fleet).resolution == "its work is done, after 1 restart"


# -- trouble that is no matter of health -------------------------------------


def overspent() -> Fleet:
    silent = HeartbeatConfig(no_progress_ms=Milliseconds(24 * HOUR))
    budget = BudgetConfig(tokens_per_run=100, tokens_per_cycle=100, on_exceeded="alert")
    fleet = fleet_of("a", budget=budget, heartbeat=silent)
    fleet.beat("a", 10 * S, Heartbeat(tokens=900))
    assert only(fleet).cause == "BUDGET_EXCEEDED"
    return fleet


def test_what_only_alerts_is_over_an_hour_after_it_was_told_last() -> None:
    fleet = overspent()
    beat_on(fleet, "a", HOUR)
    assert only(fleet).resolved_at_ms is None
    beat_on(fleet, "a", HOUR + 10 * S)
    assert only(fleet).resolved_at_ms == HOUR + 10 * S


def test_told_again_it_stays_open_for_another_hour() -> None:
    fleet = fleet_of("a", heartbeat=HeartbeatConfig(no_progress_ms=Milliseconds(24 * HOUR)))
    for at_ms in (10 * S, HOUR):
        beat_on(fleet, "a", at_ms)
        fleet.tell(ev.OomChild("a", 1, "oom_kill 0 -> 1"))
    beat_on(fleet, "a", 2 * HOUR - S)
    assert only(fleet).resolved_at_ms is None
    beat_on(fleet, "a", 2 * HOUR)
    assert only(fleet).resolved_at_ms == 2 * HOUR


def test_a_new_incarnation_that_is_well_ends_it() -> None:
    fleet = overspent()
    fleet.ask("restart", "a", at_ms=20 * S)
    fleet.end("a", 21 * S, signal=15)
    assert only(fleet).resolved_at_ms is None
    fleet.beat("a", 22 * S)
    assert only(fleet).resolved_at_ms == 22 * S


@pytest.mark.parametrize("cmd", ["reset", "resume"])
def test_an_operators_word_ends_it(cmd: str) -> None:
    fleet = overspent()
    fleet.ask(cmd, "a", at_ms=20 * S)
    assert only(fleet).resolved_at_ms == 20 * S


def test_what_agentd_has_paused_waits_for_a_human() -> None:
    fleet = fleet_of("a", budget=BudgetConfig(tokens_per_run=100))
    fleet.beat("a", 10 * S, Heartbeat(tokens=900))
    assert fleet.state_of("a") is State.PAUSED
    fleet.pass_time(30 * HOUR)
    assert only(fleet).resolved_at_ms is None
    fleet.ask("resume", "a")
    assert only(fleet).resolved_at_ms == 30 * HOUR


def test_memory_pressure_is_over_when_memory_fell() -> None:
    memory = MemoryConfig(limit_bytes=Bytes(100 * MIB))
    fleet = fleet_of("a", memory=memory)
    fleet.tell(ev.Sampled("a", 1, 95 * MIB), 10 * S)
    assert only(fleet).cause == "memory.pressure"
    fleet.tell(ev.Sampled("a", 1, 88 * MIB), 20 * S)
    assert only(fleet).resolved_at_ms is None
    fleet.tell(ev.Sampled("a", 1, 80 * MIB), 30 * S)
    assert only(fleet).resolved_at_ms == 30 * S


def test_a_leak_stays_open_for_a_day() -> None:
    fleet = fleet_of("a", heartbeat=HeartbeatConfig(no_progress_ms=Milliseconds(72 * HOUR)))
    agent = fleet["a"]
    turn = fleet.core._turn(fleet.now_ms)
    turn.journal("memory.leak", agent, "it leaks", severity="critical")
    fleet.effects += [(fleet.now_ms, effect) for effect in turn.finish()]
    fleet.beat("a", 2 * S)
    beat_on(fleet, "a", 24 * HOUR)
    assert only(fleet).resolved_at_ms is None
    beat_on(fleet, "a", 24 * HOUR + 1 * S)
    assert only(fleet).resolved_at_ms == 24 * HOUR + 1 * S


# -- what can't be killed ----------------------------------------------------


def test_what_survives_a_kill_is_one_even_if_an_operator_wanted_it_down() -> None:
    fleet = fleet_of("a")
    fleet.ask("kill", "a", at_ms=10 * S)
    fleet.tell(ev.KillStuck("a", 1, "pid 7 in state D"), 20 * S)
    assert only(fleet).summary.startswith("a can't be killed: kill pending")
    fleet.pass_time(HOUR)
    assert only(fleet).resolved_at_ms is None
    fleet.end("a", HOUR + S, signal=9)
    assert only(fleet).resolved_at_ms == HOUR + S
    assert only(fleet).resolution == "killed by ada"
