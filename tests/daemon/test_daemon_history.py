"""History and reports as a real daemon tells them."""

import os
import signal
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from agentd.core.effects import SaveRollups
from agentd.core.records import Rollup
from agentd.store import counts, rollups
from tests.daemon.harness import DEFAULTS, Daemon, Document, Refused

SINK = """
[report]
at = "00:00"
[[alerts.sinks]]
name = "ops"
type = "command"
command = ["true"]
min_severity = "info"
"""


def of(document: Document, name: str) -> Document:
    found: Document = next(each for each in document["agents"] if each["name"] == name)
    return found


def states(agent: Document) -> list[tuple[str, str | None]]:
    return [(each["state"], each["reason"]) for each in agent["intervals"]]


def test_history_tells_a_crash_a_pause_and_a_crash_of_the_daemon(daemon: Daemon) -> None:
    daemon.beater("worker")
    daemon.sleeper("idle")
    daemon.start()
    pid = daemon.until("worker", lambda shown: shown["health"] == "healthy")["pid"]
    os.kill(pid, signal.SIGKILL)
    daemon.until("worker", lambda shown: shown["restarts"] == 1 and shown["health"] == "healthy")
    daemon.until_state("idle", "running")
    daemon.ask("pause", select=["idle"])
    daemon.until_state("idle", "paused")
    daemon.ask("resume", select=["idle"])
    daemon.until_state("idle", "running")
    daemon.crash()
    daemon.start()
    daemon.until("worker", lambda shown: shown["health"] == "healthy")

    told = daemon.ask("history")
    worker, idle = of(told, "worker"), of(told, "idle")
    assert states(worker) == [("paused", None), ("up", None), ("down", "CRASHED"), ("up", None)]
    assert states(idle) == [("paused", None), ("up", None), ("paused", "USER_PAUSED"), ("up", None)]
    assert worker["restarts"] == 1
    assert worker["mttr_s"] == worker["down_s"] > 0
    assert 0 < worker["availability"] < 1
    assert idle["availability"] == 1.0

    report = daemon.ask("report", date="today")
    assert [each["reason"] for each in of(report, "worker")["restarts"]] == ["CRASHED"]
    assert not report["ok"]


def test_an_agent_that_is_gone_keeps_its_history_and_a_stranger_has_none(daemon: Daemon) -> None:
    daemon.sleeper("old")
    daemon.start()
    daemon.until_state("old", "running")
    (daemon.root / "agents.d" / "old.toml").unlink()
    daemon.ask("reload")
    daemon.until_true(lambda: daemon.events("old", "agent.removed"))
    assert ("up", None) in states(of(daemon.ask("history", select=["old"]), "old"))
    assert daemon.ask("history")["agents"] == []
    assert of(daemon.ask("report", date="today"), "old")["alive_all_day"] is False
    assert daemon.ask("events", select=["old"])["events"]
    assert daemon.ask("events", select=["old"], types=["breaker.*"])["events"] == []
    for cmd in ("history", "events"):
        with pytest.raises(Refused) as refused:
            daemon.ask(cmd, select=["stranger"])
        assert refused.value.error["code"] == "no_such_agent"


def test_a_day_before_everything_is_one_without_data(daemon: Daemon) -> None:
    daemon.start()
    report = daemon.ask("report", date="1970-01-01")
    assert (report["agents"], report["ok"]) == ([], True)


def test_a_date_that_has_not_come_is_refused(daemon: Daemon) -> None:
    daemon.start()
    with pytest.raises(Refused, match="has not come yet") as refused:
        daemon.ask("report", date="2999-01-01")
    assert refused.value.error["code"] == "bad_request"
    with pytest.raises(Refused, match="has not come yet"):
        daemon.ask("history", since_ms=1 << 45)


def test_a_missed_report_is_sent_once_over_kill_9(daemon: Daemon) -> None:
    daemon.configure('timezone = "UTC"', DEFAULTS + SINK)
    daemon.sleeper("idle")
    daemon.start()
    daemon.until_true(lambda: _mark(daemon) is not None)
    assert daemon.events(kind="report.sent") == [], "nothing is owed at the first start"
    daemon.crash()
    _owe(daemon)
    daemon.start()
    daemon.until_true(lambda: daemon.events(kind="report.sent"))
    for _ in range(2):
        daemon.crash()
        daemon.start()
        daemon.until_state("idle", "running")
        daemon.until_true(lambda: daemon.ask("daemon")["daemon"]["uptime_s"] > 1.5)
    assert len(daemon.events(kind="report.sent")) == 1
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    assert _mark(daemon) == yesterday.toordinal()


def _mark(daemon: Daemon) -> int | None:
    with closing(sqlite3.connect(daemon.root / "state" / "agentd.db")) as store:
        row = store.execute("SELECT value FROM marks WHERE name = 'report_date'").fetchone()
    return None if row is None else int(row[0])


def _owe(daemon: Daemon) -> None:
    """Let the store say that the last report was sent some days ago."""
    with closing(sqlite3.connect(daemon.root / "state" / "agentd.db")) as store:
        store.execute("UPDATE marks SET value = value - 3 WHERE name = 'report_date'")
        store.commit()


def test_series_and_counters_tell_what_minutes_and_the_record_hold(daemon: Daemon) -> None:
    daemon.sleeper("idle")
    daemon.start()
    pid = daemon.until_state("idle", "running")["pid"]
    os.kill(pid, signal.SIGKILL)
    daemon.until("idle", lambda shown: shown["restarts"] == 1 and shown["state"] == "running")
    daemon.crash()
    now_ms = int(time.time() * 1000)
    told = Rollup("idle", now_ms - now_ms % 60_000 - 600_000, heartbeats=7, rss_max_bytes=4096)
    with closing(sqlite3.connect(daemon.root / "state" / "agentd.db")) as store:
        counts.prepare(store)
        rollups.save(store, SaveRollups((told,)))
        store.commit()
    daemon.start()
    since = datetime.fromtimestamp(now_ms / 1000 - 3_600, UTC).isoformat()
    found = of(daemon.ask("history", series=True, since=since, step_s=300), "idle")["series"]
    assert found["step_s"] == 300
    assert max(value or 0 for value in found["heartbeats"]) == 7
    assert max(value or 0 for value in found["rss_bytes"]) == 4096
    assert len(found["tokens"]) == len(found["cost_usd"]) == len(found["latency_ms"])
    assert "series" not in of(daemon.ask("history"), "idle")
    with pytest.raises(Refused, match="is no moment"):
        daemon.ask("history", series=True, since="yesterday-ish")

    shown = daemon.ask("status", counters=True)
    assert of(shown, "idle")["counters"]["restarts_by_reason"] == {"CRASHED": 1}
    assert of(shown, "idle")["counters"]["cost_usd_total"] is None
    assert shown["breakers"] == []
    assert shown["daemon"]["loop_lag_s"] >= 0
    assert "counters" not in of(daemon.ask("status"), "idle")
