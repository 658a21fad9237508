"""Open the store's file for writing: checked, brought up to this version, or built anew.

A damaged store is never repaired in place. It is moved aside as it is, a new one takes its
place, and what can still be read and proved of agents and incarnations goes over: the
operator's intents outlive a damaged disk wherever that is possible.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.store import kinds
from agentd.store.connection import Trouble, open_reader, open_writer, told, trouble_of
from agentd.store.directory import check_file, sync_directory
from agentd.store.incidents import INCIDENT_MARK
from agentd.store.mark import Mark
from agentd.store.salvage import salvage
from agentd.store.schema import VERSION, NotAStore, check_version, migrate
from agentd.store.statements import proved

# Above this size only the tables that recovery needs are checked at each start.
WHOLE_CHECK_BYTES: Final = 64 << 20
QUARANTINES_MAX: Final = 3
_STATE_TABLES: Final = (
    "agents",
    "spawns",
    "requests",
    "marks",
    "baselines",
    "incidents",
    "alerts",
    "deliveries",
)
_CHUNK_BYTES: Final = 1 << 20
_BESIDE: Final = ("-wal", "-shm", "-journal")

# What SQLite says of a head that makes no sense as well as of a disk that refuses.
_MAYBE_DAMAGE: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR_SHORT_READ}
)
_HALF_MADE: Final = frozenset(
    {
        sqlite3.SQLITE_READONLY_ROLLBACK,
        sqlite3.SQLITE_READONLY_RECOVERY,
        sqlite3.SQLITE_READONLY_CANTINIT,
    }
)


class StoreUnavailable(Exception):  # noqa: N818 - named after what the user is told
    """The disk does not let us open the store; nothing is known to be wrong with it."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store, and whether it had to be built anew."""

    connection: sqlite3.Connection | None
    """None: it can only be read, see `unavailable`."""
    quarantined: Path | None = None
    """Where the damaged file lies now, or would, had there been one."""
    damage: str = ""
    """What was wrong with it; empty: nothing."""
    salvaged: int = 0
    """Agents whose last known half went over to the new store."""
    unavailable: str = ""
    """Why nothing can be written into it for now."""
    is_blank: bool = False
    """There is no store yet."""


def open_store(path: Path, mark: Mark, *, wall_ms: int) -> Opened:
    """Open `path`, or quarantine it and open a new one.

    Raises `NewerSchema` (untouched), `DirectoryRefused`, and `StoreUnavailable` where the
    disk is to blame.
    """
    damage = "the file is gone or empty" if mark.read() is not None and _is_empty(path) else ""
    if not damage:
        try:
            return _finished(Opened(_checked(path)), mark)
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            if not _is_damage(error, path):
                raise StoreUnavailable(f"{path}: {told(error)}") from error
            damage = told(error)
    try:
        return _finished(rebuild(path, mark, damage, wall_ms=wall_ms), mark)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"{path}: {told(error)}") from error


def open_read_only(path: Path, mark: Mark, refusal: StoreUnavailable) -> Opened:
    """Return a store that is whole and can't be written, or that never was; else raise.

    What it holds is known then, and a daemon can go on from it until the disk takes writes.
    """
    try:
        if _is_empty(path):
            if mark.read() is not None:
                raise refusal  # there was one, and nobody knows what it held
            return Opened(None, unavailable=str(refusal), is_blank=True)
        with closing(open_reader(path)) as reader:
            if check_version(reader, path) != VERSION:
                raise refusal
            _check_pages(reader, path)
    except (sqlite3.Error, OSError, UnicodeDecodeError, NotAStore):
        raise refusal from None
    return Opened(None, unavailable=str(refusal))


def rebuild(path: Path, mark: Mark, damage: str, *, wall_ms: int, last_id: int = 0) -> Opened:
    """Open a new store with what can be saved of the damaged one, which is moved aside.

    The new one is whole before the old one goes. Ids of events and numbers of incidents go on
    beyond all that were ever used, with a gap where the last one is unknown. Raises
    sqlite3.Error and OSError.
    """
    saved = salvage(path, wall_ms)
    first_id = last_id or saved.last_id or mark.read() or 0
    last_incident = saved.last_incident or Mark.of_incidents(path).read() or 0
    fresh = path.with_name(f"{path.name}.new")
    _remove(fresh)
    with closing(_checked(fresh)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        saved.write(connection)
        for name, value in (("first_id", first_id), (INCIDENT_MARK, last_incident)):
            connection.execute("REPLACE INTO marks VALUES (?, ?)", (name, value))
        connection.execute("COMMIT")
    quarantined = _quarantine(path, wall_ms)
    fresh.replace(path)
    sync_directory(path.parent)
    return Opened(_checked(path), quarantined, damage, saved.agents)


def _finished(opened: Opened, mark: Mark) -> Opened:
    """Leave the witness that from now on there is a store here."""
    if mark.read() is None:
        mark.cover(0)
    return opened


def _checked(path: Path) -> sqlite3.Connection:
    """Open it and refuse damage; raises sqlite3.Error, OSError, `NewerSchema`."""
    check_file(path)
    if not _is_empty(path):
        _check_untouched(path)
    connection = open_writer(path)
    try:
        migrate(connection, path)
        _check_pages(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_untouched(path: Path) -> None:
    """Check the version without writing, unless a crash left a change half made."""
    try:
        with closing(open_reader(path)) as reader:
            check_version(reader, path)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in _HALF_MADE:
            raise
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            check_version(connection, path)


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    # The quick one reads no index through.
    checks = [f"PRAGMA integrity_check({table})" for table in _STATE_TABLES]
    tables: Iterable[str] = _STATE_TABLES
    if path.stat().st_size <= WHOLE_CHECK_BYTES:
        checks.insert(0, "PRAGMA quick_check(1)")
        tables = kinds.tables()
    for check in checks:
        found = connection.execute(check).fetchone()[0]
        if found != "ok":
            raise NotAStore(str(found))
    if kinds.shape(connection) != kinds.ours():
        raise NotAStore("its tables have other columns than they were made with")
    for table in tables:
        if kinds.misnumbered(connection, table):
            raise NotAStore(f"table {table} holds something else where numbers belong")
    for name, durable, crc in connection.execute("SELECT name, durable, crc FROM agents"):
        if proved(name, durable, crc) is None:
            raise NotAStore(f"the row of agent {name!r} is not what was written")


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True


def _is_damage(error: Exception, path: Path) -> bool:
    """Tell a damaged file from a disk that fails: the latter can't be read or written at all."""
    if trouble_of(error) in (Trouble.CORRUPT, Trouble.OURS):
        return True
    if getattr(error, "sqlite_errorcode", None) not in _MAYBE_DAMAGE:
        return False
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            while os.read(fd, _CHUNK_BYTES):
                pass
        finally:
            os.close(fd)
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    # What SQLite calls an I/O error may be a disk too full for its index of the log.
    return disk.f_bavail * disk.f_frsize >= _CHUNK_BYTES


def _quarantine(path: Path, wall_ms: int) -> Path:
    """Keep the damaged store under another name; the oldest of too many are deleted.

    Its log goes away here: a new store must never be taken to belong to it.
    """
    target = path.with_name(f"{path.name}.damaged-{wall_ms}")
    _remove(target)
    with contextlib.suppress(FileNotFoundError):
        os.link(path, target)
    for suffix in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
    for old in sorted(path.parent.glob(f"{path.name}.damaged-*[0-9]"))[:-QUARANTINES_MAX]:
        _remove(old)
    return target


def _remove(path: Path) -> None:
    for suffix in ("", *_BESIDE):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
