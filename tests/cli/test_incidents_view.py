"""Incidents as people read them: the table, one in full, and both in a narrow terminal."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentd.cli.views.agents import status_table, verdict
from agentd.cli.views.details import details
from agentd.cli.views.evidence import evidence_text
from agentd.cli.views.incidents import incident_text, incidents_table
from agentd.cli.views.table import plain
from tests.cli.incident_samples import EVIDENCE, NOW, incident, whole
from tests.cli.stub import Answer, Refusal, Stub, agent, status

Serve = Callable[[dict[str, Answer]], Stub]
Ctl = Callable[..., tuple[int, str, str]]
Document = dict[str, Any]


@pytest.fixture(autouse=True)
def _utc(_environment: None) -> Iterator[None]:
    time.tzset()
    yield
    time.tzset()


def test_the_list_as_text() -> None:
    old = incident(
        2,
        agents=["a", "b", "c"],
        agent="a",
        severity="warning",
        open=False,
        resolved="2026-11-21T03:14:13.000Z",
        summary="EXITED: ended with code 3",
    )
    known = incident(4, acknowledged_by="root")
    document = {"time": NOW, "incidents": [known, incident(), old]}
    assert plain(incidents_table(document, "2026-11-21")) == (
        "ID  SEVERITY  AGENT  CAUSE    OPENED      FOR  STATE         SUMMARY\n"
        " 4  critical  stuck  TIMEOUT  03:12:13  4m00s  acknowledged"
        "  stuck 12s in do_handshake (stuck.py:31)\n"
        " 3  critical  stuck  TIMEOUT  03:12:13  4m00s  open"
        "          stuck 12s in do_handshake (stuck.py:31)\n"
        " 2  warning   a +2   TIMEOUT  03:12:13  2m00s  resolved      EXITED: ended with code 3\n"
        "2 open, 1 resolved; agentctl incident 4"
    )


def test_no_incidents_is_said() -> None:
    assert plain(incidents_table({"incidents": []})) == "no incidents"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    long = "silent for 12s (unreachable after 10s), and its last status was waiting_llm " * 3
    document = {"time": NOW, "incidents": [incident(summary=long)]}
    evidence = {**EVIDENCE, "wchan": long, "log_tail": []}
    step = {"command": "agentctl ack 3", "why": "you have seen it: no more reminders of it"}
    one = whole(summary=long, evidence=evidence, next=[step])
    one["timeline"][0]["message"] = one["actions"][0]["message"] = long
    for text in (plain(incidents_table(document), width), incident_text(one, width)):
        assert text
        # Below 80 columns a table keeps what nobody can do without: a name, an event, words.
        assert max(map(len, text.splitlines())) <= max(width, 80)
    assert max(map(len, incident_text(one, 80).splitlines())) <= 80


def test_one_incident_as_text() -> None:
    assert incident_text(whole()) == (
        "incident 3: stuck, critical, open for 4m00s\n"
        "  what       stuck 12s in do_handshake (stuck.py:31)\n"
        "  cause      TIMEOUT\n"
        "  began      2026-11-21 03:12:01, noticed after 12s\n"
        "  restarts   1\n"
        "  known to   nobody yet\n"
        "\n"
        "seen\n"
        "  stuck while it was stuck, 2026-11-21 03:12:13:\n"
        "    stack      MainThread 71\n"
        "                 recv (/a/stuck.py:9)\n"
        "               thread (running)\n"
        "    waits in   wait_woken\n"
        "    syscall    recvfrom\n"
        "    CPU        0s\n"
        "    sockets    fd 5: tcp 127.0.0.1:40112 to 127.0.0.1:4433, established, 0B unread\n"
        "               fd 6: socket\n"
        "    last steps tool chat, output \\x1b[31mred\\x1b[0m\n"
        "    pressure   memory some 0.00\n"
        "    log        calling the model\n"
        "               \\x1b[2Jgone\n"
        "\n"
        "timeline\n"
        "  TIME      EVENT              MESSAGE\n"
        "  03:12:13  agent.unreachable  silent for 12s\n"
        "\n"
        "done\n"
        "  TIME      BY      WHAT\n"
        "  03:12:14  agentd  silent for 12s: it is ended\n"
        "\n"
        "now\n"
        "  stuck: cooldown, unreachable, TIMEOUT, next start in 1m40s\n"
        "\n"
        "next\n"
        "  agentctl ack 3  you have seen it"
    )


def test_what_is_over_says_how_it_ended_and_that_nothing_is_left() -> None:
    text = incident_text(
        whole(
            open=False,
            resolved="2026-11-21T03:15:13.000Z",
            resolution="healthy for 1m",
            recovered="2026-11-21T03:14:13.000Z",
            time_to_recover_s=132.0,
            acknowledged_by="uid 0 (root)",
            next=[],
        )
    )
    assert text.startswith("incident 3: stuck, critical, resolved after 3m00s\n")
    assert "\n  recovered  2026-11-21 03:14:13, after 2m12s\n" in text
    assert "\n  resolved   2026-11-21 03:15:13: healthy for 1m\n" in text
    assert "\n  known to   uid 0 (root)\n" in text
    assert text.endswith("\n\nnext\n  nothing: it is over")


def test_with_several_agents_each_line_names_its_own_and_every_look_is_shown() -> None:
    other = {"agent": "b", "kind": "death", "time": NOW, "exit": {"signal": 9, "reason": "CRASHED"}}
    document = whole(agents=["a", "b"], agent="a", evidence={**EVIDENCE, "agents": [other]})
    text = incident_text(document)
    assert "\n  agents     a, b\n" in text
    assert "TIME      AGENT  EVENT" in text
    assert (
        "  b after its end, 2026-11-21 03:16:13:\n    exit       signal 9, reason CRASHED" in text
    )


def test_evidence_of_another_shape_is_shown_all_the_same() -> None:
    evidence = {
        **dict.fromkeys(("wchan", "stack", "agents")),
        "agent": "a",
        "kind": "stall",
        "time": NOW,
        "stack": ["main (a.py:1)", {"function": "f", "file": "a.py", "line": 7}],
        "a_new_part_of_it": [{"deep": {"er": [1, {"x_ms": 1500}], "gone": None}}],
        "odd": [True, None, []],
    }
    assert evidence_text(evidence) == (
        "a while it was stuck, 2026-11-21 03:16:13:\n"
        "  stack      main (a.py:1)\n"
        "             f (a.py:7)\n"
        "  a new part of it\n"
        "             deep (er 1 x 1.5s)\n"
        "  odd        yes\n"
        "             None"
    )


def test_nothing_seen_is_no_section() -> None:
    nothing = {"stack": None, "agents": []}
    assert evidence_text(nothing) == ""
    assert "seen" not in incident_text(whole(evidence=nothing)).splitlines()


def test_commands_ask_for_what_was_meant(serve: Serve, ctl: Ctl) -> None:
    def answer(request: Document, _send: object) -> Document:
        return whole() if request["args"].get("id") else {"time": NOW, "incidents": [incident()]}

    stub = serve({"incidents": answer})
    code, out, _ = ctl("incidents", "stuck", "--open", "-n", "5")
    assert (code, out.splitlines()[-1]) == (0, "1 open, 0 resolved; agentctl incident 3")
    assert stub.asked[-1]["args"] == {"select": ["stuck"], "open": True, "limit": 5}
    code, out, _ = ctl("incident", "3")
    assert (code, out.splitlines()[0]) == (0, "incident 3: stuck, critical, open for 4m00s")
    assert stub.asked[-1]["args"] == {"id": 3}
    assert json.loads(ctl("incident", "3", "--json")[1])["timeline"][0]["id"] == 40
    assert json.loads(ctl("incidents", "--json")[1])["incidents"] == [incident()]


def test_an_incident_that_is_not_there_is_a_failure_and_a_bad_number_a_usage_error(
    serve: Serve, ctl: Ctl
) -> None:
    serve({"incidents": Refusal("bad_request", "no incident has the number 9", "the newest: 3")})
    code, out, err = ctl("incident", "9")
    assert (code, out) == (1, "")
    assert err == "agentctl: no incident has the number 9\n  hint: the newest: 3\n"
    for words in (("incident",), ("incident", "0"), ("incident", "1", "2"), ("ack", "9" * 40)):
        assert ctl(*words)[0] == 2, words
    _code, _out, err = ctl("incident", "stuck")
    assert "'stuck' is not the number of an incident, such as 3" in err
    assert "hint: agentctl incidents\n" in err


def test_the_numbers_of_open_incidents_are_completed(
    serve: Serve, spawned: "Callable[..., subprocess.CompletedProcess[str]]"
) -> None:
    stub = serve({"incidents": {"incidents": [incident(31), incident(4), incident(30)]}})
    line = {"_AGENTCTL_COMPLETE": "bash_complete", "COMP_WORDS": "agentctl ack 31 3"}
    done = spawned(**line, COMP_CWORD="3")
    assert done.stdout.split() == ["plain,30"]
    assert stub.asked[-1]["args"]["open"] is True


def test_k7_a_command_that_the_daemon_does_not_know_yet_is_told_with_the_way_out(
    serve: Serve, ctl: Ctl
) -> None:
    serve({})
    code, out, err = ctl("incidents")
    assert (code, out) == (1, "")
    assert "unknown command" in err
    assert "agentctl version" in err
    assert "agentctl daemon reexec" in err


def test_ack_takes_several_and_the_worst_is_the_exit_code(serve: Serve, ctl: Ctl) -> None:
    def answer(request: Document, _send: object) -> Document:
        number = request["args"]["id"]
        if number == 9:
            raise Refusal("bad_request", "there is no incident 9", "agentctl incidents")
        return {"id": number, "message": "acknowledged: no more reminders"}

    stub = serve({"ack": answer})
    code, out, err = ctl("ack", "3", "9", "4", "3", "--reason", "on it")
    assert code == 1
    assert out == (
        "incident 3: acknowledged: no more reminders\nincident 4: acknowledged: no more reminders\n"
    )
    assert err == "agentctl: there is no incident 9\n  hint: agentctl incidents\n"
    assert stub.asked[-1]["args"] == {"id": 4, "reason": "on it"}
    assert ctl("ack", "3", "-q") == (0, "", "")
    assert json.loads(ctl("ack", "3", "4", "--json")[1])["incidents"][1]["id"] == 4
    assert ctl("ack", "9", "--json")[:2] == (1, "")
    for words in (("ack",), ("ack", "all"), ("ack", "-1")):
        assert ctl(*words)[0] == 2, words


def test_long_evidence_is_told_once_and_alerts_are_counted() -> None:
    long = "stuck 13s in do_handshake (stuck.py:19), socket to 127.0.0.1:4433"
    entry = {"time": "2026-11-21T03:12:13.000Z", "agent": "stuck"}
    timeline = [
        {**entry, "event": "agent.unreachable", "message": long},
        {**entry, "event": "incident.opened", "message": f"stuck is unreachable: {long}"},
        {**entry, "event": "agent.started", "message": "started as pid 7"},
        {**entry, "event": "alert.sent", "message": 'sent to "ops": told of it all'},
        {**entry, "event": "agent.exited", "message": f"TIMEOUT: {long}; signal 15"},
    ]
    actions = [
        {**entry, "by": "agentd", "event": "alert.sent", "message": 'sent to "ops"'},
        {**entry, "by": "agentd", "event": "agent.stopping", "message": f"stopping it: {long}; x"},
    ]
    text = incident_text(whole(timeline=timeline, actions=actions))
    told = text.split("timeline\n")[1].split("\n\n")[0].splitlines()
    assert told[1:] == [
        f"  03:12:13  agent.unreachable  {long}",
        "  03:12:13  incident.opened    stuck is unreachable: (as above)",
        "  03:12:13  agent.exited       TIMEOUT: (as above); signal 15",
    ]
    done = text.split("done\n")[1].split("\n\n")[0].splitlines()
    assert done[1:] == [
        f"  03:12:13  agentd  stopping it: {long}",
        "  1 alert sent, the last 03:12:13: agentctl alerts",
    ]


def test_a_further_look_of_the_same_kind_is_counted_and_a_long_path_is_cut() -> None:
    frame = "do_handshake (/root/.pyenv/versions/3.11.7/lib/python3.11/ssl.py:1383)"
    look = {**EVIDENCE, "stack": [{"thread": 1, "frames": [frame]}], "agents": None}
    later = [{**look, "time": f"2026-11-21T03:1{minute}:00.000Z"} for minute in (3, 4)]
    narrow = evidence_text({**look, "agents": later}, 60)
    assert narrow.splitlines()[2] == " " * 15 + "do_handshake (…/python3.11/ssl.py:1383)"
    assert narrow.endswith("  seen 3 times, the last time 2026-11-21 03:14:00: --json shows all")
    assert frame in evidence_text(look)


def test_an_agent_with_an_open_incident_is_marked_and_the_next_command_is_named() -> None:
    ill = agent("a", open_incident=12)
    assert plain(status_table(status(ill))).splitlines()[1].endswith("  incident 12")
    why = agent("a", open_incident=12, reason="TIMEOUT")
    assert plain(status_table(status(why))).splitlines()[1].endswith("  incident 12, TIMEOUT")
    assert "\n  incident   12 (agentctl incident 12)\n" in details(ill)
    assert verdict(status(ill)) == (2, "agentd CRITICAL: a healthy (incident 12)")


def test_of_fifty_agents_that_fail_at_once_some_are_told_and_the_others_counted() -> None:
    names = [f"worker-{number}" for number in range(50)]
    entry = {"time": NOW, "event": "agent.exited", "message": "CRASHED: signal 11"}
    deed = {**entry, "by": "agentd", "event": "agent.restarting"}
    now = {"intent": "up", "state": "running", "health": "healthy"}
    text = incident_text(
        whole(
            agents=names,
            agent=names[0],
            timeline=[{**entry, "agent": name} for name in names * 3],
            actions=[{**deed, "agent": name} for name in names * 3],
            evidence={
                **EVIDENCE,
                "agents": [{"agent": name, "kind": "death", "wchan": "x"} for name in names],
            },
            now=[
                *({**now, "name": name} for name in names[1:]),
                {**now, "name": names[0], "health": "unreachable"},
            ],
        ),
        80,
    )
    assert len(text.splitlines()) < 200
    assert "...       ...        ...           100 more: --json has them" in text
    assert "  03:16:13  worker-0 +49  agentd  CRASHED: signal 11\n\nnow" in text
    assert "and 47 more looks at others: --json shows all" in text
    assert "\nnow\n  worker-0: running, unreachable\n  worker-1: running, healthy\n" in text
    assert "  and 44 more, 44 of them healthy: agentctl status" in text
