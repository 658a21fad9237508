"""Which part of a log was written when: wall time to position, for `--since`.

The agent writes straight to its file, so no line carries our time. Instead the end of the file
is noted whenever it has moved, at most once a second: what lies before a noted end was written
before that time. Entries are appended to a file beside the log; a torn one is ignored.
"""

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import Final

_ENTRY: Final = struct.Struct("<qq")
ENTRIES_MAX: Final = 65_536
STEP_MS: Final = 1_000
# No output gets this far (4 petabytes): an entry that says so is damaged.
_END_MAX: Final = 1 << 52
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC


class LogIndex:
    """The file `.NAME.times`, at most ENTRIES_MAX entries of 16 bytes."""

    def __init__(self, dir_fd: int, name: str, *, entries_max: int = ENTRIES_MAX) -> None:
        self._dir_fd = dir_fd
        self._name = f".{name}.times"
        self._entries_max = entries_max
        self._last_ms: int | None = None
        self._last_position = -1

    def sample(self, wall_ms: int, end: int, start: int) -> None:
        """Note that the log reaches up to position `end` now; it begins at `start`.

        Raises OSError where the disk refuses; the next sample covers what this one missed.
        """
        if end == self._last_position:
            return
        # A clock that was set back must not silence the index.
        if self._last_ms is not None and 0 <= wall_ms - self._last_ms < STEP_MS:
            return
        fd = os.open(self._name, _FLAGS, 0o600, dir_fd=self._dir_fd)
        try:
            size = os.fstat(fd).st_size
            if size % _ENTRY.size:
                size -= size % _ENTRY.size
                os.ftruncate(fd, size)
            os.write(fd, _ENTRY.pack(wall_ms, end))
        finally:
            os.close(fd)
        self._last_ms, self._last_position = wall_ms, end
        if size // _ENTRY.size + 1 > self._entries_max:
            self._thin(start)

    def position_since(self, wall_ms: int) -> int:
        """Return a position before which nothing was written at `wall_ms` or later.

        Up to a second of older lines may follow it; where entries were thinned out, more.
        """
        before = 0
        for noted_ms, end in self._entries():
            if noted_ms >= wall_ms:
                return before
            before = end
        return before

    def last_position(self) -> int:
        """Return the furthest end that was ever noted; 0 for none."""
        return max((end for _, end in self._entries()), default=0)

    def _entries(self) -> Iterator[tuple[int, int]]:
        blob = b""
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(self._name, os.O_RDONLY | _SAFE, dir_fd=self._dir_fd)
            with os.fdopen(fd, "rb") as file:
                blob = file.read((self._entries_max + 1) * _ENTRY.size)
        whole = len(blob) - len(blob) % _ENTRY.size
        for noted_ms, end in _ENTRY.iter_unpack(blob[:whole]):
            if 0 <= end <= _END_MAX:
                yield noted_ms, end

    def _thin(self, start: int) -> None:
        """Drop what was trimmed, then every other entry of the older half."""
        entries = [entry for entry in self._entries() if entry[1] >= start]
        if len(entries) > self._entries_max // 2:
            half = len(entries) // 2
            entries = entries[:half:2] + entries[half:]
        unfinished = f"{self._name}.tmp"
        fd = os.open(unfinished, _FLAGS | os.O_TRUNC, 0o600, dir_fd=self._dir_fd)
        with os.fdopen(fd, "wb") as file:
            file.writelines(_ENTRY.pack(*entry) for entry in entries)
        os.rename(unfinished, self._name, src_dir_fd=self._dir_fd, dst_dir_fd=self._dir_fd)
