"""For how long a process had no core to run on, as the kernel counts it.

Of a process that answers, not its first thread alone matters: it may wait for a thread that holds
the interpreter's lock and was put aside by the kernel, or for a child that it forks and that
hasn't come to its exec. Where all of that can't be told apart, on a machine that has much else to
do, the kernel's count of when anybody waited for a core stands for it (`/proc/pressure/cpu`). Time
that the host of a virtual machine took away is nobody's either.

What the first thread of the one who answers spends running is never forgiven, and neither is what
it is seen to sleep in a call of its own (`Naps`): a disk, a name server, a clock.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PRESSURE = Path("/proc/pressure/cpu")
_DISKS = Path("/proc/pressure/io")
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
# Where a thread sleeps that may wait for somebody without a core: for the next thing to do, for the
# interpreter's lock, for a child on its way to exec. As the kernel calls it (`wchan`).
_PATIENT = ("ep_", "do_epoll", "futex_", "wait_for_vfork", "kernel_clone", "pipe_read", "anon_pipe")


@dataclass(frozen=True)
class Waits:
    """What the kernel has counted up to a moment: milliseconds, by thread."""

    threads: dict[int, float]
    children: frozenset[int]
    anybody_ms: float
    stolen_ms: float
    running_ms: float
    """What the first thread has spent on a core."""

    def lost_ms(self, later: "Waits") -> float:
        """For how long, until `later`, a thread had to wait, a new child had to, or all had to."""
        lost = 0.0
        for thread, waited in later.threads.items():
            lost += max(0.0, waited - self.threads.get(thread, 0.0))
        for child in later.children - self.children:
            lost += waited_ms(Path(f"/proc/{child}"))
        return max(lost, later.anybody_ms - self.anybody_ms) + later.stolen_ms - self.stolen_ms


def waits_of(pid: int) -> Waits:
    """Return what is counted for a process; nothing where it is gone."""
    threads: dict[int, float] = {}
    children: set[int] = set()
    for task in tasks_of(pid):
        threads[int(task.name)] = waited_ms(task)
        with contextlib.suppress(OSError):
            children.update(map(int, (task / "children").read_text().split()))
    running_ms = _scheduled_ms(Path(f"/proc/{pid}/task/{pid}"), 0)
    return Waits(threads, frozenset(children), _anybody_ms(), stolen_ms(), running_ms)


def tasks_of(pid: int) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from Path(f"/proc/{pid}/task").iterdir()


def waited_ms(task: Path) -> float:
    """How long one thread has waited for a core; 0 where it is gone."""
    return _scheduled_ms(task, 1)


def _scheduled_ms(task: Path, column: int) -> float:
    try:
        return int((task / "schedstat").read_text().split()[column]) / 1e6
    except OSError:
        return 0.0


def _anybody_ms(what: Path = _PRESSURE) -> float:
    """For how long somebody on this machine waited for a core; 0 where that isn't counted."""
    if not what.exists():
        return 0.0
    some = what.read_text().splitlines()[0]
    return int(some.rpartition("total=")[2]) / 1000


def stolen_ms() -> float:
    """What the host of this virtual machine gave to others, of all cores."""
    with Path("/proc/stat").open() as file:
        return int(file.readline().split()[8]) * _TICK_MS


@dataclass(frozen=True)
class Nap:
    """A thread that sleeps of its own doing; the same nap as long as it had no further turn."""

    moment: float
    turns: int
    disks_ms: float
    """For how long somebody on this machine had waited for a disk."""
    uninterruptible: bool

    def ms_until(self, later: "Nap") -> float:
        """Milliseconds slept until `later`; 0 where it ran in between, or awaited a kernel lock.

        Sleep that can't be interrupted is the disk, or a lock that somebody without a core may
        hold: the disk where anybody waited for one most of that time.
        """
        slept_ms = (later.moment - self.moment) * 1000
        if later.turns != self.turns:
            return 0.0
        if later.uninterruptible and _DISKS.exists():
            return slept_ms if later.disks_ms - self.disks_ms > slept_ms / 2 else 0.0
        return slept_ms


def nap_of(pid: int) -> Nap | None:
    """What the first thread of a process sleeps in; None where it runs, or may wait for a core."""
    task = Path(f"/proc/{pid}/task/{pid}")
    moment = time.monotonic()
    try:
        # Before its state: with a turn in between, the next look finds another number.
        turns = int((task / "schedstat").read_text().split()[2])
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        place = (task / "wchan").read_text()
    except OSError:
        return None
    if state not in "SD" or place in ("", "0") or place.startswith(_PATIENT):
        return None
    return Nap(moment, turns, _anybody_ms(_DISKS), state == "D")


class Naps:
    """Adds up what the first thread of a process sleeps of its own doing, look by look."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._last: Nap | None = None
        self.ms = 0.0

    def look(self) -> None:
        """Count what it slept since the last look, if it was the same nap then."""
        now = nap_of(self._pid)
        if now is not None and self._last is not None:
            self.ms += self._last.ms_until(now)
        self._last = now


class CoreWatch:
    """Begins when it is made: what somebody who asks and `pid` who answers waited for a core."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._asker = Path("/proc/thread-self")
        self._asked_ms = waited_ms(self._asker)
        self._before = waits_of(pid)
        self.naps = Naps(pid)
        """To be looked at again and again by one who waits for an answer that is overdue."""
        self.begun = time.monotonic()

    def took_ms(self) -> tuple[float, float]:
        """Milliseconds since it began, and for how many of them there was no core."""
        took = (time.monotonic() - self.begun) * 1000
        after = waits_of(self._pid)
        lost = waited_ms(self._asker) - self._asked_ms + self._before.lost_ms(after)
        ran = after.running_ms - self._before.running_ms
        return took, max(0.0, min(lost, took - ran - self.naps.ms))
