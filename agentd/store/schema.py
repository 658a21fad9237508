"""The tables, and how a store of an older version becomes one of this version.

`PRAGMA user_version` counts the steps taken. Each step is one transaction, so that a crash
leaves a store of some whole version; before the first of them a copy of the file is made.
A store of a newer version is refused untouched: an older daemon never writes into it.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from agentd.store.directory import sync_directory
from agentd.store.schema_incidents import INCIDENT_STEP

Step = Sequence[str]

# "agnt": says that a SQLite file is one of ours.
APPLICATION_ID: Final = 0x61676E74

# No real store has taken so many steps: such a version is damage.
VERSION_MAX: Final = 10_000

STEPS: Final[tuple[Step, ...]] = (
    (
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY,
            wall_ms INTEGER NOT NULL,
            agent TEXT,
            incarnation INTEGER,
            incarnation_id TEXT,
            event TEXT NOT NULL,
            severity TEXT NOT NULL,
            reason TEXT,
            message TEXT NOT NULL,
            data TEXT NOT NULL
        )""",
        "CREATE INDEX events_by_agent ON events (agent, id)",
        "CREATE INDEX events_by_event ON events (event, id)",
        "CREATE INDEX events_by_time ON events (wall_ms, id)",
        """CREATE TABLE agents (
            name TEXT PRIMARY KEY,
            durable TEXT NOT NULL,
            crc INTEGER NOT NULL,
            boot_id TEXT NOT NULL,
            boottime_ms INTEGER NOT NULL,
            wall_ms INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE spawns (
            agent TEXT NOT NULL,
            incarnation INTEGER NOT NULL,
            incarnation_id TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT '',
            token TEXT NOT NULL DEFAULT '',
            pid INTEGER,
            start_time INTEGER,
            pidfd_inode INTEGER,
            boot_id TEXT,
            cgroup TEXT,
            wall_ms INTEGER NOT NULL,
            ended_wall_ms INTEGER,
            PRIMARY KEY (agent, incarnation)
        ) WITHOUT ROWID""",
        "CREATE INDEX spawns_by_end ON spawns (ended_wall_ms)",
        """CREATE TABLE requests (
            uid INTEGER NOT NULL,
            id TEXT NOT NULL,
            cmd TEXT NOT NULL,
            args_hash TEXT NOT NULL,
            reply TEXT,
            wall_ms INTEGER NOT NULL,
            PRIMARY KEY (uid, id)
        ) WITHOUT ROWID""",
        "CREATE INDEX requests_by_time ON requests (wall_ms)",
        "CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE checkpoints (
            id INTEGER PRIMARY KEY,
            agent TEXT NOT NULL,
            execution TEXT NOT NULL,
            seq INTEGER NOT NULL,
            incarnation_id TEXT NOT NULL,
            wall_ms INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            size_bytes INTEGER NOT NULL,
            state TEXT NOT NULL,
            UNIQUE (agent, execution, seq)
        )""",
    ),
    (
        """CREATE TABLE baselines (
            agent TEXT PRIMARY KEY,
            data BLOB NOT NULL,
            boot_id TEXT NOT NULL,
            boottime_ms INTEGER NOT NULL,
            wall_ms INTEGER NOT NULL
        ) WITHOUT ROWID""",
    ),
    INCIDENT_STEP,
)

VERSION: Final = len(STEPS)


class NewerSchema(Exception):  # noqa: N818 - named after what the user is told
    """A later version of agentd wrote this store; the file was not touched."""


class NotAStore(sqlite3.DatabaseError):
    """The file is a database, but its head doesn't fit a store of ours: damage."""

    sqlite_errorcode = sqlite3.SQLITE_NOTADB


def check_version(connection: sqlite3.Connection, path: Path, version: int = VERSION) -> int:
    """Return the version of an existing store without writing to it.

    Raises `NewerSchema`, or `NotAStore` where the version itself can't be true.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    ours = int(connection.execute("PRAGMA application_id").fetchone()[0]) == APPLICATION_ID
    if (tables or found) and (not ours or found == 0 or not 0 < found < VERSION_MAX):
        raise NotAStore(f"{path} is not a store of agentd")
    if found:
        told = connection.execute("SELECT value FROM marks WHERE name = 'version'").fetchone()
        if told is None or told[0] != found:
            raise NotAStore(f"{path}: its version {found} is not the one it was given")
    if found > version:
        raise NewerSchema(
            f"{path} was written by a newer agentd (store version {found}, this one knows "
            f"{version}); nothing was changed. Install that version again, or put back the "
            f"copy it made before its upgrade: {backup_path(path, version)}"
        )
    return found


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Step] = STEPS) -> None:
    """Take the steps that are missing, one transaction each, after a copy of the file."""
    found = check_version(connection, path, len(steps))
    if 0 < found < len(steps):
        _back_up(connection, backup_path(path, found))
    for number in range(found, len(steps)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in steps[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("REPLACE INTO marks VALUES ('version', ?)", (number + 1,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def backup_path(path: Path, version: int) -> Path:
    """Where the copy of a store of `version` lies that an upgrade makes."""
    return path.with_name(f"{path.name}.version-{version}")


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the whole store beside itself, on disk before the first step."""
    unfinished = target.with_name(f"{target.name}.tmp")
    unfinished.unlink(missing_ok=True)
    fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with closing(sqlite3.connect(unfinished)) as copy:
            connection.backup(copy)
        os.fsync(fd)
    finally:
        os.close(fd)
    unfinished.replace(target)
    sync_directory(target.parent)
