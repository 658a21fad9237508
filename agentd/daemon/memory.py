"""What a tree costs in memory where no cgroup counts it.

Anonymous pages: resident less shared, of every process, from descriptors kept open, which
turn invalid when their process ends. Pages that a fork shares are then counted twice and
shared memory not at all, so now and then the exact share (PSS) corrects the sum: by an amount,
not by a factor, since what a tree grows by afterwards is shared by nobody.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.daemon import procfs
from agentd.daemon.procfs import PAGE_BYTES

PSS_EVERY_S: Final = 60.0
# Sooner where the tree has gained or lost processes since: what they shared has changed.
_PSS_AGAIN_S: Final = 10.0
# A lone process with less shared than this needs no correction: it is program text.
_SHARED_BYTES_MIN: Final = 32 << 20
# Descriptors kept for one tree; the rest is opened each time.
_KEPT_MAX: Final = 512
_STATM_BYTES: Final = 128


@dataclass(slots=True)
class TreeMeter:
    """Measures one tree."""

    _fds: dict[int, int] = field(default_factory=dict)
    _members: frozenset[int] = frozenset()
    _steady: bool = False
    _shared_bytes: int = 0
    _excess_bytes: int = 0
    """What the sum counts too often; negative where it leaves shared memory out."""
    _corrected_at_s: float | None = None
    _corrected_members: frozenset[int] = frozenset()

    def measure(self, members: Mapping[int, int]) -> int:
        """Return the tree's memory in bytes; `members` are its living processes."""
        for pid in [pid for pid in self._fds if pid not in members]:
            os.close(self._fds.pop(pid))
        resident = shared = 0
        for pid in members:
            pages = self._pages(pid)
            if pages is not None:
                resident += pages[0]
                shared += pages[1]
        self._steady = self._members == members.keys()
        self._members = frozenset(members)
        self._shared_bytes = shared * PAGE_BYTES
        sum_bytes = (resident - shared) * PAGE_BYTES
        return max(0, sum_bytes - self._excess_bytes) if self._may_share() else sum_bytes

    def wants_pss(self, now_s: float) -> bool:
        """Tell whether the last measurement should be corrected by the exact share.

        Not while processes come and go from one measurement to the next.
        """
        if not self._may_share() or not self._steady:
            return False
        if self._corrected_at_s is None:
            return True
        every_s = PSS_EVERY_S if self._corrected_members == self._members else _PSS_AGAIN_S
        return now_s - self._corrected_at_s >= every_s

    def asked(self, now_s: float) -> None:
        """Remember that the exact share of these processes is being read."""
        self._corrected_at_s = now_s
        self._corrected_members = self._members

    def correct(self, excess_bytes: int | None) -> None:
        """Take in what the sum counts too often; None: it could not be read."""
        if excess_bytes is not None:
            self._excess_bytes = excess_bytes

    def _may_share(self) -> bool:
        return len(self._members) > 1 or self._shared_bytes > _SHARED_BYTES_MIN

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def _pages(self, pid: int) -> tuple[int, int] | None:
        """Return resident and shared pages; None when the process has ended."""
        fd = self._fds.get(pid)
        if fd is None:
            try:
                fd = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return None
            self._fds[pid] = fd
        try:
            words = os.pread(fd, _STATM_BYTES, 0).split()
        except OSError:  # ESRCH: it ended; its pid may be another's by now
            words = []
        if len(words) < 3 or len(self._fds) > _KEPT_MAX:  # noqa: PLR2004 - size resident shared
            os.close(self._fds.pop(pid))
        return (int(words[1]), int(words[2])) if words else None


def excess_of(pids: list[int]) -> int | None:
    """Return by how many bytes the sum of anonymous pages is above the exact share of memory.

    It costs milliseconds a process: never on the event loop. None: one of them can't be read.
    """
    exact_kib = anonymous_kib = 0
    for pid in pids:
        raw = procfs.read(f"/proc/{pid}/smaps_rollup")
        if raw is None:
            if procfs.stat_of(pid) is None:
                continue
            return None
        for line in raw.splitlines():
            if line.startswith((b"Pss_Anon:", b"Pss_Shmem:")):
                exact_kib += int(line.split()[1])
            elif line.startswith(b"Anonymous:"):
                anonymous_kib += int(line.split()[1])
    return (anonymous_kib - exact_kib) * 1024
