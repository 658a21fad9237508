"""Incidents of a real daemon: their number, key and acknowledgement outlive its death."""

import pytest

from tests.daemon.harness import Daemon, Refused

FAILS_ONCE = "restart.failures_max = 1\n[heartbeat]\nrequired = false"


def test_an_incident_and_its_acknowledgement_outlive_a_killed_daemon(daemon: Daemon) -> None:
    daemon.agent("a", ["sh", "-c", "exit 3"], FAILS_ONCE)
    daemon.start()
    daemon.until("a", lambda shown: shown["state"] == "escalated" and shown["open_incident"] == 1)
    with daemon.connect() as channel:
        first = daemon.ask_on(channel, "ack", "once", id=1, reason="on it")
    assert (first["id"], first["open"]) == (1, True)
    assert first["acknowledged_by"]
    [opened] = daemon.events("a", "incident.opened")
    daemon.crash()
    daemon.start()
    assert daemon.until_state("a", "escalated")["open_incident"] == 1
    with daemon.connect() as channel:  # the same request again: the same answer, not run twice
        assert daemon.ask_on(channel, "ack", "once", id=1, reason="on it") == first
    assert daemon.ask("ack", id=1)["message"].startswith("acknowledged already by ")
    acknowledged = [
        event
        for event in daemon.events("a", "incident.updated")
        if event["data"].get("acknowledged_by")
    ]
    assert len(acknowledged) == 1
    assert acknowledged[0]["message"].endswith(": on it")
    daemon.ask("stop", select=["a"])
    daemon.until("a", lambda shown: shown["open_incident"] is None)
    [resolved] = daemon.events("a", "incident.resolved")
    assert resolved["id"] > opened["id"]


def test_over_a_crash_trouble_that_returns_is_its_incident_and_other_trouble_the_next(
    daemon: Daemon,
) -> None:
    daemon.agent("a", ["sh", "-c", "exit 3"], FAILS_ONCE)
    daemon.agent("b", ["sh", "-c", "exit 4"], f"autostart = false\n{FAILS_ONCE}")
    daemon.start()
    daemon.until("a", lambda shown: shown["open_incident"] == 1)
    daemon.ask("stop", select=["a"])
    daemon.until_state("a", "stopped")
    daemon.crash()
    daemon.start()
    daemon.ask("start", select=["b"])
    daemon.until("b", lambda shown: shown["open_incident"] == 2)
    daemon.ask("start", select=["a"])
    daemon.until("a", lambda shown: shown["open_incident"] == 1)


def test_ack_of_what_there_never_was_is_refused_with_a_hint(daemon: Daemon) -> None:
    daemon.sleeper("a")
    daemon.start()
    with pytest.raises(Refused) as refused:
        daemon.ask("ack", id=7)
    assert "there is no incident 7" in str(refused.value)
