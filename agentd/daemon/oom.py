"""The kernel's own word on whom it killed for memory, from its log.

A cgroup's counter says that somebody in it was killed; only the log tells of a kill for the
whole host's sake. It is a ring that others fill, so it is read from before: opened at the
daemon's start, from its end, and read whenever a process ended by SIGKILL.
"""

import errno
import os
import re
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

_PATH: Final = "/dev/kmsg"
_RECORD_BYTES: Final = 8192
_VICTIMS_MAX: Final = 256
_RECORDS_A_READING: Final = 4096

_VICTIM: Final = re.compile(
    rb"oom-kill:constraint=(?P<constraint>\w+),.*?task_memcg=(?P<memcg>[^,]*),.*?pid=(?P<pid>\d+)"
)


class KernelLog:
    """Who was killed for memory since this was opened."""

    def __init__(self, path: str = _PATH) -> None:
        """Open the log at its end; without the right to, nobody was ever seen killed."""
        self._victims: OrderedDict[int, tuple[str, str]] = OrderedDict()
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:
            self._fd = -1

    @property
    def readable(self) -> bool:
        return self._fd >= 0

    def victim(self, pid: int, cgroup: str) -> str:
        """Return the log's line on `pid` (in `cgroup`, if it has one), or nothing.

        A line is told once: the pid may be given to another.
        """
        self.read()
        memcg, line = self._victims.get(pid, ("", ""))
        if not line or (cgroup and memcg not in ("", "/") and not memcg.endswith(cgroup)):
            return ""
        del self._victims[pid]
        return line

    def victims(self, pids: Iterable[int], cgroup: str) -> list[str]:
        """Return the lines on any of these, each told once."""
        self.read()
        if not self._victims:
            return []
        return [line for pid in pids if (line := self.victim(pid, cgroup))]

    def forget(self, pid: int) -> None:
        """Say that this pid was given to a new process: what was logged so far is not its."""
        self.read()
        self._victims.pop(pid, None)

    def read(self) -> None:
        """Take in what was logged since."""
        for _ in range(_RECORDS_A_READING if self.readable else 0):
            try:
                record = os.read(self._fd, _RECORD_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EPIPE:  # the ring overtook us; it goes on behind the gap
                    continue
                return
            if not record:
                return
            self._take(record)

    def close(self) -> None:
        if self.readable:
            os.close(self._fd)
            self._fd = -1

    def _take(self, record: bytes) -> None:
        found = _VICTIM.search(record)
        if found is None:
            return
        memcg = found["memcg"].decode(errors="replace")
        constraint = found["constraint"].decode()
        line = f"kernel log: oom-kill {constraint} task_memcg={memcg} pid={int(found['pid'])}"
        self._victims[int(found["pid"])] = (memcg, line)
        if len(self._victims) > _VICTIMS_MAX:
            self._victims.popitem(last=False)
