"""What of incidents and alerts outlives a damaged store."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agentd.store.mark import INCIDENT_STRIDE
from tests.store.desk import Desk, event, persist
from tests.store.harm import Harm, damaged, flipped, ruin, spoil, truncated, zeroed
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


def furnished(directory: Path) -> Desk:
    """Return a closed store with twenty incidents, every second one open and its alert waiting."""
    desk = Desk(directory)
    for number in range(1, 21):
        row = told(f"incident {number}", number)
        ends = {} if number % 2 else {"resolved_at_ms": desk.boottime_ms}
        desk.write(persist(f"a{number}"), opened(number, f"a{number}", **ends), look(number), row)
        desk.write(alert(f"u-{number}", row, ("chat",), number), event())
        if ends:
            desk.write(sent(f"u-{number}", "chat"))
        desk.write(saved(minute("a", MIDNIGHT_MS + number * MINUTE_MS)))
    desk.close()
    return desk


def break_events(path: Path) -> None:
    """Break the head of a page that only the journal needs."""
    blob = bytearray(path.read_bytes())
    at = blob.index(b"it happened") // 4_096 * 4_096
    blob[at : at + 8] = b"\xff" * 8
    path.write_bytes(bytes(blob))


def test_h5_open_incidents_and_alerts_that_wait_outlive_a_damaged_journal(tmp_path: Path) -> None:
    desk = furnished(tmp_path / "state")
    break_events(desk.path)
    assert desk.store.rebuilt
    assert [one.number for one in desk.store.open_incidents()] == list(range(1, 21, 2))
    assert [one.row.uid for one in desk.store.deliveries()] == [f"u-{n}" for n in range(1, 21, 2)]
    assert [one.incident.number for one in desk.store.incidents(agents=("a4",))] == [4]
    assert desk.store.last_incident() == 20
    found = desk.store.incident(1)
    assert found is not None
    assert found.opened_wall_ms == desk.wall_ms - 2_000, "when it was, not when it was saved"
    assert desk.write(sent("u-1", "chat")).ok
    assert len(desk.store.deliveries()) == 9
    desk.close()


def test_h5_a_column_that_goes_by_another_name_is_noticed(tmp_path: Path) -> None:
    desk = furnished(tmp_path / "state")
    blob = desk.path.read_bytes()
    desk.path.write_bytes(blob.replace(b"dedup_key TEXT", b"dedup_kez TEXT", 1))
    assert desk.store.rebuilt
    assert [one.row.uid for one in desk.store.deliveries()] == [f"u-{n}" for n in range(1, 21, 2)]
    desk.close()


@pytest.mark.parametrize("index", ["deliveries_by_state", "deliveries_by_sink"])
def test_h5_an_index_that_tells_otherwise_than_its_table_hides_no_alert(
    tmp_path: Path, index: str
) -> None:
    desk = furnished(tmp_path / "state")
    with closing(sqlite3.connect(desk.path)) as connection:
        named = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        end = connection.execute(named, (index,)).fetchone()[0] * 4_096
    blob = bytearray(desk.path.read_bytes())
    at = blob.rindex(b"waiting", end - 4_096, end)
    blob[at] ^= 1
    desk.path.write_bytes(bytes(blob))
    assert desk.store.rebuilt
    assert [one.row.uid for one in desk.store.deliveries()] == [f"u-{n}" for n in range(1, 21, 2)]
    desk.close()


@pytest.mark.parametrize(
    "column",
    [
        "boottime_ms",
        "wall_ms",
        "size_bytes",
        "opened_wall_ms",
        "recovered_wall_ms",
        "resolved_wall_ms",
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_h5_an_incident_is_saved_by_its_record_whatever_else_of_it_is_spoilt(
    tmp_path: Path, column: str, number: int
) -> None:
    desk = furnished(tmp_path / "state")
    spoil(desk, "incidents", column, f"number = {number}")
    assert desk.store.rebuilt
    assert [one.number for one in desk.store.open_incidents()] == list(range(1, 21, 2))
    found = desk.store.incident(number)
    assert found is not None
    assert found.opened_wall_ms == desk.wall_ms - 2_000
    assert found.resolved_wall_ms == (None if number == 1 else desk.wall_ms)
    assert found.recovered_wall_ms is None
    desk.close()


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_h5_the_numbers_of_incidents_never_go_back(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    desk = furnished(tmp_path / "state")
    harm(desk.path)
    assert 20 <= desk.store.last_incident() <= 20 + INCIDENT_STRIDE
    assert desk.again().last_incident() >= 20
    desk.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("harm", [truncated, zeroed, flipped])
def test_h5_no_damage_makes_up_an_incident_or_loses_the_count(tmp_path: Path, harm: Harm) -> None:
    furnished(tmp_path / "whole")
    for desk in damaged(tmp_path / "whole", harm):
        assert {one.number for one in desk.store.open_incidents()} <= set(range(1, 21, 2))
        if desk.store.rebuilt:
            assert desk.store.last_incident() >= 20
        desk.store.incidents()
        desk.store.deliveries()
        row = told("after", 500)
        assert desk.write(row, opened(500), alert("u-500", row)).ok
        assert desk.store.last_incident() == 500
        assert desk.store.incidents(limit=1)[0].incident.number == 500


def test_h5_damage_found_while_running_costs_no_open_incident(desk: Desk) -> None:
    for number in range(1, 6):
        ends = {"resolved_at_ms": desk.boottime_ms} if number == 2 else {}
        desk.write(opened(number, f"a{number}", **ends), event())
    desk.again()
    desk.write(opened(6, "a6"), opened(3, "a3", resolved_at_ms=desk.boottime_ms))
    ruin(desk)
    outcomes = [desk.write(persist("b"), event()) for _ in range(3)]
    assert outcomes[-1].ok
    desk.wait_for_health(ok=True)
    assert [one.number for one in desk.store.open_incidents()] == [1, 4, 5, 6]
    assert desk.store.last_incident() >= 6
