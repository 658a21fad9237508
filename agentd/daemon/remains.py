"""What an end left behind: the last lines of the log, a core file, the cgroup's last counters.

How it ended, and the kernel's word on who was killed for memory, is the core's own evidence.
Blocking: for a thread.
"""

import os
import re
import socket
import stat
import struct
import time
from dataclasses import dataclass, field
from heapq import nlargest
from pathlib import Path
from typing import Final

from agentd.daemon.logs import LogFile
from agentd.daemon.logtail import last_lines

CORE_PATTERN: Final = Path("/proc/sys/kernel/core_pattern")
CORE_USES_PID: Final = Path("/proc/sys/kernel/core_uses_pid")
# A core is written before its process is seen to be dead; one that is older is another's.
CORE_AGE_S_MAX: Final = 60.0
# A host that keeps its cores keeps them all; that of this end is among the newest.
CANDIDATES_MAX: Final = 16
_NOTES_BYTES_MAX: Final = 1 << 20
_ELF64_LE: Final = b"\x7fELF\x02\x01"
_PT_NOTE: Final = 4
_NT_PRPSINFO: Final = 3
# Of struct elf_prpsinfo: four chars, padding, a flag of 8 bytes, uid and gid of 4 each.
_PID_AT: Final = 24


@dataclass(frozen=True, slots=True)
class Dead:
    """Who has ended, and what was noted of it while it could be seen."""

    pid: int
    uid: int
    directory: str
    """Where it ran."""
    log: LogFile | None
    log_until: int | None
    """The end of its log when the last of its processes was gone."""
    secrets: tuple[bytes, ...]
    memory_events: dict[str, int] = field(default_factory=dict)
    throttling: dict[str, int] = field(default_factory=dict)


def collect(dead: Dead, evidence: dict[str, object]) -> None:
    """Fill in what is still to be had; what isn't there is left out."""
    if dead.log is not None:
        try:
            tail = last_lines(dead.log, until=dead.log_until, secrets=dead.secrets)
        except OSError as error:
            tail = [f"(its log cannot be read: {error.strerror})"]
        evidence["log_tail"] = tail
    if dead.memory_events:
        evidence["memory_events"] = dead.memory_events
    if dead.throttling:
        evidence["pressure"] = {"throttling": dead.throttling}
    core = core_of(dead)
    if core:
        evidence["core"] = core


def core_of(dead: Dead) -> str:
    """Return the path of the core that a process left, or who took it; empty: there is none."""
    if not dead.pid:
        return ""
    try:
        pattern = CORE_PATTERN.read_text().strip()
        names_pid = "%p" in pattern or "%P" in pattern
        if not names_pid and CORE_USES_PID.read_text().strip() != "0":
            pattern, names_pid = f"{pattern}.%p", True
    except OSError:
        return ""
    if not pattern or pattern.startswith("|"):
        return ""  # a program takes it: that there is one at all is not for us to say
    for path in _candidates(pattern, dead):
        if _is_of(path, dead):
            return str(path)
    return ""


def _candidates(pattern: str, dead: Dead) -> list[Path]:
    """Return the files that a pattern may mean, the newest first; what isn't known of it may be
    anything.
    """
    known = {"%": "%", "p": str(dead.pid), "P": str(dead.pid), "u": str(dead.uid)}
    known |= {"h": socket.gethostname()}
    glob = re.sub(r"%(.)", lambda found: known.get(found[1], "*"), pattern)
    place = Path(dead.directory or "/") / glob
    try:
        return nlargest(CANDIDATES_MAX, place.parent.glob(place.name), key=_written_at_ns)
    except (OSError, ValueError, NotImplementedError):
        return []  # glob takes no pattern that is absolute or empty, and an agent set this one


def _written_at_ns(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:  # gone meanwhile
        return 0


def _is_of(path: Path, dead: Dead) -> bool:
    """Whether a file is a fresh core of this very process, by what is written in it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or time.time() - found.st_mtime > CORE_AGE_S_MAX:
            return False
        return pid_in_core(os.pread(fd, _NOTES_BYTES_MAX, 0)) == dead.pid
    except OSError:
        return False
    finally:
        os.close(fd)


def pid_in_core(raw: bytes) -> int | None:
    """Return the pid of the process whose core begins with `raw`; None: it says none."""
    if not raw.startswith(_ELF64_LE):
        return None
    try:
        (table,) = struct.unpack_from("<Q", raw, 32)
        size, count = struct.unpack_from("<HH", raw, 54)
        for number in range(min(count, 256)):
            kind, _, at, _, _, length = struct.unpack_from("<IIQQQQ", raw, table + number * size)
            if kind == _PT_NOTE:
                return _pid_in_notes(raw[at : at + length])
    except (struct.error, OverflowError):
        return None
    return None


def _pid_in_notes(notes: bytes) -> int | None:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        begin = at + 12 + (name_size + 3) // 4 * 4
        if kind == _NT_PRPSINFO:
            (pid,) = struct.unpack_from("<i", notes, begin + _PID_AT)
            return int(pid)
        at = begin + (size + 3) // 4 * 4
    return None
