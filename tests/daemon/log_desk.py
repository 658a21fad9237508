"""A log directory, agents that write into it, and a clock of our own."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentd.daemon.logkeeper import LogNote, Logs
from agentd.daemon.logreader import LogReader
from agentd.daemon.logs import LogFile

# Collapses on the first; the second only punches holes.
PLACES = ("disk", "memory")


class LogDesk:
    """Logs whose thread is not started: `logs.check()` is called by the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wall_ms = 1_700_000_000_000
        self.notes: list[LogNote] = []
        self.logs = self._open()
        self._fds: list[int] = []

    def again(self) -> None:
        """As a new daemon would: everything is opened anew."""
        self.logs.close()
        self.logs = self._open()

    def log(self, agent: str = "a", max_size_bytes: int = 0) -> LogFile:
        return self.logs.file(agent, max_size_bytes or None)

    def reader(self, agent: str = "a", *, raw: bool = False) -> LogReader:
        reader = self.logs.reader(agent, raw=raw)
        assert reader is not None
        return reader

    def child(self, agent: str = "a", max_size_bytes: int = 0) -> int:
        """Return an fd to write to as the agent does."""
        fd = self.logs.child_fd(agent, max_size_bytes)
        self._fds.append(fd)
        return fd

    def drop(self, fd: int) -> None:
        """Close it, as the end of the agent does."""
        self._fds.remove(fd)
        os.close(fd)

    def disk_bytes(self, agent: str = "a") -> int:
        return (self.directory / f"{agent}.log").stat().st_blocks * 512

    def close(self) -> None:
        self.logs.close()
        for fd in self._fds:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _open(self) -> Logs:
        def post(call: Callable[[], None]) -> None:
            call()

        return Logs(
            self.directory,
            wall_ms=lambda: self.wall_ms,
            post=post,
            on_note=self.notes.append,
        )


def numbered(first: int, count: int, width: int = 100) -> bytes:
    """Return lines that say which they are, `width` bytes each."""
    return b"".join(
        f"{n:010d}".ljust(width - 1, ".").encode() + b"\n" for n in range(first, first + count)
    )


def numbers(texts: list[str]) -> list[int]:
    return [int(text[:10]) for text in texts]


def places(tmp_path: Path, place: str) -> Iterator[Path]:
    """Return a directory on a disk that collapses, or in memory that does not."""
    if place == "disk":
        yield tmp_path / "logs"
        return
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        pytest.skip("/dev/shm is not there")
    directory = memory / f"agentd-test-{os.getpid()}-{tmp_path.name}"
    try:
        yield directory
    finally:
        for path in directory.glob("*"):
            path.unlink()
        for path in directory.glob(".*"):
            path.unlink()
        directory.rmdir()
