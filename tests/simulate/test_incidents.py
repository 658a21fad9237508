"""Incidents as a simulation prints them: events, the kind of each alert, `ack` in a trace."""

from pathlib import Path

from tests.simulate.telling import BEATING, QUIET, beats, tell

REMINDING = '[alerts]\nremind_every = "10m"\n'
ONE_CHANCE = BEATING + "restart.failures_max = 1\n"
CRASH = {"t": 40, "exit": {"signal": 11}}


def ack(at_s: float, number: int) -> dict[str, object]:
    return {"t": at_s, "cmd": {"cmd": "ack", "args": {"id": number}}}


def test_an_incident_is_told_from_its_opening_to_its_end(tmp_path: Path) -> None:
    told = tell(tmp_path, BEATING, [*beats(10, 30), CRASH, {"t": 60, "line": {"status": "ok"}}])
    assert told.times("incident.opened") == [40]
    assert told.times("incident.resolved") == [60]
    found = [
        (one["t"], one["kind"], one["incident"], one["about"]) for one in told.effects("alert")
    ]
    assert found == [
        (40, "trigger", 1, "agent.exited"),
        (40, "trigger", 1, "agent.restarting"),
        (60, "resolve", 1, "agent.recovered"),
    ]


def test_an_alert_of_no_incident_says_so(tmp_path: Path) -> None:
    config = BEATING + 'budget.tokens_per_run = 100\nbudget.on_exceeded = "alert"\n'
    told = tell(tmp_path, config, [{"t": 10, "line": {"status": "ok", "tokens": 90}}])
    first = told.effects("alert")[0]
    assert (first["about"], first["kind"], first["incident"]) == ("budget.warning", "trigger", None)


def test_reminders_come_until_somebody_acknowledges(tmp_path: Path) -> None:
    trace = [*beats(10, 30), CRASH, ack(1_500, 1), {"t": 9_000, "end": True}]
    told = tell(tmp_path, ONE_CHANCE + REMINDING, trace)
    reminders = [one["t"] for one in told.effects("alert") if one["kind"] == "reminder"]
    assert reminders == [640, 1_240]
    last = told.events("incident.updated")[-1]
    assert (last["t"], last["message"]) == (1_500, "acknowledged by the trace")


def test_ack_of_what_there_is_not_is_refused(tmp_path: Path) -> None:
    told = tell(tmp_path, ONE_CHANCE, [*beats(10, 30), CRASH, ack(50, 2)])
    assert told.rejected() == ["there is no incident 2"]


def test_ack_is_checked_as_the_socket_checks_it(tmp_path: Path) -> None:
    asked = {"t": 5, "cmd": {"cmd": "ack", "args": {}}}
    told = tell(tmp_path, BEATING, [asked])
    assert len(told.rejected()) == 1
    assert "id" in told.rejected()[0]


def test_an_incident_outlives_a_crash_of_agentd(tmp_path: Path) -> None:
    trace = [
        *beats(10, 30),
        CRASH,
        {"t": 100, "daemon": "crash"},
        {"t": 200, "daemon": "start"},
        {"t": 9_000, "end": True},
    ]
    told = tell(tmp_path, ONE_CHANCE + REMINDING, trace)
    assert told.times("incident.opened") == [40]
    reminders = [one["t"] for one in told.effects("alert") if one["kind"] == "reminder"]
    assert reminders[0] == 640


def test_what_got_well_while_no_daemon_ran_is_resolved_by_the_next(tmp_path: Path) -> None:
    trace = [CRASH, {"t": 45, "daemon": "crash"}, {"t": 200, "daemon": "start"}]
    told = tell(tmp_path, QUIET, trace)
    [resolved] = told.events("incident.resolved")
    assert (resolved["t"], resolved["data"]["agents"]) == (200, ["a"])


def test_the_second_incident_has_the_next_number_after_a_crash(tmp_path: Path) -> None:
    trace = [
        CRASH,
        {"t": 100, "daemon": "crash"},
        {"t": 200, "daemon": "start"},
        {"t": 5_000, "exit": {"signal": 11}},
    ]
    told = tell(tmp_path, QUIET, trace)
    assert [one["t"] for one in told.events("incident.opened")] == [40, 5_000]
    numbers = [one["incident"] for one in told.effects("alert") if one["about"] == "agent.exited"]
    assert numbers == [1, 2]


def test_k9_the_incident_of_agents_that_die_together_names_them_all(tmp_path: Path) -> None:
    agents = "".join(
        f'[agents.a{number}]\ncommand = ["true"]\nheartbeat.required = false\n'
        for number in range(50)
    )
    trace = [{"t": 40, "agent": f"a{number}", "exit": {"signal": 9}} for number in range(50)]
    told = tell(tmp_path, agents, [*trace, {"t": 100, "end": True}])
    assert len(told.events("incident.opened")) == 1
    [resolved] = told.events("incident.resolved")
    assert len(resolved["data"]["agents"]) == 50
    kinds = {one["kind"] for one in told.effects("alert") if one["incident"] == 1}
    assert kinds == {"trigger", "resolve"}
