"""Disk held back for the day when there is none left.

SQLite can't make room on a full disk: deletes and checkpoints need room themselves. So a file
of allocated blocks lies beside the store and is unlinked when a commit finds the disk full;
what it held is spent on operators' intents only, until there is room again.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

NAME: Final = "ballast"
BALLAST_BYTES: Final = 4 << 20
_STEP_BYTES: Final = 64 << 10

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

# Of a small disk not more than this part is held back.
_SHARE: Final = 4


class Ballast:
    """The file, and whether the disk has room beyond it."""

    def __init__(self, directory: Path, size_bytes: int = BALLAST_BYTES) -> None:
        self._directory = directory
        self._path = directory / NAME
        self._size_bytes = size_bytes
        self.held_bytes = 0
        self.spent = False
        """Given up, and not taken again yet."""

    def take(self) -> None:
        """Allocate it, less of it where the disk is small; without room, go without."""
        if self.held_bytes:
            return
        try:
            fd = os.open(self._path, _FLAGS, 0o600)
        except OSError:
            return
        try:
            held_bytes = os.fstat(fd).st_blocks * 512
            share_bytes = (_free_bytes(self._directory) + held_bytes) // _SHARE
            wanted_bytes = min(self._size_bytes, share_bytes)
            wanted_bytes -= wanted_bytes % _STEP_BYTES
            if wanted_bytes > held_bytes:
                os.posix_fallocate(fd, 0, wanted_bytes)
                held_bytes = wanted_bytes
            self.held_bytes = held_bytes
            self.spent = False
        except OSError:
            # Half a ballast would only make the disk fuller.
            self._unlink()
        finally:
            os.close(fd)

    def find(self) -> bool:
        """Whether the ballast of an earlier daemon lies there; it counts as held then."""
        with contextlib.suppress(OSError):
            self.held_bytes = self._path.lstat().st_blocks * 512
        return self.held_bytes > 0

    def give_up(self) -> bool:
        """Free its blocks; False when there was nothing to free."""
        if not self.held_bytes:
            return False
        self.held_bytes = 0
        self.spent = True
        return self._unlink()

    def has_room(self) -> bool:
        """Whether the disk is so free that the ballast could be taken twice over."""
        try:
            return _free_bytes(self._directory) >= 2 * min(self._size_bytes, self._small_bytes())
        except OSError:
            return False

    def _small_bytes(self) -> int:
        """What the ballast may hold at most on a disk of this size."""
        found = os.statvfs(self._directory)
        return max(_STEP_BYTES, found.f_blocks * found.f_frsize // (2 * _SHARE))

    def _unlink(self) -> bool:
        # Read-only or already gone: there is nothing to win here.
        with contextlib.suppress(OSError):
            self._path.unlink()
            return True
        return False


def _free_bytes(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
