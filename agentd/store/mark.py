"""A witness beside the store: it existed, and no event of it had an id beyond this.

Another one does the same for the numbers of incidents.

Without it a file that was truncated to nothing would look like a first start, stopped agents
would run again, and ids that followers have seen would come a second time.
"""

import os
from pathlib import Path
from typing import Final

from agentd.store.directory import FILE_MODE, sync_directory

# So many ids are covered by one write of the file.
STRIDE: Final = 10_000
INCIDENT_STRIDE: Final = 100
_ID_MAX: Final = 1 << 53


class Mark:
    """The file `NAME.mark`, one number in it."""

    @classmethod
    def of_incidents(cls, store: Path) -> "Mark":
        """Return the one that covers the numbers of incidents."""
        return cls(store, "incidents", INCIDENT_STRIDE)

    def __init__(self, store: Path, name: str = "mark", stride: int = STRIDE) -> None:
        self._path = store.with_name(f"{store.name}.{name}")
        self._stride = stride
        self._covered = self.read() or 0

    def read(self) -> int | None:
        """Return the bound, 0 where it can't be read as a number; None: no store was here."""
        try:
            text = self._path.read_bytes()[:32]
        except FileNotFoundError:
            return None
        digits = text.strip()
        return min(int(digits), _ID_MAX) if digits.isdigit() else 0

    def cover(self, last_id: int) -> None:
        """Have the file durable with a bound beyond `last_id`; raises OSError."""
        if last_id < self._covered and self._covered:
            return
        bound = last_id + self._stride
        unfinished = self._path.with_name(f"{self._path.name}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(unfinished, flags, FILE_MODE)
        try:
            os.write(fd, f"{bound}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        unfinished.replace(self._path)
        sync_directory(self._path.parent)
        self._covered = bound
