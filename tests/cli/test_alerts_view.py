"""`agentctl alerts`: the queue as a person reads it, and a test of one sink."""

import json
import time
from collections.abc import Iterator

import pytest

from agentd.cli.views.alerts import queue_view
from tests.cli.stub import Document, Refusal
from tests.cli.test_output import Ctl, Serve

SINK: Document = {
    "name": "ops",
    "type": "slack",
    "min_severity": "warning",
    "waiting": 2,
    "sent": 40,
    "failed": 1,
    "last_error": "it answered 500",
    "next_attempt": "2026-11-21T08:00:04.000Z",
    "from_a_later_version": 1,
}
ENTRY: Document = {
    "alert_id": "67429c8be54499ec",
    "sink": "ops",
    "state": "waiting",
    "kind": "trigger",
    "severity": "warning",
    "agent": "crawler",
    "event": "agent.exited",
    "incident": 12,
    "attempts": 3,
    "next_attempt": "2026-11-21T08:00:04.000Z",
    "error": "it answered 500",
    "raised": "2026-11-21T07:59:00.000Z",
}


@pytest.fixture(autouse=True)
def _utc(_environment: None) -> Iterator[None]:
    time.tzset()
    yield
    time.tzset()


def test_sinks_and_queue_as_text() -> None:
    given_up = {**ENTRY, "state": "failed", "next_attempt": None, "agent": None, "incident": None}
    shown = queue_view({"sinks": [SINK], "queue": [ENTRY, given_up]})
    assert shown.splitlines() == [
        ("SINK  TYPE   FROM     WAITING  SENT  FAILED  NEXT TRY             LAST ERROR"),
        "ops   slack  warning        2    40       1  2026-11-21 08:00:04  it answered 500",
        "",
        (
            "RAISED               SINK  STATE    TRIES  NEXT TRY             KIND     AGENT"
            "    EVENT         INCIDENT  ERROR"
        ),
        (
            "2026-11-21 07:59:00  ops   waiting      3  2026-11-21 08:00:04  trigger  crawler"
            "  agent.exited        12  it answered 500"
        ),
        (
            "2026-11-21 07:59:00  ops   failed       3  -                    trigger  -"
            "        agent.exited         -  it answered 500"
        ),
    ]


def test_what_waits_for_no_time_says_for_what() -> None:
    held = {**ENTRY, "next_attempt": None, "waits": "after an older one"}
    assert "  after an older one  trigger" in queue_view({"sinks": [SINK], "queue": [held]})


def test_the_date_of_today_goes_without_saying() -> None:
    shown = queue_view({"sinks": [SINK], "queue": []}, "2026-11-21")
    assert "08:00:04" in shown
    assert "2026-11-21" not in shown


def test_what_a_receiver_answered_cannot_draw_on_the_terminal() -> None:
    shown = queue_view({"sinks": [{**SINK, "last_error": "\x1b[2J\n"}], "queue": []})
    assert "\x1b" not in shown


def test_no_sink_at_all_is_said_in_words() -> None:
    assert "nobody is told" in queue_view({"sinks": [], "queue": []})


@pytest.mark.parametrize("words", [["alerts"], ["alerts", "--json"]])
def test_the_queue_is_asked_for(serve: Serve, ctl: Ctl, words: list[str]) -> None:
    serve({"alerts": {"sinks": [SINK], "queue": [ENTRY]}})
    code, out, err = ctl(*words)
    assert (code, err) == (0, "")
    assert "67429c8be54499ec" in out if "--json" in words else "crawler" in out


def test_a_sink_that_takes_the_test_is_exit_0(serve: Serve, ctl: Ctl) -> None:
    stub = serve({"alerts": {"sink": "ops", "type": "slack", "sent": True, "error": None}})
    assert ctl("alerts", "test", "ops") == (0, '"ops" (slack) took the test message\n', "")
    assert stub.asked[-1]["args"] == {"test": "ops"}


def test_no_setting_is_blamed_for_what_the_receiver_did(serve: Serve, ctl: Ctl) -> None:
    serve({"alerts": {"sink": "ops", "type": "slack", "sent": False, "error": "it answered 503"}})
    _, _, err = ctl("alerts", "test", "ops")
    assert "it answered 503" in err
    assert "agentd check" not in err


def test_a_sink_that_does_not_is_exit_1_with_its_own_words(serve: Serve, ctl: Ctl) -> None:
    told = {"sink": "ops", "type": "slack", "sent": False, "error": "it answered 403: no_service"}
    serve({"alerts": told})
    code, out, err = ctl("alerts", "test", "ops")
    assert (code, out) == (1, "")
    assert '"ops" did not take it: it answered 403: no_service' in err
    assert "agentd check" in err
    code, out, _ = ctl("alerts", "test", "ops", "--json")
    assert (code, json.loads(out)) == (1, told)


def test_a_sink_that_there_is_not_is_told_with_the_nearest(serve: Serve, ctl: Ctl) -> None:
    serve({"alerts": Refusal("bad_request", "no sink is called 'opz'", 'did you mean "ops"?')})
    code, _, err = ctl("alerts", "test", "opz")
    assert code != 0
    assert 'did you mean "ops"?' in err


def test_a_test_of_nothing_is_a_usage_error(ctl: Ctl) -> None:
    code, _, err = ctl("alerts", "test")
    assert code == 2
    assert "name the sink" in err
