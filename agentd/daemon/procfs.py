"""What /proc tells of processes: parsed once, here, and with every name treated as hostile.

A process that ends while it is read is no error: readers return None or leave it out.
Numbers are as the kernel has them: ticks are `TICKS_PER_S`, pages are `PAGE_BYTES`.
"""

import asyncio
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

# Entries of /proc read before the event loop gets its turn: about 10 ms.
SLICE: Final = 1_000

_READ_BYTES_MAX: Final = 1 << 20
_SHORTAGES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_SPARE: Final[list[int]] = []
"""One descriptor that is kept for the moment in which there is no other."""
_SPARE_LOCK: Final = threading.Lock()
# Each pass but the first takes well under a millisecond; a second is enough as a rule.
CENSUS_PASSES_MAX: Final = 8
_RTTIME_LINE: Final = b"Max realtime timeout"
_SIGKILL_BIT: Final = 1 << (signal.SIGKILL - 1)
_FLAGS_AT: Final = 6
"""Behind the name in /proc/PID/stat; field 9 of all."""
_PF_EXITING: Final = 0x4


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of /proc/PID/stat, as far as it is needed here."""

    pid: int
    comm: str
    state: str
    ppid: int
    sid: int
    cpu_ticks: int
    """Its own time and that of the children it has waited for."""
    start_time: int
    """Ticks since boot; with the pid it tells a process from a later one of the same pid."""
    exit_status: int | None = None
    """How a dead one ended, as waitpid(2) has it; None: it lives, or it isn't for us to know."""

    @property
    def dead(self) -> bool:
        return self.state in "ZXx"


@dataclass(slots=True)
class Census:
    """Every process at one moment, and who descends from whom."""

    stats: dict[int, Stat] = field(default_factory=dict)
    children: dict[int, list[int]] = field(default_factory=dict)
    overtaken: bool = False
    """Whether it was given up while some still ended before they were read: one may be missing."""

    def living(self) -> list[Stat]:
        return [stat for stat in self.stats.values() if not stat.dead]

    def add(self, stat: Stat) -> None:
        self.stats[stat.pid] = stat
        self.children.setdefault(stat.ppid, []).append(stat.pid)

    def descendants(self, roots: Iterator[int] | list[int]) -> set[int]:
        """Return `roots` and all that descends from them."""
        found: set[int] = set()
        waiting = list(roots)
        while waiting:
            pid = waiting.pop()
            if pid not in found:
                found.add(pid)
                waiting.extend(self.children.get(pid, ()))
        return found


def read(path: str) -> bytes | None:
    """Return up to 1 MiB of a file, or None: gone, or not for us.

    Whoever is told None takes the process for gone. So a daemon that has no descriptor left
    reads by the one that is kept for this.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return _read_by_spare(path) if error.errno in _SHORTAGES else None
    if not _SPARE:
        _keep_spare()
    return _content(fd)


def _content(fd: int) -> bytes | None:
    """Read it all, and close it."""
    try:
        chunks = []
        size = 0
        while size < _READ_BYTES_MAX and (chunk := os.read(fd, 1 << 16)):
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks)
    except OSError:  # ESRCH: it ended between open and read
        return None
    finally:
        os.close(fd)


def _read_by_spare(path: str) -> bytes | None:
    """Read as `read` does, with the kept descriptor given up for so long."""
    with _SPARE_LOCK:
        if _SPARE:
            os.close(_SPARE.pop())
        try:
            return _content(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return None
        finally:
            _open_spare()


def _keep_spare() -> None:
    with _SPARE_LOCK:
        if not _SPARE:
            _open_spare()


def _open_spare() -> None:
    with suppress(OSError):  # another thread was faster; the next that reads something tries again
        _SPARE.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def parse_stat(raw: bytes) -> Stat:
    """Read one line of stat; the name may hold anything, so fields start after the last `)`."""
    head, _, tail = raw.rpartition(b")")
    pid, _, comm = head.partition(b" (")
    words = tail.split()
    status, may_be_told = int(words[49]), words[32] != b"0"
    return Stat(
        pid=int(pid),
        comm=comm.decode(errors="replace"),
        state=words[0].decode(),
        ppid=int(words[1]),
        sid=int(words[3]),
        cpu_ticks=sum(map(int, words[11:15])),
        start_time=int(words[19]),
        # Those who may not look are shown 0 for both; who doesn't run waits somewhere.
        exit_status=status if words[0] in b"ZX" and (status or may_be_told) else None,
    )


def stat_of(pid: int) -> Stat | None:
    """Return what the kernel says of `pid` now; None when there is no such process."""
    raw = read(f"/proc/{pid}/stat")
    return parse_stat(raw) if raw else None


def has_ended(pid: int) -> bool:
    """Whether there is no such process any more, or a dead one that nobody has reaped."""
    stat = stat_of(pid)
    return stat is None or stat.dead


def is_dying(pid: int) -> bool:
    """Whether it is on its way out, though it is no zombie yet: a large one takes its time.

    SIGKILL is pending (proc(5), SigPnd and ShdPnd), or it exits already (PF_EXITING in its flags).
    """
    for line in (read(f"/proc/{pid}/status") or b"").splitlines():
        name, _, value = line.partition(b":")
        if name in (b"SigPnd", b"ShdPnd") and int(value, 16) & _SIGKILL_BIT:
            return True
    fields = (read(f"/proc/{pid}/stat") or b"").rpartition(b")")[2].split()
    return len(fields) > _FLAGS_AT and bool(int(fields[_FLAGS_AT]) & _PF_EXITING)


def pids() -> Iterator[int]:
    """Yield the pid of every process there is, in the order of the directory."""
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdecimal():
                yield int(entry.name)


async def census() -> Census:
    """Look at every process, letting the event loop go on in between.

    Who forks after the pids were listed and ends before it is read hides its child. So those
    born meanwhile are listed and read, too, until none of them has ended: nobody is hidden then.
    """
    taken = Census()
    listed: set[int] = set()
    for _ in range(CENSUS_PASSES_MAX):
        fresh = [pid for pid in pids() if pid not in listed]
        listed.update(fresh)
        taken.overtaken = False
        for count, pid in enumerate(fresh, 1):
            stat = stat_of(pid)
            taken.overtaken |= stat is None or stat.dead
            if stat is not None:
                taken.add(stat)
            if count % SLICE == 0:
                await asyncio.sleep(0)
        if not taken.overtaken:
            break
    return taken


def newest(count: int) -> range:
    """Return the `count` numbers given last to processes and threads, the latest first.

    These need not be the highest: numbers begin anew at the end. Right after that they are fewer.
    """
    last = int((read("/proc/loadavg") or b"0").split()[-1])
    return range(last, max(last - count, 0), -1)


def census_now() -> Census:
    """Look at every process at once: 5-8 us each."""
    taken = Census()
    for pid in pids():
        stat = stat_of(pid)
        if stat is not None:
            taken.add(stat)
    return taken


def own_children() -> set[int]:
    """Return the pids of this process's children, zombies included.

    The kernel may skip one in this list while another ends, so it is read until two
    readings agree. Kernels without the list cost a look at every process.
    """
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        return set(census_now().children.get(os.getpid(), ()))
    before = _own_children_once()
    for _ in range(8):
        now = _own_children_once()
        if now == before:
            break
        before = now
    return before


def _own_children_once() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        found.update(map(int, (read(f"{task}/children") or b"").split()))
    return found


def latest_orphans() -> list[int]:
    """Return those of our children that became so as orphans, zombies included, in one quick look.

    The kernel gives them to the first thread, whose own children are among them, and may skip one
    while another ends. None are found by kernels without the list.
    """
    return [int(pid) for pid in (read(f"/proc/self/task/{os.getpid()}/children") or b"").split()]


def environ(pid: int) -> dict[bytes, bytes] | None:
    """Return the environment `pid` was exec'ed with; None when it is gone or not for us."""
    raw = read(f"/proc/{pid}/environ")
    if raw is None:
        return None
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def rttime_limit(pid: int) -> int | None:
    """Return the hard limit of real-time CPU in microseconds; None: it has none, or is gone."""
    for line in (read(f"/proc/{pid}/limits") or b"").splitlines():
        if line.startswith(_RTTIME_LINE):
            hard = line.split()[-2]
            return int(hard) if hard.isdigit() else None
    return None


def cgroup_of(pid: int) -> str | None:
    """Return the path of `pid` in the v2 hierarchy, as its cgroup namespace shows it."""
    for line in (read(f"/proc/{pid}/cgroup") or b"").splitlines():
        if line.startswith(b"0::"):
            return line[3:].decode(errors="surrogateescape")
    return None


def uid_of(pid: int) -> int:
    """Return the effective uid of `pid`; -1 when it is gone."""
    for line in (read(f"/proc/{pid}/status") or b"").splitlines():
        if line.startswith(b"Uid:"):
            return int(line.split()[2])
    return -1


def io_bytes(pid: int) -> int | None:
    """Return the bytes `pid` has read and written so far, caches and sockets included."""
    raw = read(f"/proc/{pid}/io")
    if raw is None:
        return None
    return sum(
        int(line.split()[1]) for line in raw.splitlines() if line.startswith((b"rch", b"wch"))
    )


def cap_effective(pid: int | str = "self") -> int:
    """Return the effective capabilities as a bit mask; 0 when they can't be read."""
    for line in (read(f"/proc/{pid}/status") or b"").splitlines():
        if line.startswith(b"CapEff:"):
            return int(line.split()[1], 16)
    return 0


def stops_before_it_runs(pid: int) -> bool:
    """Tell whether it waits in the kernel and will stand before it runs one step of its own.

    So does the parent of a vfork while its child stands: it hears no SIGSTOP before that child's
    exec, and stops right after it.
    """
    for line in (read(f"/proc/{pid}/status") or b"").splitlines():
        if line.startswith(b"ShdPnd:"):
            if not int(line.split()[1], 16) >> (signal.SIGSTOP - 1) & 1:
                return False
            stats = [thread_stat(pid, tid) for tid in threads(pid, most=sys.maxsize)]
            return all(stat is None or stat.state in "DTtZXx" for stat in stats)
    return False


def wait_channel(pid: int) -> str:
    """Return where in the kernel `pid` sleeps; empty: it runs, or may not be looked at."""
    raw = read(f"/proc/{pid}/wchan") or b""
    return raw.decode("ascii", errors="replace").strip("0\n")


def threads(pid: int, most: int) -> list[int]:
    """Return the ids of up to `most` threads, the main thread first; none when it is gone."""
    try:
        found = sorted(
            (int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()),
            key=lambda tid: tid != pid,
        )
    except OSError:
        return []
    return found[:most]


def thread_stat(pid: int, tid: int) -> Stat | None:
    """Return what the kernel says of one thread; its CPU time is its own."""
    raw = read(f"/proc/{pid}/task/{tid}/stat")
    return parse_stat(raw) if raw else None


def thread_wait_channel(pid: int, tid: int) -> str:
    """Return where in the kernel a thread sleeps; empty as for a process."""
    raw = read(f"/proc/{pid}/task/{tid}/wchan") or b""
    return raw.decode("ascii", errors="replace").strip("0\n")


def thread_wanted_ns(pid: int, tid: int) -> int | None:
    """Return for how long a thread has run or waited for a core so far: how long it was awake."""
    words = (read(f"/proc/{pid}/task/{tid}/schedstat") or b"").split()
    return int(words[0]) + int(words[1]) if len(words) > 1 else None


def catches(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal by now."""
    for line in (read(f"/proc/{pid}/status") or b"").splitlines():
        if line.startswith(b"SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def describe(pid: int) -> str:
    """Return one line of evidence: `pid 812 (python3) state D in __refrigerator`."""
    stat = stat_of(pid)
    if stat is None:
        return f"pid {pid} gone"
    wchan = wait_channel(pid)
    name = stat.comm.encode("unicode_escape").decode()
    return f"pid {pid} ({name}) state {stat.state}" + (f" in {wchan}" if wchan else "")
