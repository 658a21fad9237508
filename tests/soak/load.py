"""What the machine was busy with during a soak: with the soak itself, and with others.

A soak judges on a machine that others use. It waits longer there and forgives nothing else, so
its result says how busy the machine was: the same faults on an idle one are a better test.
"""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from agentd.daemon import grounds
from agentd.daemon.assembly import ground_name

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PRESSURE = Path("/proc/pressure/cpu")
# Fields of the first line of /proc/stat (proc(5)): what isn't work of a process here.
NO_WORK = (3, 4, 7)  # idle, iowait, steal
FIELDS = 8


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds, all counted from some beginning of their own."""

    at_s: float
    busy_s: float
    """CPU time of everybody."""
    ours_s: float
    """... of which the soak, its daemon and its agents took so much."""
    waited_s: float
    """For so long somebody waited for a core; 0 where the kernel doesn't tell."""


class Load:
    """Looks at the machine now and then; `told` says in a few words what it was like."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._moments: list[Moment] = []

    def look(self, daemon_pid: int) -> None:
        self._moments.append(
            Moment(time.monotonic(), busy_s(), self._ours_s(daemon_pid), waited_s())
        )

    def told(self) -> str:
        """Shares of all cores over the run, and of others at most in a part of it."""
        first, last = self._moments[0], self._moments[-1]
        cores = os.cpu_count() or 1
        room_s = max(1e-9, (last.at_s - first.at_s) * cores)
        most = max(map(others_share, self._moments[:-1], self._moments[1:]), default=0.0)
        waited = (last.waited_s - first.waited_s) / max(1e-9, last.at_s - first.at_s)
        return (
            f"machine: {cores} cores, {(last.busy_s - first.busy_s) / room_s:.0%} busy, of which "
            f"others {others_share(first, last):.0%} (at most {most:.0%}); somebody waited for a "
            f"core {waited:.0%} of the time"
        )

    def _ours_s(self, daemon_pid: int) -> float:
        """The soak and its clients, the daemons that ended and the one that lives, the agents."""
        own = sum(
            used.ru_utime + used.ru_stime
            for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        return own + process_s(daemon_pid) + self._agents_s()

    def _agents_s(self) -> float:
        """What their control groups have used, those that are gone too; 0 where there are none."""
        mount = grounds.mount_point()
        if mount is None:
            return 0.0
        try:
            told = (mount / ground_name(self._state_dir) / "cpu.stat").read_text()
        except OSError:
            return 0.0
        return int(told.split()[1]) / 1e6


def others_share(begun: Moment, ended: Moment) -> float:
    """The part of all cores that others took between two moments."""
    others_s = (ended.busy_s - begun.busy_s) - (ended.ours_s - begun.ours_s)
    return max(0.0, others_s / max(1e-9, (ended.at_s - begun.at_s) * (os.cpu_count() or 1)))


def busy_s() -> float:
    ticks = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]))[:FIELDS]
    return sum(one for place, one in enumerate(ticks) if place not in NO_WORK) / TICKS_A_SECOND


def process_s(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / TICKS_A_SECOND


def waited_s() -> float:
    try:
        some = PRESSURE.read_text().split("\n", 1)[0]
    except OSError:
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6
