"""A disk that refuses, with incidents, evidence, alerts and rollups under way."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.core.effects import PersistSpending
from agentd.core.host_views import FleetSpending
from agentd.store import backlog
from agentd.store.backlog import Backlog
from agentd.store.committer import Job
from agentd.store.rows import AlertRow, DeliveryRow, MarkRow, Row
from agentd.store.snapshots import Moment
from tests.store.desk import Desk, event, fill, ids, persist, small_disk
from tests.store.history import (
    MIDNIGHT_MS,
    MINUTE_MS,
    alert,
    look,
    minute,
    opened,
    saved,
    sent,
    told,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
EVER = {"since_wall_ms": 0, "until_wall_ms": 1 << 50}


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Desk]:
    """Hand out a desk with an open incident and its alert, on a disk without a byte of room."""
    with small_disk(tmp_path / "disk"):
        desk = Desk(tmp_path / "disk" / "state")
        row = told("first")
        assert desk.write(opened(1), row, alert("u-1", row)).ok
        fill(tmp_path / "disk")
        for _ in range(2_000):
            if not desk.write(event(blob="x" * 2_000), persist("busy")).ok:
                break
        yield desk
        desk.close()


def relieve(desk: Desk) -> None:
    """Give the disk room again; it is noticed by itself."""
    (desk.directory.parent / "filler").unlink()
    desk.wait_for_health(ok=True)


def waiting(desk: Desk) -> list[tuple[str, str]]:
    return [(one.row.uid, one.state.sink) for one in desk.store.deliveries()]


@needs_root
def test_h1_incidents_and_alerts_are_refused_loudly_and_written_when_space_returns(
    full: Desk,
) -> None:
    row = told("second", 2)
    at_ms = full.wall_ms
    outcome = full.write(row, opened(2), look(2), alert("u-2", row), MarkRow("report", 7))
    assert "full" in outcome.error, "who brings alerts to people is told that none is recorded"
    assert full.store.incident(2) is None
    assert waiting(full) == [("u-1", "chat"), ("u-1", "pager")], "what was there is still there"
    full.wall_ms += 60_000
    full.boottime_ms += 60_000
    relieve(full)
    incident = full.store.incident(2)
    assert incident is not None
    assert incident.opened_wall_ms == at_ms - 2_000, "told late, and when it was"
    assert full.store.evidence(2)[0].wall_ms == at_ms
    assert full.store.mark("report") == 7
    found = [one for one in full.store.deliveries() if one.row.uid == "u-2"]
    journaled = {one["message"]: one["id"] for one in full.store.events(after=0, limit=10_000)}
    assert [one.event_id for one in found] == [journaled["second"]] * 2
    assert [one.wall_ms for one in found] == [at_ms] * 2
    assert ids(full.store) == list(
        range(1, len(journaled) + len(ids(full.store)) - len(journaled) + 1)
    )


@needs_root
def test_h1_what_was_sent_while_the_disk_was_full_is_not_sent_again(full: Desk) -> None:
    row = told("second", 1)
    assert not full.write(row, alert("u-2", row)).ok
    assert not full.write(sent("u-2", "pager"), sent("u-1", "chat")).ok
    relieve(full)
    assert waiting(full) == [("u-1", "pager"), ("u-2", "chat")]


@needs_root
def test_h1_an_alert_told_again_when_space_returns_is_one_alert(full: Desk) -> None:
    row = told("second", 1)
    assert not full.write(row, alert("u-2", row)).ok
    relieve(full)
    assert full.write(alert("u-2", row)).ok
    assert waiting(full).count(("u-2", "pager")) == 1


@needs_root
def test_h1_of_an_incident_the_last_word_is_written(full: Desk) -> None:
    assert not full.write(opened(2), opened(1, severity="warning")).ok
    assert not full.write(opened(2, resolved_at_ms=full.boottime_ms, resolution="well")).ok
    relieve(full)
    found = full.store.incident(2)
    assert found is not None
    assert found.incident.resolution == "well"
    assert [one.number for one in full.store.open_incidents()] == [1]


@needs_root
def test_h1_minutes_are_kept_for_a_while_and_the_oldest_go_first(
    full: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "ROLLUPS_MAX", 6)
    for number in range(5):
        at_ms = MIDNIGHT_MS + number * MINUTE_MS
        assert not full.write(saved(minute("a", at_ms), minute("b", at_ms))).ok
    relieve(full)
    found = full.store.rollups(**EVER, agents=("a",), span="minute")
    assert [one.begins_ms for one in found] == [
        MIDNIGHT_MS + number * MINUTE_MS for number in (2, 3, 4)
    ]
    assert all(one.heartbeats == 2 for one in found)


@needs_root
def test_h7_an_alert_that_a_read_only_disk_refused_is_written_when_it_can_be(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "16m") as remount:
        desk = Desk(tmp_path / "disk" / "state")
        row = told("first")
        desk.write(opened(1, remind_at_ms=1_600_000), row, alert("u-1", row), MarkRow("report", 3))
        desk.close()
        remount("ro")
        assert [one.number for one in desk.store.open_incidents()] == [1], "what is open is known"
        assert (desk.store.last_incident(), desk.store.mark("report")) == (1, 3)
        assert waiting(desk) == [("u-1", "chat"), ("u-1", "pager")]
        again = told("second", 2)
        assert not desk.write(again, opened(2), alert("u-2", again, ("chat",))).ok
        remount("rw")
        desk.wait_for_health(ok=True)
        assert desk.store.last_incident() == 2
        assert ("u-2", "chat") in waiting(desk)
        assert not desk.store.rebuilt
        desk.close()


def test_h7_a_store_that_never_was_has_no_history(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "state")
    desk.store._is_blank = True
    desk.store._writer.trouble = "read-only"
    store = desk.store
    assert store.incidents() == store.open_incidents() == store.evidence(1) == []
    assert store.lifecycle(**EVER) == store.report_events(**EVER) == store.rollups(**EVER) == []
    assert store.deliveries() == []
    assert store.alert_counts() == {}
    assert (store.incident(1), store.last_incident(), store.mark("report")) == (None, 0, None)
    store._writer.trouble = ""
    desk.close()


def kept(*rows: Row) -> list[tuple[Row, ...]]:
    """Return what a backlog gives back of one batch that failed, twice."""
    waits = Backlog(lambda *_: None)
    waits.keep(Job(rows, Moment("boot", 1, 1)))
    for job in waits.take():
        waits.keep(job)
    found = [job.rows for job in waits.take()]
    assert not waits
    return found


def test_h1_the_progress_of_an_alert_waits_behind_the_alert() -> None:
    row, other = told("one"), told("two")
    mine, alone = alert("u-1", row), alert("u-2", told("nowhere"))
    progress: DeliveryRow = sent("u-1", "chat")
    found = kept(progress, mine, other, row, alone, opened(1), look(1))
    assert found == [(opened(1),), (other,), (row, mine), (alone,), (progress,), (look(1),)]
    assert isinstance(found[2][1], AlertRow)


def test_h1_of_what_all_hosts_had_spent_the_last_word_waits() -> None:
    first, last = (
        PersistSpending(FleetSpending(1, own, 6_000_000, 4)) for own in (4_000_000, 5_000_000)
    )
    assert kept(first, last) == [(last,)]
