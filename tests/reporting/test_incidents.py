"""Incidents as documents: CONTRACT 6.1 word for word, who did what, and what is left to do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from agentd.core.records import IncidentRecord, Member
from agentd.reporting.advice import advice
from agentd.reporting.deeds import deeds
from agentd.reporting.incidents import (
    evidence_document,
    full_incident_document,
    incident_document,
)
from agentd.store.rows import EvidenceRow, IncidentRow

Document = dict[str, Any]

WALL_MS = 1_795_230_733_000  # 2026-11-21T03:12:13Z
RECORD = IncidentRecord(
    number=3,
    key="host/boot/3",
    cause="TIMEOUT",
    severity="critical",
    summary="silent for 12s",
    began_at_ms=88_000,
    opened_at_ms=100_000,
    agent="stuck",
    members=(Member("stuck", 100_000, ("health",)), Member("needs-it", 101_000)),
    restarts=2,
)
ROW = IncidentRow(RECORD, WALL_MS - 12_000, WALL_MS, None, None, None)


def event(number: int, name: str, message: str = "told", **known: object) -> Document:
    return {
        "id": number,
        "time": "2026-11-21T03:12:13.000Z",
        "host": "h",
        "agent": "stuck",
        "incarnation": "i",
        "event": name,
        "severity": "warning",
        "reason": None,
        "message": message,
        "data": {},
        **known,
    }


def agent(**known: object) -> Document:
    return {
        "name": "stuck",
        "intent": "up",
        "state": "running",
        "health": "healthy",
        "held": False,
        "external": False,
        "cooldown_s": None,
        "reason": None,
        **known,
    }


def commands(cause: str = "TIMEOUT", *agents: Mapping[str, object], **known: object) -> list[str]:
    incident = {"id": 3, "open": True, "cause": cause, "acknowledged_by": None, **known}
    return [str(step["command"]) for step in advice(incident, agents)]


def test_an_open_incident_word_for_word() -> None:
    assert incident_document(ROW) == {
        "id": 3,
        "agent": "stuck",
        "agents": ["stuck", "needs-it"],
        "subject": None,
        "cause": "TIMEOUT",
        "severity": "critical",
        "opened": "2026-11-21T03:12:13.000Z",
        "resolved": None,
        "acknowledged_by": None,
        "summary": "silent for 12s",
        "restarts": 2,
        "open": True,
        "acknowledged": None,
        "began": "2026-11-21T03:12:01.000Z",
        "recovered": None,
        "time_to_detect_s": 12.0,
        "time_to_recover_s": None,
        "resolution": None,
        "reopened": 0,
        "key": "host/boot/3",
    }


def test_times_to_detect_and_recover_are_those_of_the_clock_that_never_steps() -> None:
    over = replace(
        RECORD,
        recovered_at_ms=148_500,
        resolved_at_ms=208_500,
        resolution="healthy for 1m",
        acknowledged_by="uid 0 (root)",
    )
    # Somebody set the wall clock back by an hour while it was open.
    row = IncidentRow(
        over, WALL_MS, WALL_MS, WALL_MS - 3_600_000, WALL_MS - 3_500_000, WALL_MS + 5_000
    )
    document = incident_document(row)
    assert (document["time_to_detect_s"], document["time_to_recover_s"]) == (12.0, 60.5)
    assert (document["open"], document["resolved"]) == (False, "2026-11-21T02:13:53.000Z")
    assert document["acknowledged"] == "2026-11-21T03:12:18.000Z"
    assert document["acknowledged_by"] == "uid 0 (root)"


def test_one_that_is_over_leads_to_what_its_agents_are_in_by_now() -> None:
    down = {"name": "stuck", "state": "running", "health": "unreachable", "incident": 5}
    assert commands("TIMEOUT", down, open=False) == ["agentctl incident 5"]
    assert commands("TIMEOUT", {**down, "incident": None}, open=False) == []
    whole = full_incident_document(
        replace(ROW, incident=replace(RECORD, resolved_at_ms=208_500)),
        events=[], looks=[], agents=[down],
    )  # fmt: skip
    assert whole["next"] == [{"command": "agentctl incident 5", "why": "open now: stuck"}]


def test_the_first_look_at_the_first_agent_is_flat_and_the_others_stand_beside_it() -> None:
    looks = [
        EvidenceRow(3, "needs-it", "death", WALL_MS, {"exit": {"code": 1}}),
        EvidenceRow(3, "stuck", "stall", WALL_MS, {"wchan": "wait_woken", "agent": "forged"}),
        EvidenceRow(3, "stuck", "death", WALL_MS, {"exit": {"signal": 9}}),
    ]
    evidence = evidence_document(looks, "stuck")
    assert (evidence["agent"], evidence["kind"], evidence["wchan"]) == (
        *("stuck", "stall"),
        "wait_woken",
    )
    assert evidence["stack"] is None  # nobody could say: not an empty stack
    others = evidence["agents"]
    assert isinstance(others, list)
    assert [(each["agent"], each["kind"]) for each in others] == [
        ("needs-it", "death"),
        ("stuck", "death"),
    ]


def test_an_incident_of_no_agent_shows_the_first_look_there_is() -> None:
    look = EvidenceRow(3, "a", "stall", WALL_MS, {"syscall": "futex"})
    assert evidence_document([look], None)["syscall"] == "futex"
    nothing = evidence_document([], None)
    assert (nothing["stack"], nothing["log_tail"], nothing["agents"]) == (None, None, [])


def test_deeds_are_what_was_done_and_name_who_did_it() -> None:
    told = deeds(
        [
            event(1, "agent.unreachable", "silent"),
            event(2, "agent.stopping", "it is ended", reason="TIMEOUT"),
            event(3, "agent.restarting", "restarting"),
            event(4, "alert.sent", "told ops"),
            event(5, "agent.stopping", "let me look", reason="USER_RESTARTED"),
            event(6, "agent.resumed", "resumed by root (pid 7)"),
            event(7, "incident.updated", "acknowledged", data={"acknowledged_by": "root"}),
            event(8, "incident.updated", "still open after 1h"),
            event(9, "agent.killed", "killed by ann (pid 8): enough", reason="USER_KILLED"),
            event(10, "agent.paused", "paused by agentd: loop", reason="LOOP_DETECTED"),
            event(11, "agent.held", "not started again, an action was cut off"),
            event(12, "agent.held", "held by ann (pid 8): no automatic start"),
        ]
    )
    assert told[0]["message"] == "stopping it: it is ended"
    assert [(deed["event"], deed["by"]) for deed in told] == [
        ("agent.stopping", "agentd"),
        ("agent.restarting", "agentd"),
        ("alert.sent", "agentd"),
        ("agent.stopping", "operator"),
        ("agent.resumed", "root (pid 7)"),
        ("incident.updated", "root"),
        ("agent.killed", "ann (pid 8)"),
        ("agent.paused", "agentd"),
        ("agent.held", "agentd"),
        ("agent.held", "ann (pid 8)"),
    ]


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ({"state": "escalated"}, ["agentctl logs stuck -n 50", "agentctl start stuck"]),
        ({"state": "cooldown", "cooldown_s": 90.4}, [*("agentctl logs stuck -n 50",), "start"]),
        ({"health": "unreachable"}, ["agentctl restart stuck"]),
        ({"health": "unreachable", "state": "stopped"}, [*("agentctl logs stuck -n 50",), "start"]),
        ({"state": "completed"}, [*("agentctl logs stuck -n 50",), "agentctl start stuck"]),
        ({"intent": "killed", "state": "stopped"}, ["agentctl resume stuck"]),
        ({"intent": "paused", "state": "paused"}, [*("agentctl logs stuck -n 50",), "resume"]),
        ({"intent": "stopped", "state": "stopped"}, ["agentctl start stuck"]),
        ({"held": True, "state": "stopped"}, ["agentctl unhold stuck"]),
        (
            {"held": True, "held_why": "an action was cut off", "state": "stopped"},
            ["agentctl checkpoints stuck", "agentctl unhold stuck"],
        ),
        ({"external": True, "health": "unreachable"}, ["agentctl status stuck"]),
        ({"state": "starting"}, ["agentctl status stuck"]),
        ({}, ["agentctl status stuck"]),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_next_command_fits_the_state_that_the_agent_is_in(
    now: Document, wanted: list[str]
) -> None:
    *steps, last = commands("TIMEOUT", agent(**now))
    assert len(steps) == len(wanted)
    assert all(word in step for word, step in zip(wanted, steps, strict=True))
    assert last == "agentctl ack 3"


@pytest.mark.parametrize(
    ("cause", "first"),
    [
        ("loop.detected", "agentctl pause stuck"),
        ("BUDGET_EXCEEDED", "agentctl pause stuck"),
        ("memory.pressure", "agentctl restart stuck"),
        ("breaker.opened", "agentctl breakers"),
        ("daemon.storage", "agentctl daemon"),
    ],
)
def test_what_is_left_to_do_fits_the_cause(cause: str, first: str) -> None:
    assert commands(cause, agent())[0] == first


def test_what_is_known_needs_no_acknowledgement_and_what_is_over_needs_nothing() -> None:
    assert "agentctl ack 3" not in commands("TIMEOUT", agent(), acknowledged_by="root")
    assert commands("TIMEOUT", agent(), open=False) == []


def test_fifty_agents_in_the_same_state_get_one_command() -> None:
    ill = {"state": "escalated", "health": "unreachable"}
    fleet = [agent(name=f"a{number}", **ill) for number in range(50)]
    well = [agent(name="well")]
    logs, start, ack = commands("CRASHED", *well, *fleet)
    assert logs == "agentctl logs a0 -n 50"
    assert start.split() == ["agentctl", "start", *(f"a{number}" for number in range(12))]
    assert ack == "agentctl ack 3"
    incident = {"id": 3, "open": True, "cause": "CRASHED", "acknowledged_by": "ann"}
    told = [str(step["why"]) for step in advice(incident, fleet)]
    assert [why.rpartition("(")[2] for why in told] == ["49 more like it)", "38 more like it)"]


def test_agents_in_many_states_get_a_bounded_number_of_commands() -> None:
    states = ["starting", "stopped", "escalated", "cooldown", "completed"]
    fleet = [agent(name=state, state=state, health="unreachable") for state in states]
    more = [agent(**known, health="unknown") for known in ({"held": True}, {"intent": "killed"})]
    told = commands("CRASHED", *fleet, *more)
    assert told[0] == "agentctl status starting"
    assert told[2] == "agentctl start stopped completed"
    assert len(told) == 7


def test_the_long_document_is_the_short_one_and_more() -> None:
    events = [event(1, "agent.unreachable", "silent"), event(2, "agent.restarting", "again")]
    document = full_incident_document(ROW, events=events, looks=(), agents=[agent()])
    short = incident_document(ROW)
    assert {name: document[name] for name in short} == short
    assert document["timeline"] == [
        {
            "time": "2026-11-21T03:12:13.000Z",
            "event": "agent.unreachable",
            "message": "silent",
            "agent": "stuck",
            "severity": "warning",
            "id": 1,
        },
        {
            "time": "2026-11-21T03:12:13.000Z",
            "event": "agent.restarting",
            "message": "again",
            "agent": "stuck",
            "severity": "warning",
            "id": 2,
        },
    ]
    assert [deed["event"] for deed in document["actions"]] == ["agent.restarting"]  # type: ignore[attr-defined]
