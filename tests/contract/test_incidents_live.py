"""Incidents through a real daemon and the real command line, from the first failure to the end."""

import getpass
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.daemon.harness import Daemon, daemon

__all__ = ["daemon"]

Document = dict[str, Any]

CRASHING = ["sh", "-c", "echo importing; echo 'column price is missing' >&2; exit 3"]
NOT_BEATING = "[heartbeat]\nrequired = false"
SHORT = {
    *("id", "agent", "agents", "cause", "severity", "opened", "resolved"),
    *("acknowledged_by", "summary", "restarts", "open"),
}


def ctl(under: Daemon, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    kept = {key: word for key, word in os.environ.items() if not key.startswith("AGENTD_")}
    return subprocess.run(
        [sys.executable, "-m", "agentd.cli", "-s", str(under.socket), *words],
        env={**kept, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def document(under: Daemon, *words: str) -> Document:
    done = ctl(under, *words, "--json")
    assert (done.returncode, done.stderr) == (0, ""), done
    found: Document = json.loads(done.stdout)
    return found


@pytest.fixture
def escalated(daemon: Daemon) -> Daemon:
    """A daemon whose only agent has failed until agentd gave up."""
    text = 'restart.failures_max = 2\nrestart.cooldown = "300ms"\n' + NOT_BEATING
    daemon.agent("crashing", CRASHING, text)
    daemon.start()
    daemon.until_state("crashing", "escalated")
    daemon.until_true(lambda: daemon.ask("incidents")["incidents"][0]["severity"] == "critical")
    return daemon


def test_a_row_of_failures_is_one_incident_with_all_there_is_to_know(escalated: Daemon) -> None:
    listed = document(escalated, "incidents")["incidents"]
    assert [each["id"] for each in listed] == [1]
    assert listed[0].keys() >= SHORT
    assert (listed[0]["agent"], listed[0]["open"], listed[0]["severity"]) == (
        *("crashing", True),
        "critical",
    )
    whole = document(escalated, "incident", "1")
    assert {name: whole[name] for name in SHORT} == {name: listed[0][name] for name in SHORT}
    told = [entry["event"] for entry in whole["timeline"]]
    assert told.count("agent.exited") == 2
    assert "agent.escalated" in told
    assert [entry["id"] for entry in whole["timeline"]] == sorted(
        entry["id"] for entry in whole["timeline"]
    )
    assert "agent.escalated" in [deed["event"] for deed in whole["actions"]]
    assert [step["command"] for step in whole["next"]] == [
        *("agentctl logs crashing -n 50", "agentctl start crashing", "agentctl ack 1")
    ]
    assert [agent["state"] for agent in whole["now"]] == ["escalated"]


def test_the_evidence_of_a_death_is_kept_with_it(escalated: Daemon) -> None:
    escalated.until_true(lambda: document(escalated, "incident", "1")["evidence"].get("exit"))
    evidence = document(escalated, "incident", "1")["evidence"]
    assert (evidence["agent"], evidence["kind"]) == ("crashing", "death")
    assert evidence["exit"]["code"] == 3
    assert evidence["log_tail"][-1] == "column price is missing"


def test_it_reads_well_without_a_terminal_and_without_colours(escalated: Daemon) -> None:
    done = ctl(escalated, "incident", "1")
    assert (done.returncode, done.stderr) == (0, "")
    head, *_ = done.stdout.splitlines()
    assert head.startswith("incident 1: crashing, critical, open for ")
    for title in ("seen", "timeline", "done", "now", "next"):
        assert f"\n\n{title}\n" in done.stdout, title
    assert "\n  agentctl ack 1 " in done.stdout
    assert "\x1b" not in done.stdout
    table = ctl(escalated, "incidents", "--open", NO_COLOR="1").stdout
    assert table.splitlines()[0].split() == [
        *("ID", "SEVERITY", "AGENT", "CAUSE", "OPENED", "FOR", "STATE", "SUMMARY")
    ]
    assert table.splitlines()[-1] == "1 open, 0 resolved; agentctl incident 1"


def test_status_names_the_open_incident_and_the_next_command(escalated: Daemon) -> None:
    assert escalated.status("crashing")["open_incident"] == 1
    assert "incident 1" in ctl(escalated, "status").stdout
    assert "agentctl incident 1" in ctl(escalated, "status", "crashing").stdout
    assert ctl(escalated, "status", "--check").returncode == 2


def test_ack_is_told_to_all_and_a_start_that_works_ends_it(escalated: Daemon) -> None:
    done = ctl(escalated, "ack", "1", "--reason", "on it")
    assert (done.returncode, done.stderr) == (0, "")
    whole = document(escalated, "incident", "1")
    assert whole["acknowledged_by"]
    assert whole["acknowledged"]
    assert "agentctl ack 1" not in [step["command"] for step in whole["next"]]
    said = whole["actions"][-1]
    assert said["by"] == whole["acknowledged_by"]
    assert said["message"].endswith(": on it")
    again = ctl(escalated, "ack", "1")
    assert again.returncode == 0
    assert "already" in again.stdout
    assert ctl(escalated, "kill", "crashing", "--no-wait").returncode == 0
    escalated.until_true(lambda: not document(escalated, "incident", "1")["open"])
    killed = [
        deed["by"]
        for deed in document(escalated, "incident", "1")["actions"]
        if deed["event"] == "agent.killed"
    ]
    assert [re.sub(r"\d+", "N", who) for who in killed] == [f"{getpass.getuser()} (pid N)"]
    over = ctl(escalated, "incident", "1").stdout
    assert "resolved after" in over.splitlines()[0]
    assert over.endswith("\nnext\n  nothing: it is over\n")
    assert ctl(escalated, "incidents", "--open").stdout == "no incidents\n"
    assert escalated.status("crashing")["open_incident"] is None


def test_it_is_there_after_the_daemon_was_killed(escalated: Daemon) -> None:
    before = document(escalated, "incident", "1")
    escalated.crash()
    escalated.start()
    after = document(escalated, "incident", "1")
    for name in ("id", "key", "agent", "cause", "summary", "began", "opened", "open"):
        assert after[name] == before[name], name
    assert after["timeline"][: len(before["timeline"])] == before["timeline"]
    assert escalated.status("crashing")["open_incident"] == 1


def test_what_is_not_there_is_said_with_what_is(escalated: Daemon) -> None:
    for words in (("incident", "7"), ("ack", "7")):
        done = ctl(escalated, *words)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert "7" in done.stderr
        assert "hint: " in done.stderr
    assert "the newest: 1" in ctl(escalated, "incident", "7").stderr
    assert ctl(escalated, "incidents", "nobody-*").returncode == 5
    mistyped = ctl(escalated, "incidents", "crashin")
    assert (mistyped.returncode, mistyped.stdout) == (5, "")
    assert 'did you mean "crashing"?' in mistyped.stderr
    assert ctl(escalated, "incidents", "crashing", "-n", "1").returncode == 0


def test_of_one_agent_only_its_own_are_shown(daemon: Daemon) -> None:
    daemon.agent("a", CRASHING, f"restart.failures_max = 1\n{NOT_BEATING}")
    daemon.agent("b", ["sh", "-c", "exit 4"], f"restart.failures_max = 1\n{NOT_BEATING}")
    daemon.sleeper("c")
    daemon.start()
    daemon.until_state("a", "escalated")
    daemon.until_state("b", "escalated")
    daemon.until_true(lambda: len(daemon.ask("incidents")["incidents"]) > 1)
    assert [each["agents"] for each in document(daemon, "incidents", "b")["incidents"]] == [["b"]]
    assert document(daemon, "incidents", "c")["incidents"] == []
    assert len(document(daemon, "incidents", "-n", "1")["incidents"]) == 1
