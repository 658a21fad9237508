"""What each provider is sent, against the shape that it documents."""

import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.sinks import slack
from agentd.sinks.message import DeliveryFailed
from agentd.sinks.pagerduty import payload as of_pagerduty
from agentd.sinks.registry import sink_of
from agentd.sinks.webhook import signature
from tests.sinks.receiver import Mood, Received, Receiver
from tests.sinks.samples import CANARY, EVENT, INCIDENT, REPORT, TRIGGER, config, resources

# --- slack: https://api.slack.com/messaging/webhooks, /reference/block-kit/blocks


def texts(payload: dict[str, object]) -> list[str]:
    blocks = payload["blocks"]
    assert isinstance(blocks, list)
    return [block["text"]["text"] for block in blocks]


def test_slack_gets_a_text_for_notifications_and_sections() -> None:
    payload = slack.payload(TRIGGER)
    assert payload["text"] == "CRITICAL: orders on web-1: agent.unreachable (TIMEOUT)"
    assert payload["blocks"] == [
        {
            "type": "section",
            "text": {
                "type": "mrkdwn",
                "text": ":red_circle: *CRITICAL: orders on web-1: agent.unreachable (TIMEOUT)*\n"
                "silent for 5m; stuck 5m in do_handshake (api_client.py:47), "
                "socket to 10.0.0.7:443\n"
                "incident 12: orders hangs in a TLS handshake\n"
                "with it: mailer\n"
                "at 2026-11-21T03:00:05.123Z\n"
                "next: `agentctl incident 12`",
            },
        }
    ]


def test_nobody_is_mentioned_and_nothing_fetched_by_words_of_an_agent() -> None:
    event = {**EVENT, "message": "<!channel> <https://evil|ok> R&D"}
    payload = slack.payload(replace(TRIGGER, event=event))
    [said] = texts(payload)
    assert "&lt;!channel&gt; &lt;https://evil|ok&gt; R&amp;D" in said
    assert "<" not in said
    assert payload["unfurl_links"] is payload["unfurl_media"] is False


def test_a_report_keeps_its_lines_and_its_parts_stand_out() -> None:
    [said] = texts(slack.payload(REPORT))
    assert said.splitlines() == [
        ":large_green_circle: *2026-11-20, web-1: 1 agent waits for you*",
        "",
        "*Needs you:*",
        "  orders: &lt;escalated&gt;",
        "next: `agentctl report --date 2026-11-20`",
    ]


@pytest.mark.parametrize(
    "report",
    [
        "\n".join(["&" * 1000, *["&" * 560 + ":"] * 1000]),
        "\n".join(["&" * 1000, *["&" * 580, "&" * 21] * 1000]),  # no two fit one block
        "\n".join("x" * 10_000),
    ],
)
def test_a_long_report_keeps_to_the_limits_of_slack(report: str) -> None:
    """A line of `&` alone is five times as long once it is escaped."""
    message = replace(REPORT, report_text=report, next="&" * 1000)
    sections = texts(slack.payload(message))
    assert len(sections) <= 50
    assert all(0 < len(section) <= slack.SECTION_LENGTH_MAX for section in sections)
    assert sections[-1].endswith("…`")


@pytest.mark.parametrize(
    ("severity", "kind", "sign"),
    [
        ("critical", "trigger", ":red_circle:"),
        ("warning", "trigger", ":large_yellow_circle:"),
        ("info", "trigger", ":white_circle:"),
        ("info", "resolve", ":large_green_circle:"),
        ("critical", "reminder", ":red_circle:"),
    ],
)
def test_a_glance_tells_how_bad_it_is(severity: str, kind: str, sign: str) -> None:
    payload = slack.payload(replace(TRIGGER, severity=severity, kind=kind))  # type: ignore[arg-type]
    assert texts(payload)[0].startswith(sign)


# --- pagerduty: https://developer.pagerduty.com/docs/send-alert-event


def test_pagerduty_gets_a_trigger_with_all_that_it_asks_for() -> None:
    sent = of_pagerduty(TRIGGER, "key")
    payload = sent["payload"]
    assert isinstance(payload, dict)
    assert (sent["routing_key"], sent["event_action"]) == ("key", "trigger")
    assert sent["dedup_key"] == "web-1/12"
    assert payload["summary"].startswith("CRITICAL: orders on web-1: agent.unreachable (TIMEOUT): ")
    assert "do_handshake (api_client.py:47)" in payload["summary"]
    assert (payload["source"], payload["severity"]) == ("web-1", "critical")
    assert (payload["component"], payload["class"]) == ("orders", "TIMEOUT")
    assert payload["timestamp"] == "2026-11-21T03:00:05.123Z"
    assert payload["custom_details"]["next"] == "agentctl incident 12"


def test_l7_a_pagerduty_that_quotes_our_key_is_told_without_it(
    receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{CANARY}\n")
    receiver.mood, receiver.error_said = Mood.ERROR, f"no service has the key {CANARY}"
    described = config("pagerduty", routing_key_file="key", url=receiver.url)
    with pytest.raises(DeliveryFailed, match=r"no service has the key \*\*\*"):
        sink_of(described, resources(tmp_path)).deliver(TRIGGER)


@pytest.mark.parametrize("severity", ["info", "warning", "critical"])
def test_our_severities_are_pagerdutys(severity: str) -> None:
    payload = of_pagerduty(replace(TRIGGER, severity=severity), "k")["payload"]  # type: ignore[arg-type]
    assert isinstance(payload, dict)
    assert payload["severity"] == severity
    assert severity in {"critical", "error", "warning", "info"}


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("trigger", "trigger"),
        ("reminder", "trigger"),  # of the same key: it adds to what is open there
        ("digest", "trigger"),
        ("test", "trigger"),
        ("acknowledge", "acknowledge"),
        ("resolve", "resolve"),
    ],
)
def test_each_kind_is_one_of_pagerdutys_actions(kind: str, action: str) -> None:
    sent = of_pagerduty(replace(TRIGGER, kind=kind), "k")  # type: ignore[arg-type]
    assert sent["event_action"] == action
    assert sent["dedup_key"] == "web-1/12"
    assert ("payload" in sent) is (action == "trigger")


def test_pagerdutys_limits_are_kept() -> None:
    event = {**EVENT, "message": "x" * 5000, "event": "y" * 5000}
    sent = of_pagerduty(replace(TRIGGER, event=event, dedup_key="k" * 999), "k")
    payload = sent["payload"]
    assert isinstance(payload, dict)
    assert len(payload["summary"]) <= 1024
    assert len(str(sent["dedup_key"])) == 255
    assert len(json.dumps(sent)) < 512 << 10


def test_pagerduty_takes_202_for_success(receiver: Receiver, tmp_path: Path) -> None:
    receiver.status = 202
    (tmp_path / "key").write_text("k\n")
    described = config("pagerduty", routing_key_file="key", url=receiver.at("/v2/enqueue"))
    sink_of(described, resources(tmp_path)).deliver(TRIGGER)
    assert receiver.received[0].path == "/v2/enqueue"


# --- webhook: docs/alerts.md

SIGNED = {"secret_file": "secret"}


def posted(receiver: Receiver, directory: Path, **options: object) -> Received:
    sink_of(config("webhook", url=receiver.url, **options), resources(directory)).deliver(TRIGGER)
    return receiver.received[-1]


def test_a_webhook_gets_the_document(receiver: Receiver, tmp_path: Path) -> None:
    received = posted(receiver, tmp_path)
    assert received.json() == {
        "version": 1,
        "alert_id": "a-1",
        "dedup_key": "web-1/12",
        "kind": "trigger",
        "severity": "critical",
        "host": "web-1",
        "agent": "orders",
        "event": EVENT,
        "incident": INCIDENT,
        "next": "agentctl incident 12",
    }
    assert received.headers["content-type"] == "application/json"
    assert received.headers["idempotency-key"] == "a-1"
    assert "x-agentd-signature" not in received.headers


def test_a_body_is_signed_as_a_stranger_would_verify_it(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"  {CANARY} \nanother line\n")
    received = posted(receiver, tmp_path, **SIGNED)
    expected = hmac.new(CANARY.encode(), received.body, hashlib.sha256).hexdigest()
    assert received.headers["x-agentd-signature"] == f"sha256={expected}"
    assert CANARY.encode() not in received.body


def test_the_signature_is_that_of_the_rfc() -> None:
    """RFC 4231, test case 2."""
    mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signature("Jefe", b"what do ya want for nothing?") == f"sha256={mac}"


def test_without_its_secret_nothing_is_sent(receiver: Receiver, tmp_path: Path) -> None:
    with pytest.raises(DeliveryFailed, match="secret: cannot be read"):
        posted(receiver, tmp_path, **SIGNED)
    assert receiver.received == []


def test_a_digest_holds_what_was_folded_and_a_report_its_document(
    receiver: Receiver, tmp_path: Path
) -> None:
    sink = sink_of(config("webhook", url=receiver.url), resources(tmp_path))
    sink.deliver(replace(TRIGGER, folded=(EVENT, EVENT)))
    sink.deliver(REPORT)
    folded, report = (one.json() for one in receiver.received)
    assert folded["folded"] == [EVENT, EVENT]
    assert report["report"] == REPORT.report
    assert "folded" not in report
