"""All agents' logs, and the thread that keeps them small.

Sizes are looked at once a second, more often where an agent writes so fast that it would fill
its bound before; the disk's own fullness makes every log give way. Nothing here raises into
the event loop: what goes wrong is a note.
"""

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from agentd.daemon.logreader import LogReader
from agentd.daemon.logs import LogFile, LogRefused, Trimmed

DIRECTORY_MODE: Final = 0o750
LOOK_S: Final = 0.9
LOOK_S_MIN: Final = 0.05

# Below this much room the disk counts as full, on a small one below this part of it.
ROOM_BYTES: Final = 1 << 20
ROOM_SHARE: Final = 16
EVIDENCE_S: Final = 10.0

Post = Callable[[Callable[[], None]], object]


@dataclass(frozen=True, slots=True)
class LogNote:
    """What happened to a log, or to their disk; `agent` is empty where it is all of them.

    trimmed: bytes dropped within the bound, as it should be; copied: lines may be lost;
    failed: a log can't be kept small; full and ok: the disk of the logs.
    """

    kind: Literal["trimmed", "copied", "failed", "full", "ok"]
    agent: str
    message: str
    dropped_bytes: int = 0


class Logs:
    """The log directory."""

    def __init__(
        self,
        directory: Path,
        *,
        wall_ms: Callable[[], int],
        post: Post,
        on_note: Callable[[LogNote], None],
    ) -> None:
        """Make the directory if need be; raises `LogRefused` or OSError. `start` comes later."""
        self.directory = directory
        self._dir_fd = _open_directory(directory)
        self._wall_ms = wall_ms
        self._post = post
        self._on_note = on_note
        self._files: dict[str, LogFile] = {}
        self._changing = threading.Lock()
        self._failed: dict[str, str] = {}
        self._full_at_s: float | None = None
        self._full = False
        self.secrets: tuple[bytes, ...] = ()
        """Values that no reader of a log is shown; replaced when the configuration changes."""
        self.dropped_bytes = 0
        """Bytes trimmed from all logs since the daemon started."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Begin to watch the logs' sizes; raises `LogRefused` where there is no thread for it."""
        try:
            self._thread.start()
        except RuntimeError as error:
            raise LogRefused(f"no thread to bound the logs with: {error}") from error

    def close(self) -> None:
        """End the thread; agents keep their files."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(5)
        with self._changing:
            for file in self._files.values():
                file.close()
            self._files.clear()
        os.close(self._dir_fd)

    def child_fd(self, agent: str, max_size_bytes: int) -> int:
        """Return an fd for a child's stdout and stderr; the caller closes it.

        Raises `LogRefused` (a symlink, say) or OSError (a full or read-only disk).
        """
        file = self.file(agent, max_size_bytes)
        return file.child_fd()

    def file(self, agent: str, max_size_bytes: int | None = None) -> LogFile:
        """Return an agent's log, opened if need be; a bound that is given applies from now on.

        Raises as `child_fd` does.
        """
        with self._changing:
            file = self._files.get(agent)
            if file is None:
                file = LogFile(self._dir_fd, agent, max_size_bytes or 0)
                self._files[agent] = file
            elif max_size_bytes is not None:
                file.max_size_bytes = max_size_bytes
            return file

    def bound(self, agent: str, max_size_bytes: int) -> None:
        """Let another bound apply to a log from now on; one that isn't open gets it when it is."""
        with self._changing:
            file = self._files.get(agent)
            if file is not None:
                file.max_size_bytes = max_size_bytes

    def keep_only(self, agents: Collection[str]) -> None:
        """Stop watching the logs of agents that are no more; their files stay."""
        for agent in self._files.keys() - set(agents):
            self.forget(agent)

    def forget(self, agent: str) -> None:
        """Stop watching the log of an agent that was removed; the file stays."""
        with self._changing:
            file = self._files.pop(agent, None)
        self._failed.pop(agent, None)
        if file is not None:
            file.close()

    def read(
        self,
        agent: str,
        *,
        lines: int | None,
        since_ms: int | None = None,
        grep: str | None = None,
        raw: bool = False,
    ) -> list[str]:
        """Return lines as `LogReader.last` does; an agent that never ran has none."""
        reader = self.reader(agent, raw=raw)
        if reader is None:
            return []
        return reader.last(100 if lines is None else lines, since_ms=since_ms, grep=grep)

    def reader(self, agent: str, *, raw: bool = False) -> LogReader | None:
        """Return what reads an agent's log; None where there is no log."""
        with contextlib.suppress(FileNotFoundError):
            if agent not in self._files:
                os.stat(f"{agent}.log", dir_fd=self._dir_fd, follow_symlinks=False)
            return LogReader(self.file(agent), raw=raw, secrets=self.secrets)
        return None

    def evidence(self) -> str:
        """Return `log disk full` if it was full in the last seconds, for an agent that died."""
        at_s = self._full_at_s
        recent = at_s is not None and time.monotonic() - at_s < EVIDENCE_S
        return "log disk full" if recent else ""

    def check(self) -> float:
        """Look at every log once; return after how many seconds to look again."""
        started_s, wait_s = time.monotonic(), LOOK_S
        with self._changing:
            files = dict(self._files)
        for agent, file in files.items():
            try:
                wait_s = min(wait_s, self._check_one(agent, file))
                self._failed.pop(agent, None)
            except OSError as error:
                if agent in self._files:
                    self._tell_failed(agent, file, error)
            except Exception as error:  # noqa: BLE001 - a bug costs one log, not the thread
                self._tell_failed(agent, file, error)
        self._mind_disk(files)
        spent_s = time.monotonic() - started_s
        return max(LOOK_S_MIN, wait_s - spent_s)

    def _run(self) -> None:
        wait_s = LOOK_S_MIN
        while not self._closing.wait(wait_s):
            wait_s = self.check()

    def _check_one(self, agent: str, file: LogFile) -> float:
        """Index and trim one log; return after how many seconds it may be too large."""
        trimmed = file.trim()
        end = file.end()
        if trimmed.dropped_bytes:
            self._tell_trimmed(agent, trimmed)
        with contextlib.suppress(OSError):  # the next sample covers what this one missed
            file.index.sample(self._wall_ms(), end, file.start)
        grown, file.seen_end = end - file.seen_end, end
        if not grown or not file.max_size_bytes:
            return LOOK_S
        room_bytes = max(0, file.max_size_bytes - file.used_bytes)
        return LOOK_S * room_bytes / grown / 2

    def _mind_disk(self, files: dict[str, LogFile]) -> None:
        """On a full disk every log gives way, the largest first."""
        try:
            if not self._is_full():
                self._set_full(full=False)
                return
            for agent, file in sorted(files.items(), key=lambda one: -one[1].used_bytes):
                with contextlib.suppress(OSError):  # the next one may give way
                    trimmed = file.trim(file.used_bytes // 2)
                    if trimmed.dropped_bytes:
                        self._tell_trimmed(agent, trimmed)
                if not self._is_full():
                    self._set_full(full=False)
                    return
            self._set_full(full=True)
        except OSError as error:
            self._tell_failed("", None, error)

    def _is_full(self) -> bool:
        disk = os.fstatvfs(self._dir_fd)
        wanted = min(ROOM_BYTES, disk.f_blocks * disk.f_frsize // ROOM_SHARE)
        full = disk.f_bavail * disk.f_frsize < wanted
        if full:
            self._full_at_s = time.monotonic()
        return full

    def _set_full(self, *, full: bool) -> None:
        if full is not self._full:
            self._full = full
            message = f"log disk full: {self.directory}" if full else "the logs have room again"
            self._tell(LogNote("full" if full else "ok", "", message))

    def _tell_trimmed(self, agent: str, trimmed: Trimmed) -> None:
        self.dropped_bytes += trimmed.dropped_bytes
        message = trimmed.note or f"{trimmed.dropped_bytes} bytes trimmed from the head of its log"
        kind: Literal["copied", "trimmed"] = "copied" if trimmed.note else "trimmed"
        self._tell(LogNote(kind, agent, message, trimmed.dropped_bytes))

    def _tell_failed(self, agent: str, file: LogFile | None, error: Exception) -> None:
        """Say it once, until it works or fails differently."""
        why = (error.strerror if isinstance(error, OSError) else None) or repr(error)
        if self._failed.get(agent) != why:
            self._failed[agent] = why
            name = file.name if file is not None else str(self.directory)
            self._tell(LogNote("failed", agent, f"{name} can't be kept small: {why}"))

    def _tell(self, note: LogNote) -> None:
        # A loop that is closed by now has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._post(lambda: self._on_note(note))


def _open_directory(path: Path) -> int:
    """Return an fd of a directory that nobody else can write into; raises `LogRefused`."""
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise LogRefused(f"log directory {path} is a symlink") from error
        raise
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.close(fd)
        raise LogRefused(
            f"log directory {path} may be written by others (owner {found.st_uid},"
            f" mode {stat.S_IMODE(found.st_mode):04o})"
        )
    return fd
