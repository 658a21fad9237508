"""A store of before there were incidents becomes one with them, and keeps what it held."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentd.store.connection import open_reader
from agentd.store.schema import STEPS, VERSION, NewerSchema, backup_path, check_version, migrate
from agentd.store.statements import checksum
from tests.store.desk import Desk, event, ids
from tests.store.history import alert, opened, told
from tests.store.test_upgrade import ROW

STEPS_THEN = 3


@pytest.fixture
def old(desk: Desk) -> Desk:
    """Hand out the desk of a store of that version, as that version wrote it."""
    desk.directory.mkdir(mode=0o700)
    with closing(sqlite3.connect(desk.path, isolation_level=None)) as connection:
        migrate(connection, desk.path, STEPS[:STEPS_THEN])
        connection.execute(
            "INSERT INTO agents VALUES ('a', ?, ?, 'boot-1', 2000, 1700000000000)",
            (ROW, checksum("a", ROW)),
        )
        for number, name in enumerate(("agent.started", "agent.exited", "cost.spike"), 1):
            connection.execute(
                "INSERT INTO events VALUES"
                " (?, 1700000000000, 'a', 1, 'i1', ?, 'info', NULL, 'x', '{}')",
                (number, name),
            )
    return desk


def version_of(path: Path) -> int:
    with closing(open_reader(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_what_was_there_is_kept_and_history_begins(old: Desk) -> None:
    assert not old.store.rebuilt
    assert old.store.agents().keys() == {"a"}
    assert ids(old.store) == [1, 2, 3]
    row = told()
    assert old.write(opened(1), row, alert("u-1", row)).stamps[0].id == 4
    assert old.store.deliveries()[0].event_id == 4
    assert [one["id"] for one in old.store.events(after=0, incident=1)] == [4]
    assert old.store.last_incident() == 1


def test_the_life_of_before_is_found_by_the_new_index(old: Desk) -> None:
    found = old.store.lifecycle(since_wall_ms=0, until_wall_ms=1 << 50)
    assert [(row.id, row.event, row.incident) for row in found] == [
        (1, "agent.started", None),
        (2, "agent.exited", None),
    ]


def test_g9_a_copy_is_made_that_the_older_version_takes(old: Desk) -> None:
    assert old.write(event()).ok
    old.close()
    assert version_of(old.path) == VERSION > STEPS_THEN
    copy = backup_path(old.path, STEPS_THEN)
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(open_reader(copy)) as connection:
        assert check_version(connection, copy, STEPS_THEN) == STEPS_THEN
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (3,)


def test_g9_the_older_version_refuses_the_new_store_and_leaves_it_untouched(old: Desk) -> None:
    old.write(opened(1))
    old.close()
    before = old.path.read_bytes()
    with closing(open_reader(old.path)) as connection, pytest.raises(NewerSchema, match="newer"):
        check_version(connection, old.path, STEPS_THEN)
    assert old.path.read_bytes() == before


def test_h5_a_damaged_store_of_before_is_salvaged(old: Desk) -> None:
    blob = old.path.read_bytes()
    old.path.write_bytes(
        blob.replace(b"agent.exited", b"agent.\xff\xff\xff\xff\xff\xff", 1)[:-4_096]
    )
    assert old.store.rebuilt
    assert old.store.last_incident() == 0
    assert old.write(opened(1)).ok
