"""What history is deleted, in which order, and what never is."""

import random

import pytest

from agentd.store import retention
from agentd.store.checkpoints import used_bytes as checkpoint_bytes
from agentd.store.retention import Bounds, used_bytes
from agentd.store.rows import DeliveryRow
from tests.store.desk import Desk, event, ids
from tests.store.history import (
    DAY_MS,
    MIDNIGHT_MS,
    alert,
    incident,
    look,
    minute,
    opened,
    saved,
    sent,
    told,
)

EVER = {"since_wall_ms": 0, "until_wall_ms": 1 << 50}


def settle(desk: Desk, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - frozen
    committer = desk.store._writer._committer
    for _ in range(2_000):
        if not committer.tidy(bounds, desk.wall_ms):
            return
    pytest.fail("it never came to an end")


def left(desk: Desk) -> int:
    """What history takes up now, in bytes."""
    connection = desk.store._writer._committer._opened
    return used_bytes(connection) - checkpoint_bytes(connection)


def numbers(desk: Desk) -> list[int]:
    return [one.incident.number for one in desk.store.incidents(limit=10_000)]


def seen(desk: Desk) -> list[int]:
    return [number for number in range(1, 40) if desk.store.evidence(number)]


def noise(size: int) -> str:
    """Return text that no compression makes small."""
    return random.Random(size).randbytes(size // 2).hex()  # noqa: S311 - chance, not secrets


def test_resolved_incidents_go_with_all_that_is_theirs_and_open_ones_stay(desk: Desk) -> None:
    old = {"resolved_at_ms": desk.boottime_ms, "recovered_at_ms": desk.boottime_ms}
    desk.write(opened(1, **old), look(1), opened(2), look(2))
    desk.wall_ms += 300 * DAY_MS
    desk.write(opened(3, resolved_at_ms=desk.boottime_ms), look(3), event())
    desk.wall_ms += 200 * DAY_MS
    settle(desk)
    assert numbers(desk) == [3, 2]
    assert seen(desk) == [2, 3]
    assert desk.store.incidents(agents=("a",))[-1].incident.number == 2
    assert desk.store.last_incident() == 3


def test_alerts_go_thirty_days_after_all_was_said_and_those_that_wait_stay(desk: Desk) -> None:
    for uid in ("sent", "failed", "waits"):
        row = told(uid)
        desk.write(row, alert(uid, row))
        desk.write(sent(uid, "chat"))
    desk.write(sent("sent", "pager"))
    desk.write(DeliveryRow("failed", "pager", "failed", 9, 0, "gone"))
    desk.wall_ms += 30 * DAY_MS
    settle(desk)
    assert len(desk.store.deliveries(states=("waiting", "sent", "failed"))) == 6
    desk.wall_ms += 1
    settle(desk)
    kept = desk.store.deliveries(states=("waiting", "sent", "failed"))
    assert {one.row.uid for one in kept} == {"waits"}
    assert desk.store.alert_counts() == {"chat": {"sent": 1}, "pager": {"waiting": 1}}


def test_evidence_beyond_its_share_goes_before_any_event(desk: Desk) -> None:
    for number in range(1, 11):
        resolved = {} if number == 1 else {"resolved_at_ms": desk.boottime_ms}
        desk.write(opened(number, **resolved), look(number, log_tail=noise(200_000)), event())
    settle(desk, Bounds(history_max_bytes=1_200_000))
    assert ids(desk.store) == list(range(1, 11))
    assert numbers(desk) == list(range(10, 0, -1)), "the incidents stay"
    assert 1 in seen(desk), "so does the evidence of one that is open"
    assert left(desk) <= 1_200_000


def test_beyond_the_size_events_go_and_incidents_stay(desk: Desk) -> None:
    desk.write(opened(1, resolved_at_ms=desk.boottime_ms), look(1))
    outcomes = [desk.submit(*(event(blob="x" * 400) for _ in range(500))) for _ in range(6)]
    desk.wait_for(lambda: all(outcomes))
    settle(desk, Bounds(history_max_bytes=700_000))
    assert left(desk) <= 700_000
    assert 500 <= len(ids(desk.store)) < 3_000
    assert (numbers(desk), seen(desk)) == ([1], [1])


@pytest.mark.parametrize("kind", ["incidents", "alerts"])
def test_what_is_beyond_its_share_goes_oldest_first(
    desk: Desk, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "INCIDENTS_CHUNK", 5)
    monkeypatch.setattr(retention, "ALERTS_CHUNK", 5)
    for number in range(1, 301):
        desk.wall_ms += 1_000
        if kind == "incidents":
            desk.submit(opened(number, resolved_at_ms=desk.boottime_ms, summary="s" * 2_000))
        else:
            row = told("m" * 2_000)
            desk.submit(alert(f"u-{number:03}", row), sent(f"u-{number:03}", "chat"))
            desk.submit(sent(f"u-{number:03}", "pager"))
    desk.write(event())
    desk.write(event())
    settle(desk, Bounds(history_max_bytes=600_000))
    assert ids(desk.store) == [1, 2]
    if kind == "incidents":
        kept = numbers(desk)
        assert kept == list(range(300, 300 - len(kept), -1))
    else:
        uids = sorted({one.row.uid for one in desk.store.deliveries(states=("sent",))})
        kept = [int(uid[2:]) for uid in uids]
        assert kept == list(range(301 - len(kept), 301))
    assert 0 < len(kept) < 300
    assert left(desk) <= 600_000


def test_a_bound_that_nothing_fits_leaves_what_is_open_and_still_folds(desk: Desk) -> None:
    row = told()
    desk.write(opened(1), look(1), row, alert("u-1", row), saved(minute("a", MIDNIGHT_MS - DAY_MS)))
    desk.write(opened(2, resolved_at_ms=desk.boottime_ms), event())
    settle(desk, Bounds(history_max_bytes=1))
    assert (numbers(desk), seen(desk), ids(desk.store)) == ([1], [1], [2])
    assert len(desk.store.deliveries()) == 2
    assert desk.store.rollups(**EVER) == []
    desk.wall_ms = MIDNIGHT_MS + 100 * DAY_MS
    desk.write(saved(minute("a", MIDNIGHT_MS)))
    settle(desk, Bounds(history_max_bytes=1))
    assert desk.store.rollups(**EVER) == []


def test_evidence_of_an_incident_that_never_was_goes_after_a_day(desk: Desk) -> None:
    desk.write(look(7), opened(1), look(1))
    settle(desk)
    assert seen(desk) == [1, 7]
    desk.wall_ms += DAY_MS + 1
    settle(desk)
    assert seen(desk) == [1]


def test_events_go_from_the_head_whatever_incident_they_are_of(desk: Desk) -> None:
    desk.write(opened(1), told("old"))
    desk.wall_ms += 500 * DAY_MS
    desk.write(told("new"))
    settle(desk)
    assert [one["message"] for one in desk.store.events(incident=1)] == ["new"]
    found = desk.store.incident(1)
    assert found is not None
    assert found.incident == incident(1)
