"""The message as people read it."""

from dataclasses import replace

import pytest

from agentd.sinks import text
from agentd.sinks.message import Message
from tests.sinks.samples import EVENT, INCIDENT, REPORT, TRIGGER


def whole(message: Message) -> str:
    return f"{text.headline(message)}\n{text.below_headline(message)}"


def test_an_alert_says_where_who_why_what_is_known_and_what_to_type() -> None:
    done = {**INCIDENT, "actions": ["SIGTERM at 03:00:06", {"message": "restarted"}]}
    assert whole(replace(TRIGGER, incident=done)).splitlines() == [
        "CRITICAL: orders on web-1: agent.unreachable (TIMEOUT)",
        "silent for 5m; stuck 5m in do_handshake (api_client.py:47), socket to 10.0.0.7:443",
        "incident 12: orders hangs in a TLS handshake",
        "with it: mailer",
        "agentd did: SIGTERM at 03:00:06; restarted",
        "at 2026-11-21T03:00:05.123Z",
        "next: agentctl incident 12",
    ]


@pytest.mark.parametrize(
    ("kind", "beginning"),
    [
        ("trigger", "CRITICAL"),
        ("reminder", "STILL OPEN"),
        ("resolve", "RESOLVED"),
        ("acknowledge", "ACKNOWLEDGED"),
        ("test", "TEST"),
    ],
)
def test_the_first_word_says_what_kind_it_is(kind: str, beginning: str) -> None:
    said = text.headline(replace(TRIGGER, kind=kind))  # type: ignore[arg-type]
    assert said.startswith(f"{beginning}: orders on web-1")


@pytest.mark.parametrize(
    ("kind", "said"), [("trigger", True), ("reminder", True), ("resolve", False)]
)
def test_trouble_that_is_over_before_it_is_told_says_so(kind: str, *, said: bool) -> None:
    over = {
        **INCIDENT,
        "resolved": "2026-11-21T03:00:07.000Z",
        "resolution": "healthy again, after 1 restart",
    }
    lines = text.details(replace(TRIGGER, kind=kind, incident=over))  # type: ignore[arg-type]
    assert ("over meanwhile: healthy again, after 1 restart" in lines) is said


def test_the_hosts_own_trouble_names_the_host_alone() -> None:
    event = {"event": "daemon.storage", "message": "the disk is full"}
    message = replace(TRIGGER, agent=None, event=event, incident=None, next="")
    assert whole(message).splitlines() == ["CRITICAL: web-1: daemon.storage", "the disk is full"]


def test_what_is_known_of_one_agent_is_said_once_and_in_its_order() -> None:
    """As an agent that never became ready is told of."""
    told = "never became ready within 10s; signal 15 (SIGTERM)"
    event = {
        **EVENT,
        "event": "agent.exited",
        "reason": "STARTUP_TIMEOUT",
        "message": f"STARTUP_TIMEOUT: {told}",
    }
    after = {**event, "event": "agent.restarting", "message": "restarting: failure 1 of 3"}
    incident = {**INCIDENT, "agents": ["orders"], "summary": f"orders failed: {told}"}
    message = replace(TRIGGER, event=event, incident=incident, folded=(after,))
    assert whole(message).splitlines() == [
        "CRITICAL: orders on web-1: agent.exited (STARTUP_TIMEOUT)",
        told,
        "at 2026-11-21T03:00:05.123Z",
        "then: restarting: failure 1 of 3",
        "next: agentctl incident 12",
    ]


def test_an_end_says_what_came_before_it_and_nothing_twice() -> None:
    earlier = {**EVENT, "time": "2026-11-21T03:00:01.000Z"}
    gone = {**earlier, "event": "agent.exited"}
    ended = {**EVENT, "event": "agent.recovered", "reason": None, "message": "healthy again"}
    message = replace(TRIGGER, kind="resolve", event=ended, incident=None, folded=(earlier, gone))
    assert whole(message).splitlines() == [
        "RESOLVED: orders on web-1: agent.recovered",
        "healthy again",
        "at 2026-11-21T03:00:05.123Z",
        f"before: {EVENT['message']}",
        "next: agentctl incident 12",
    ]


def test_what_was_folded_in_is_listed_and_bounded() -> None:
    events = tuple({**EVENT, "agent": f"a{number:02}", "message": "x"} for number in range(50))
    lines = text.details(replace(TRIGGER, folded=events))
    assert "- a00: agent.unreachable: x" in lines
    assert lines[-1] == "- and 40 more: agentctl events"


def test_a_digest_counts_and_names_all_that_it_tells_of_the_worst_first() -> None:
    worst, *others = ({**EVENT, "agent": f"a{number}"} for number in range(10))
    message = replace(TRIGGER, kind="digest", agent=None, event=worst, folded=tuple(others))
    assert text.headline(message) == (
        "CRITICAL: web-1: 10 alerts in a short time about a0, a1, a2, a3, a4, a5, a6, a7 and 2 more"
    )
    told = text.details(replace(message, incident=None))
    assert told[0].startswith("a0: agent.unreachable: ")
    assert told[2].startswith("- a1: agent.unreachable: ")


def test_a_report_is_its_own_text_and_its_first_line_the_headline() -> None:
    assert text.details(REPORT) == []
    assert whole(REPORT).splitlines() == [
        *("2026-11-20, web-1: 1 agent waits for you", "", "Needs you:", "  orders: <escalated>"),
        "next: agentctl report --date 2026-11-20",
    ]


def test_a_report_without_a_text_still_has_a_headline() -> None:
    message = replace(REPORT, report_text="", next="")
    assert whole(message) == "2026-11-20, web-1: the daily report\n"


def test_a_report_without_end_is_cut_and_says_so() -> None:
    lines = text.report_lines(replace(REPORT, report_text="x" * 500 + "\n" + "y\n" * 100_000))
    assert sum(map(len, lines)) + len(lines) <= text.REPORT_LENGTH_MAX + 50
    assert lines[-1] == "… the rest is shown by: agentctl report"


EVIL = "\x1b[2J\x07a\r\nCRITICAL: forged\u202egnp\ud800\x85b"


def test_words_of_agents_stay_on_their_line_and_move_no_cursor() -> None:
    event = {**EVENT, "message": EVIL, "reason": EVIL}
    incident = {**INCIDENT, "summary": EVIL, "agents": [EVIL], "actions": [EVIL]}
    message = replace(TRIGGER, agent=EVIL, event=event, incident=incident, folded=(event,))
    plain = whole(message)
    assert all(line.isprintable() for line in plain.splitlines())
    assert not any(line.startswith("CRITICAL: forged") for line in plain.splitlines())
    assert "\\x1b[2J" in plain
    assert "\\u202e" in plain


def test_a_message_is_bounded_whatever_it_holds() -> None:
    long = "x" * 1_000_000
    event = {**EVENT, "message": long, "reason": long}
    incident = {**INCIDENT, "agents": [long] * 500, "actions": [long] * 500, "summary": long + "y"}
    message = replace(
        TRIGGER, agent=long, event=event, incident=incident, folded=(event,) * 500, next=long
    )
    assert len(text.headline(message)) <= text.HEADLINE_LENGTH_MAX
    assert len(text.below_headline(message)) < 10_000


def test_a_document_of_odd_types_is_still_a_message() -> None:
    odd = {"id": [], "agents": "all", "actions": 7, "summary": {"x": 1}, "acknowledged_by": 3}
    assert "CRITICAL" in whole(replace(TRIGGER, event={"message": None}, incident=odd))
