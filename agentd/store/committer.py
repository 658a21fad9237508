"""One transaction at a time, and what is done when the disk refuses it.

- Full: the ballast is given up, and the transaction tried once more.
- An error of the device: the connection is dropped, because the kernel may have marked pages
  clean that never reached the disk. A new one folds the log into the file (which writes every
  page again), and then the store itself is asked whether the transaction is in it; only if it
  is not, it is written anew.
- Damage: the store is moved aside and built anew from what is remembered.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.core.effects import PersistIncident
from agentd.store.ballast import Ballast
from agentd.store.connection import Trouble, open_writer, told, trouble_of
from agentd.store.directory import DirectoryRefused
from agentd.store.mark import Mark
from agentd.store.opening import StoreUnavailable, open_store, rebuild
from agentd.store.retention import Bounds, tidy
from agentd.store.rows import Outcome, Row, Stamp
from agentd.store.schema import NewerSchema
from agentd.store.snapshots import Moment
from agentd.store.statements import last_event_id, write

ATTEMPTS_MAX: Final = 3
FAILURES: Final = (sqlite3.Error, OSError, ValueError, TypeError, OverflowError)
_MARK_GROUP: Final = "REPLACE INTO marks VALUES ('group', ?)"


@dataclass(slots=True)
class Job:
    """Some rows that stand or fall together, when they were told, and who wants to know."""

    rows: tuple[Row, ...]
    moment: Moment
    done: Callable[[Outcome], None] | None = None
    stamps: tuple[Stamp, ...] = ()
    written: bool = False
    error: str = ""
    """Why it can never be written, or was not."""

    @property
    def outcome(self) -> Outcome:
        return Outcome(error=self.error) if self.error else Outcome(self.stamps)


class Committer:
    """The connection that writes. All of it belongs to one thread, the writer's."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection | None,
        ballast: Ballast,
        mark: Mark,
        *,
        clock: Callable[[], Moment],
        remembered: Callable[[], Iterable[Row]],
    ) -> None:
        """Write through `connection`; None: the disk refused, and is asked again and again."""
        self._path = path
        self._connection: sqlite3.Connection | None = connection
        self._was_open = connection is not None
        self._ballast = ballast
        self._mark = mark
        self._incident_mark = Mark.of_incidents(path)
        self._clock = clock
        self._remembered = remembered
        self._last_id = last_event_id(connection) if connection is not None else 0
        self._group = _group_of(connection) if connection is not None else 0
        self._in_doubt = False
        self.damage = ""
        """What made a new store necessary, since it was last looked at."""

    @property
    def in_doubt(self) -> bool:
        """Whether the last group failed in a way that leaves open if it is in the store."""
        return self._in_doubt

    def settle(self) -> bool:
        """Have a connection; True if the group that was in doubt is in the store after all.

        Raises sqlite3.Error or OSError while the disk refuses; the doubt stays then.
        """
        if self._connection is None:
            self._reopen()
        in_doubt, self._in_doubt = self._in_doubt, False
        return in_doubt and _group_of(self._opened) == self._group

    def commit(self, jobs: list[Job]) -> str:
        """Make all of them durable in one transaction; return what stood in the way, else "".

        Written jobs have their stamps; one that is wrong in itself has an error of its own.
        """
        error = ""
        for _ in range(ATTEMPTS_MAX):
            try:
                if self._connection is None and self.settle():
                    return _mark_written(jobs)
                self._transact(jobs)
            except FAILURES as failure:
                error, trouble = told(failure), trouble_of(failure)
            else:
                return _mark_written(jobs)
            if trouble is Trouble.OURS:
                return self._commit_one_by_one(jobs)
            if not self._mended(trouble, error):
                break
        return error

    def tidy(self, bounds: Bounds, wall_ms: int) -> bool:
        """Delete a chunk of old rows; True if there is more. A failure is for the next commit."""
        try:
            return tidy(self._opened, bounds, wall_ms)
        except sqlite3.Error as failure:
            if trouble_of(failure) is not Trouble.FULL:
                self._drop()
            return False

    def fold(self) -> None:
        """Bring the log into the file while nobody waits."""
        if self._connection is None:
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").close()
        except sqlite3.Error as failure:
            # On a full disk the log simply stays; anything else wants a new connection.
            if trouble_of(failure) is not Trouble.FULL:
                self._drop()

    def close(self) -> None:
        self.fold()
        self._drop()

    @property
    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.OperationalError("the store is not open")
        return self._connection

    def _transact(self, jobs: list[Job]) -> None:
        """Write one group; raises with nothing written, or (device) with the group in doubt."""
        connection = self._opened
        self._group += 1
        connection.execute("BEGIN IMMEDIATE")
        try:
            last_id = last_event_id(connection)
            for job in jobs:
                job.stamps = tuple(write(connection, job.rows, job.moment, last_id))
                last_id += len(job.stamps)
            connection.execute(_MARK_GROUP, (self._group,))
            with contextlib.suppress(OSError):
                # Only a rebuild would miss it, and it is tried again with the next group.
                self._mark.cover(last_id)
                self._cover_incidents(jobs)
            self._in_doubt = True
            connection.execute("COMMIT")
        except BaseException as failure:
            if isinstance(failure, sqlite3.Error) and trouble_of(failure) is not Trouble.DEVICE:
                self._in_doubt = False
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        self._in_doubt = False
        self._last_id = last_id

    def _cover_incidents(self, jobs: list[Job]) -> None:
        rows = (row for job in jobs for row in job.rows if isinstance(row, PersistIncident))
        last = max((row.incident.number for row in rows), default=0)
        if last:
            self._incident_mark.cover(last)

    def _commit_one_by_one(self, jobs: list[Job]) -> str:
        """One job is wrong in itself: find it, and let the others through."""
        for job in jobs:
            try:
                self._transact([job])
                job.written = True
            except FAILURES as failure:
                if trouble_of(failure) is not Trouble.OURS:
                    self._drop()
                    return told(failure)
                job.error = told(failure)
        return ""

    def _mended(self, trouble: Trouble, error: str) -> bool:
        """Do what can be done about it; True if another attempt makes sense."""
        if trouble is Trouble.FULL:
            return self._ballast.give_up()
        self._drop()
        if trouble is Trouble.CORRUPT:
            self.damage = error
            try:
                self._rebuild(error)
            except (sqlite3.Error, OSError):
                # The old file may be aside already; the next attempt opens what is there.
                return False
        return True

    def _rebuild(self, damage: str) -> None:
        """Begin a new store with what the old one and the memory of this process still hold."""
        now = self._clock()
        opened = rebuild(self._path, self._mark, damage, wall_ms=now.wall_ms, last_id=self._last_id)
        connection = opened.connection
        assert connection is not None, "a store that was built anew can be written"
        try:
            connection.execute("BEGIN IMMEDIATE")
            write(connection, self._remembered(), now, self._last_id)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _reopen(self) -> None:
        """Open a new connection that trusts nothing the old one left in memory."""
        if not self._was_open:
            self._open_at_last()
            return
        connection = open_writer(self._path)
        try:
            _fold_all(connection)
            self._last_id = last_event_id(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _open_at_last(self) -> None:
        """Open, with every check, the store that the start of this process could only read."""
        try:
            opened = open_store(self._path, self._mark, wall_ms=self._clock().wall_ms)
        except (StoreUnavailable, NewerSchema, DirectoryRefused) as error:
            raise OSError(str(error)) from error
        assert opened.connection is not None, "that is what open_store is for"
        self._connection, self._was_open = opened.connection, True
        self._last_id, self._group = last_event_id(opened.connection), _group_of(opened.connection)
        self.damage = opened.damage

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # Closing folds the log, and a disk that refuses that refuses it again when reopened.
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _fold_all(connection: sqlite3.Connection) -> None:
    """Write every page of the log into the file, or raise."""
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise sqlite3.OperationalError("the log could not be folded into the store")


def _group_of(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT value FROM marks WHERE name = 'group'").fetchone()
    return int(found[0]) if found else 0


def _mark_written(jobs: list[Job]) -> str:
    """Note that all of them are in the store; nothing stood in the way."""
    for job in jobs:
        job.written = True
    return ""
