"""One daemon a state directory: the lock is the `flock`, the pid in the file is for people."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

NAME: Final = "agentd.lock"


class AlreadyRunning(Exception):  # noqa: N818 - named after what the user is told
    """Another daemon holds the state directory; the message names its pid."""


class StateLock:
    """The right to use a state directory, for the life of this process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def take(cls, state_dir: Path, inherited: int | None = None) -> "StateLock":
        """Lock `state_dir`, or take over the fd that a re-exec handed down.

        Raises `AlreadyRunning` where another daemon holds it, and OSError where the file
        can't be opened (a symlink, for one).
        """
        if inherited is not None:
            os.set_inheritable(inherited, False)
            return cls(inherited)
        fd = _open(state_dir)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise AlreadyRunning(
                f"another agentd (pid {pid}) already runs on {state_dir}; nothing was touched"
            ) from None
        with contextlib.suppress(OSError):  # a disk that takes no writes: the lock holds
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return cls(fd)

    def release(self) -> None:
        """Give it back; the file stays, because unlinking a lock invites two holders."""
        os.close(self.fd)


def _open(state_dir: Path) -> int:
    """Open the file to lock; on a read-only disk as it is, or else the directory itself."""
    safe = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(state_dir / NAME, os.O_RDWR | os.O_CREAT | safe, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    try:
        return os.open(state_dir / NAME, os.O_RDONLY | safe)
    except FileNotFoundError:
        return os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | safe)
