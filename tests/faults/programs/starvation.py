"""For how long a process had no core to run on, as the kernel counts it.

Of a process that answers, not its first thread alone matters: it may wait for a thread that holds
the interpreter's lock and was put aside by the kernel, or for a child that it forks and that
hasn't come to its exec. Where all of that can't be told apart, on a machine that has much else to
do, the kernel's count of when anybody waited for a core stands for it (`/proc/pressure/cpu`). Time
that the host of a virtual machine took away is nobody's either. What the first thread of the one
who answers spends running is never forgiven.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PRESSURE = Path("/proc/pressure/cpu")
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


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


def _anybody_ms() -> float:
    """For how long somebody on this machine waited for a core; 0 where that isn't counted."""
    if not _PRESSURE.exists():
        return 0.0
    some = _PRESSURE.read_text().splitlines()[0]
    return int(some.rpartition("total=")[2]) / 1000


def stolen_ms() -> float:
    """What the host of this virtual machine gave to others, of all cores."""
    with Path("/proc/stat").open() as file:
        return int(file.readline().split()[8]) * _TICK_MS


class CoreWatch:
    """Begins when it is made: what somebody who asks and `pid` who answers waited for a core."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._asker = Path("/proc/thread-self")
        self._asked_ms = waited_ms(self._asker)
        self._before = waits_of(pid)
        self.begun = time.monotonic()

    def took_ms(self) -> tuple[float, float]:
        """Milliseconds since it began, and for how many of them there was no core."""
        took = (time.monotonic() - self.begun) * 1000
        after = waits_of(self._pid)
        lost = waited_ms(self._asker) - self._asked_ms + self._before.lost_ms(after)
        ran = after.running_ms - self._before.running_ms
        return took, max(0.0, min(lost, took - ran))
