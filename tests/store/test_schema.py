"""Upgrades, and downgrades that are refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentd.store.connection import open_reader, open_writer
from agentd.store.schema import STEPS, VERSION, NewerSchema, backup_path, check_version, migrate
from tests.store.desk import Desk, event, ids

NEXT = (*STEPS, ("CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('new')"))


def version_of(path: Path) -> int:
    with closing(open_reader(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def upgrade(path: Path) -> None:
    with closing(open_writer(path)) as connection:
        migrate(connection, path, NEXT)


def test_g9_a_store_of_a_newer_version_is_refused_and_left_untouched(desk: Desk) -> None:
    desk.write(event())
    desk.close()
    upgrade(desk.path)
    before = desk.path.read_bytes()
    with pytest.raises(NewerSchema, match=f"store version {VERSION + 1}"):
        _ = desk.store
    assert desk.path.read_bytes() == before
    assert not list(desk.directory.glob("*.damaged-*"))


def test_g9_the_copy_made_before_an_upgrade_leads_back(desk: Desk) -> None:
    desk.write(event())
    desk.close()
    upgrade(desk.path)
    assert version_of(desk.path) == VERSION + 1
    copy = backup_path(desk.path, VERSION)
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.replace(desk.path)
    assert ids(desk.store) == [1]
    assert not desk.store.rebuilt


def test_an_upgrade_is_taken_once_and_keeps_what_was_there(desk: Desk) -> None:
    desk.write(event())
    desk.close()
    for _ in range(2):
        upgrade(desk.path)
    with closing(open_reader(desk.path)) as connection:
        assert connection.execute("SELECT text FROM notes").fetchall() == [("new",)]
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_a_step_that_fails_leaves_the_version_before_it(desk: Desk) -> None:
    desk.write(event())
    desk.close()
    broken = (*STEPS, ("CREATE TABLE notes (text TEXT)", "NONSENSE"))
    with closing(open_writer(desk.path)) as connection, pytest.raises(sqlite3.Error):
        migrate(connection, desk.path, broken)
    assert version_of(desk.path) == VERSION
    assert ids(desk.store) == [1]


def test_a_database_of_somebody_else_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.commit()
    with closing(open_reader(path)) as connection, pytest.raises(sqlite3.DatabaseError):
        check_version(connection, path)
