"""Alerts of a real daemon: how soon, without a disk, at its end, with a queue of any length."""

import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentd.core.records import Record
from agentd.store.outbox import save
from agentd.store.rows import AlertRow, Stamp
from tests.daemon.alert_receivers import (
    RESTLESS,
    check_arrived,
    fail,
    sink_shown,
    told,
    told_ids,
    until_delivered,
    webhook,
    with_sinks,
)
from tests.daemon.harness import Daemon
from tests.sinks.receiver import Mood, Receiver
from tests.stopwatch import Stopwatch

STRACE = shutil.which("strace")
# A second of company, and an attempt; the rest is a busy machine's.
ARRIVES_S_MAX = 4.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as under_test:
        yield under_test


def test_an_alert_arrives_within_seconds_of_its_event(daemon: Daemon, receiver: Receiver) -> None:
    with_sinks(daemon, webhook("ops", receiver.url))
    daemon.sleeper("a", RESTLESS)
    daemon.start()
    daemon.until_state("a", "running")
    watch = Stopwatch()
    failure = fail(daemon, "a")["id"]
    receiver.wait_for(1, accepted=True)
    assert watch.fair_s < ARRIVES_S_MAX
    assert failure in told_ids(receiver)
    document = receiver.accepted()[0].json()
    assert document["next"] == f"agentctl incident {document['incident']['id']}"
    assert document["event"]["host"] == document["host"]


def test_pagerduty_opens_acknowledges_and_resolves_with_one_key(
    daemon: Daemon, receiver: Receiver
) -> None:
    key = daemon.root / "pagerduty-key"
    key.write_text("r0uting\n")
    key.chmod(0o600)
    url = receiver.at("/v2/enqueue")
    sink = f'name = "pages"\ntype = "pagerduty"\nrouting_key_file = "{key}"\nurl = "{url}"'
    with_sinks(daemon, f"[[alerts.sinks]]\n{sink}")
    daemon.sleeper("a", f'{RESTLESS}stable_after = "8s"\n')
    daemon.start()
    failure = fail(daemon, "a")
    assert failure["severity"] == "warning"
    receiver.wait_for(1, accepted=True)
    [incident] = daemon.ask("incidents")["incidents"]
    daemon.ask("ack", id=incident["id"])
    daemon.until_true(lambda: len(receiver.accepted()) == 3, lambda: str(receiver.accepted()))
    sent = [one.json() for one in receiver.accepted()]
    assert [one["event_action"] for one in sent] == ["trigger", "acknowledge", "resolve"]
    assert len({one["dedup_key"] for one in sent}) == 1
    assert incident["key"] in sent[0]["dedup_key"]


def test_a_command_is_run_with_the_document_and_its_failure_is_told(daemon: Daemon) -> None:
    got = daemon.root / "got.json"
    script = f'test -e {daemon.root}/broken && echo "no line" >&2 && exit 3; cat > {got}'
    words = json.dumps(["/bin/sh", "-c", script])
    with_sinks(daemon, f'[[alerts.sinks]]\nname = "room"\ntype = "command"\ncommand = {words}')
    daemon.sleeper("a", RESTLESS)
    daemon.start()
    (daemon.root / "broken").touch()
    told_of = daemon.ask("alerts", test="room")
    assert told_of["sent"] is False
    assert told_of["error"] == "the command exited with code 3: no line"
    (daemon.root / "broken").unlink()
    failure = fail(daemon, "a")["id"]
    until_delivered(daemon, "room")
    document = json.loads(got.read_text())
    assert document["event"]["id"] == failure


def test_an_attempt_that_hangs_does_not_hold_up_the_end(daemon: Daemon, receiver: Receiver) -> None:
    receiver.mood = Mood.SLOW
    with_sinks(daemon, webhook("ops", receiver.url))
    daemon.sleeper("a", RESTLESS)
    daemon.start()
    failure = fail(daemon, "a")["id"]
    daemon.until_true(lambda: sink_shown(daemon, "ops")["next_attempt"] is None)
    assert sink_shown(daemon, "ops")["waiting"] > 0
    assert daemon.end() == 0  # long before the receiver would have answered
    receiver.mood = Mood.OK
    receiver.release()
    daemon.start()
    daemon.until_true(lambda: failure in told_ids(receiver))
    until_delivered(daemon, "ops")
    check_arrived(daemon, receiver, ["a"])


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_h4_with_a_disk_that_takes_nothing_people_are_told_all_the_same(
    daemon: Daemon, receiver: Receiver
) -> None:
    with_sinks(daemon, webhook("ops", receiver.url))
    daemon.sleeper("a", RESTLESS)
    daemon.start()
    pid = daemon.until_state("a", "running")["pid"]
    assert STRACE is not None
    words = [STRACE, "-f", "-o", "/dev/null", "-e", "inject=pwrite64,fdatasync:error=ENOSPC"]
    with subprocess.Popen(
        [*words, "-p", str(daemon.pid)], stderr=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            pytest.skip(f"no process may be traced here: {said}")
        subprocess.run(["kill", "-9", str(pid)], check=True)
        daemon.until_true(
            lambda: any(event["agent"] == "a" and event["id"] is None for event in told(receiver)),
            lambda: str(told(receiver)),
        )
        tracer.terminate()
        tracer.communicate(timeout=10)
    assert "could not record" in receiver.accepted()[0].json()["event"]["message"]
    daemon.until_true(lambda: daemon.ask("daemon")["daemon"]["storage"] == "ok")
    until_delivered(daemon, "ops")


def test_a_queue_of_any_length_does_not_keep_the_loop(daemon: Daemon, receiver: Receiver) -> None:
    """Thousands of alerts wait at a dead receiver; a new one elsewhere is as quick as ever."""
    with Receiver() as dead:
        dead.mood = Mood.ERROR
        with_sinks(daemon, webhook("ops", receiver.url), webhook("dead", dead.url))
        daemon.sleeper("a", RESTLESS)
        daemon.start()
        fail(daemon, "a")
        until_delivered(daemon, "ops")
        assert daemon.end() == 0
        fill(daemon.root / "state" / "agentd.db", "dead", 20_000)
        daemon.start()
        daemon.until_true(lambda: len(dead.received) > 1)
        failure = fail(daemon, "a")["id"]
        daemon.until_true(lambda: failure in told_ids(receiver))
        assert sink_shown(daemon, "dead")["waiting"] > 20_000
        assert daemon.ask("daemon")["counters"]["loop"]["stalls"] == 0


def fill(path: Path, sink: str, count: int) -> None:
    """Let that many alerts wait, of a few hundred agents."""
    now_ms = time.time_ns() // 1_000_000
    with closing(sqlite3.connect(path)) as store, store:
        for number in range(count):
            record = Record("agent.exited", "warning", "it broke", f"gone-{number % 300}")
            row = AlertRow(f"u{number}", "trigger", "warning", record, f"k{number}", (sink,))
            save(store, row, Stamp(1, now_ms))
