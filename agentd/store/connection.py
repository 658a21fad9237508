"""Connections to the store's file, and what an error of theirs means."""

import os
import sqlite3
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final

from agentd.store import counts

# A page is 4 KiB: the log is folded into the file at the latest every 2 MiB.
CHECKPOINT_PAGES: Final = 512
_BUSY_MS: Final = 5_000
_PRIMARY_CODE: Final = 0xFF
# What a flipped bit made of a letter: the other rows can be read all the same.
SPOILT: Final = "\N{REPLACEMENT CHARACTER}"
_TEXT: Final = partial(str, encoding="utf-8", errors="replace")
_WRITER: Final = (
    f"PRAGMA busy_timeout = {_BUSY_MS}",
    "PRAGMA auto_vacuum = INCREMENTAL",  # before the first table, or never
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    "PRAGMA journal_size_limit = 4194304",
    "PRAGMA cache_size = -2000",
    "PRAGMA trusted_schema = OFF",
)


class Trouble(Enum):
    """What is wrong, as far as it decides what to do."""

    FULL = "full"
    DEVICE = "device"
    CORRUPT = "corrupt"
    OURS = "ours"


_TROUBLE: Final = {
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_IOERR: Trouble.DEVICE,
    sqlite3.SQLITE_READONLY: Trouble.DEVICE,
    sqlite3.SQLITE_CANTOPEN: Trouble.DEVICE,
    sqlite3.SQLITE_PERM: Trouble.DEVICE,
    sqlite3.SQLITE_BUSY: Trouble.DEVICE,
    sqlite3.SQLITE_LOCKED: Trouble.DEVICE,
    sqlite3.SQLITE_PROTOCOL: Trouble.DEVICE,
    sqlite3.SQLITE_NOMEM: Trouble.DEVICE,
    sqlite3.SQLITE_CORRUPT: Trouble.CORRUPT,
    sqlite3.SQLITE_NOTADB: Trouble.CORRUPT,
}


def trouble_of(error: Exception) -> Trouble:
    """Classify an error by SQLite's own code; whatever has none is a mistake of ours."""
    code = trouble_code(error)
    if code is None:
        return Trouble.DEVICE if isinstance(error, OSError) else Trouble.OURS
    return _TROUBLE.get(code, Trouble.OURS)


def trouble_code(error: Exception) -> int | None:
    """Return SQLite's primary code of an error; None: it isn't SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & _PRIMARY_CODE


def told(error: Exception) -> str:
    """Say it in a few words, with SQLite's name for it where there is one."""
    name = getattr(error, "sqlite_errorname", None)
    return f"{error} ({name})" if name else str(error) or type(error).__name__


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes; transactions are begun and ended by hand."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.text_factory = _TEXT
        for pragma in _WRITER:
            connection.execute(pragma).close()
        counts.prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can't write, for one question."""
    try:
        return _open_reader(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if (
            trouble_code(error) != sqlite3.SQLITE_CANTOPEN
            or path.with_name(f"{path.name}-wal").exists()
        ):
            raise
        # A store that was closed in order can only be read in a directory where the log of a
        # writer could be made, unless there can't be any writer: the disk is read-only.
        if not os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            raise
        return _open_reader(path, "immutable=1")


def _open_reader(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.text_factory = _TEXT
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}").close()
        connection.execute("PRAGMA schema_version").close()
    except BaseException:
        connection.close()
        raise
    return connection
