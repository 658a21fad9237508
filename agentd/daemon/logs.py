"""One agent's output: an append-only file that the agent itself writes, and we only shorten.

Nothing of ours stands between the agent and the disk: no pipe that fills up or breaks, no byte
lost when the daemon dies. Positions are logical (base + offset in the file): they survive
trimming, restarts of the agent and of the daemon.
"""

import contextlib
import errno
import os
import stat
import threading
from dataclasses import dataclass
from typing import Final

from agentd.daemon.logbase import Base, BaseFile
from agentd.daemon.logindex import LogIndex
from agentd.daemon.logtrim import NotSupported, collapse, copy_truncate, data_start, punch

LOG_MODE: Final = 0o640

# After a trim this part of the bound is left, so that trims are few.
_KEEP: Final = (3, 4)
COPY_BYTES_MAX: Final = 4 << 20

# Collapsing makes the kernel write out what is dirty: not while the agent writes much, unless
# the file would look this many times as large as it is.
_CALM_BYTES: Final = 1 << 20
_APPARENT_MAX: Final = 16
_LOCK_S: Final = 0.05
# Positions cross the wire as integers of JSON. No output comes near (9 petabytes); an agent that
# stretches its own log does, and more than once would be beyond what any file can note.
POSITION_MAX: Final = 1 << 53
_SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND: Final = os.O_APPEND | _SAFE


class LogRefused(Exception):  # noqa: N818 - named after what the user is told
    """The log is not a plain file of ours: a symlink, a pipe, a directory."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes of a log, and where they and the log itself begin and end."""

    position: int
    data: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trim did: bytes dropped, and a note where it was not harmless."""

    dropped_bytes: int = 0
    note: str = ""


class LogFile:
    """The file NAME.log of one agent. Any thread may use it."""

    def __init__(self, dir_fd: int, agent: str, max_size_bytes: int) -> None:
        """Open or create it; raises `LogRefused` or OSError."""
        assert agent, "an agent has a name"
        assert "/" not in agent, agent
        assert not agent.startswith("."), agent
        self.name = f"{agent}.log"
        self.max_size_bytes = max_size_bytes
        self._dir_fd = dir_fd
        self.index = LogIndex(dir_fd, self.name)
        self._record = BaseFile(dir_fd, self.name)
        self._lock = threading.Lock()
        self._holes, self._shrinks = True, True
        self._record_stale = False
        self._collapse_told = False
        self._reads_only = False
        self.fd = -1
        self._open()
        self.seen_end = self._base + self._size
        """Up to where whoever looks regularly has looked."""

    @property
    def start(self) -> int:
        """The position of the first byte that is still there."""
        return self._base + self._hole

    @property
    def used_bytes(self) -> int:
        """What it holds on disk, as of the last look."""
        return self._size - self._hole

    def child_fd(self) -> int:
        """Return a new fd for a child's stdout and stderr; the caller closes it.

        A line that the last incarnation left torn gets its end first. Raises `LogRefused` or
        OSError. A log that somebody moved away is begun anew.
        """
        locked = self._lock.acquire(timeout=_LOCK_S)
        try:
            if self._reads_only or not self._is_in_place():
                self._reopen()
            fd = os.open(self.name, os.O_WRONLY | _APPEND, LOG_MODE, dir_fd=self._dir_fd)
            with contextlib.suppress(OSError):  # on a full disk a torn line stays torn
                self._seal(fd)
        finally:
            if locked:
                self._lock.release()
        return fd

    def end(self) -> int:
        """Return the position after the last byte."""
        with self._lock:
            self._look()
            return self._base + self._size

    def end_soon(self) -> int | None:
        """As `end`, for the event loop: None while a trim is under way."""
        if not self._lock.acquire(timeout=_LOCK_S):
            return None
        try:
            self._look()
            return self._base + self._size
        finally:
            self._lock.release()

    def may_have_more(self, position: int) -> bool:
        """Tell whether it may reach beyond `position`, without waiting for a trim under way."""
        if not self._lock.acquire(blocking=False):
            return True
        try:
            self._look()
            return self._base + self._size > position
        finally:
            self._lock.release()

    def read(self, position: int, max_bytes: int) -> Chunk:
        """Read from `position` on, or from where the log begins if that is later."""
        with self._lock:
            self._look()
            begin = min(max(position, self.start), self._base + self._size)
            data = os.pread(self.fd, max_bytes, begin - self._base)
            return Chunk(begin, data, self.start, self._base + self._size)

    def trim(self, keep_bytes: int | None = None) -> Trimmed:
        """Drop the head if the log is larger than it may be, or than `keep_bytes`.

        Writes to disk and waits for it: not for the event loop. Raises OSError.
        """
        self._make_writable()
        trimmed = Trimmed()
        if self._collapse_told:
            # A new hole could be taken for the one that was collapsed.
            self._write_record()
        if keep_bytes is not None:
            trimmed = self._drop_head(keep_bytes)
        elif self.max_size_bytes and self.end() and self.used_bytes > self.max_size_bytes:
            kept, of = _KEEP
            trimmed = self._drop_head(self.max_size_bytes * kept // of)
        if self._hole >= max(self.max_size_bytes, self._block) and self._shrinks:
            looks_large = self._size > _APPARENT_MAX * max(self.max_size_bytes, self._block)
            if self.end() - self.seen_end < _CALM_BYTES or looks_large:
                self._shrink()
        if self._record_stale:
            self._refresh_record()
        return trimmed

    def close(self) -> None:
        """Let go of it; whoever still uses it gets an OSError, never somebody else's fd."""
        with self._lock:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def _open(self) -> None:
        try:
            fd = os.open(self.name, os.O_RDWR | os.O_CREAT | _APPEND, LOG_MODE, dir_fd=self._dir_fd)
            self._reads_only = False
        except OSError as error:
            if self._is_link():
                raise LogRefused(f"{self.name} is a symlink") from error
            if error.errno != errno.EROFS:
                raise
            try:
                fd = os.open(self.name, os.O_RDONLY | _SAFE, dir_fd=self._dir_fd)
            except FileNotFoundError:
                raise error from None  # that the disk is read-only says more
            self._reads_only = True
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise LogRefused(f"{self.name} is not a plain file")
        self.fd, self._inode = fd, found.st_ino
        self._block = max(4096, os.fstatvfs(fd).f_bsize)
        self._size = found.st_size
        self._hole = min(data_start(fd), self._size)
        self._base = self._recovered_base()
        self._look()

    def _recovered_base(self) -> int:
        """Return the base, an unfinished collapse taken into account."""
        told = self._record.read()
        if told.inode != self._inode:
            # A new file: its bytes come after all that were ever counted.
            self._record_stale = True
            seen = self.index.last_position() if told.inode else 0
            return max(told.base + told.collapsing, seen)
        if not told.collapsing:
            return told.base
        self._record_stale = self._collapse_told = True
        # The hole was punched before the record was written: it stands, or is collapsed.
        return told.base if self._hole >= told.collapsing else told.base + told.collapsing

    def _is_link(self) -> bool:
        try:
            return stat.S_ISLNK(os.lstat(self.name, dir_fd=self._dir_fd).st_mode)
        except OSError:
            return False

    def _is_in_place(self) -> bool:
        try:
            return os.lstat(self.name, dir_fd=self._dir_fd).st_ino == self._inode
        except FileNotFoundError:
            return False

    def _reopen(self) -> None:
        """Open what lies there now; in a new file positions go on beyond those of the old."""
        self._look()
        end, old, inode = self._base + self._size, self.fd, self._inode
        self._open()
        os.close(old)
        if self._inode != inode:
            self._base, self._record_stale = max(end, self._base), True

    def _make_writable(self) -> None:
        """Have an fd that can trim, now that the disk may be writable again; raises OSError."""
        if self._reads_only:
            with self._lock:
                self._reopen()
            if self._reads_only:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def _seal(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if size and os.pread(self.fd, 1, size - 1) not in {b"\n", b""}:
            os.write(fd, b"\n")

    def _look(self) -> None:
        """Ask for the size, and find out whether its own agent truncated it."""
        size = os.fstat(self.fd).st_size
        if size < self._size:
            # What is in it now is new.
            self._base += self._size
            self._hole, self._record_stale = 0, True
        self._size = size
        if self._base + size > POSITION_MAX and not self._reads_only:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Empty a log that is longer than any output can be; positions start at 0 again."""
        os.ftruncate(self.fd, 0)
        self._base = self._size = self._hole = 0
        self._record_stale = True

    def _drop_head(self, keep_bytes: int) -> Trimmed:
        with self._lock:
            self._look()
            cut = self._size - keep_bytes
            cut -= cut % self._block
            dropped = cut - self._hole
            if dropped <= 0:
                return Trimmed()
            if self._holes:
                try:
                    punch(self.fd, cut)
                except NotSupported:
                    self._holes = False
                else:
                    self._hole = cut
                    return Trimmed(dropped)
            return self._copy(min(keep_bytes, COPY_BYTES_MAX))

    def _copy(self, keep_bytes: int) -> Trimmed:
        """Where the file system can do nothing better."""
        before = self._size
        kept = copy_truncate(self.fd, keep_bytes)
        self._base += before - kept
        self._size, self._hole, self._record_stale = kept, 0, True
        return Trimmed(
            before - kept,
            f"{self.name} was copied and truncated, because its file system can't drop the head"
            " of a file; lines written at that moment may be lost",
        )

    def _shrink(self) -> None:
        """Take the hole out of the file, its length durable before."""
        hole = self._hole - self._hole % self._block
        # Outside the lock: nobody may wait for this disk.
        fd = os.dup(self.fd)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
        self._collapse_told = True
        self._record.write(Base(self._base, hole, self._inode))
        with self._lock:
            self._look()
            if self._hole >= hole:
                try:
                    collapse(self.fd, hole)
                except NotSupported:
                    self._shrinks = False
                else:
                    self._record_stale = True
                    self._base += hole
                    self._size -= hole
                    self._hole -= hole
        self._write_record()

    def _refresh_record(self) -> None:
        """Write what nothing depends on yet; on a full disk the next trim tries again."""
        try:
            self._write_record()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def _write_record(self) -> None:
        self._record.write(Base(self._base, 0, self._inode))
        self._record_stale = self._collapse_told = False
