"""Counters of an agent's processes at one moment, and what became of them until another."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.daemon import procfs
from agentd.daemon.procfs import TICKS_PER_S, Stat

# Of a larger tree, the leader and the first ones say enough.
MEMBERS_MAX: Final = 64
THREADS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Glance:
    """The processes of a tree at one moment, and the threads of its leader."""

    at_s: float
    stats: Mapping[int, Stat]
    thread_stats: Mapping[int, Stat]
    wanted_ns: Mapping[int, int]
    """By thread of the leader and main thread of the others: how long each was awake so far."""
    io_bytes: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """What was used between two glances."""

    took_s: float
    cpu_percent: Mapping[int, float] = field(default_factory=dict)
    """By process, of one core."""
    thread_cpu_percent: Mapping[int, float] = field(default_factory=dict)
    """By thread of the leader."""
    awake_percent: Mapping[int, float] = field(default_factory=dict)
    """By thread, as in `Glance.wanted_ns`: on a busy host, one that never waits gets less CPU
    than it wants."""
    cpu_s: float = 0.0
    io_bytes: int | None = None
    """Of all processes; None: nobody may count them."""


def take(leader: int, members: Mapping[int, int]) -> Glance:
    """Look once at the leader and the other members; those that are gone are left out."""
    pids = [leader, *(pid for pid in members if pid != leader)][:MEMBERS_MAX]
    found = {pid: stat for pid in pids if (stat := procfs.stat_of(pid)) is not None}
    stats = {
        pid: stat
        for pid, stat in found.items()
        if members.get(pid, stat.start_time) == stat.start_time
    }
    threads = {
        tid: stat
        for tid in procfs.threads(leader, THREADS_MAX)
        if (stat := procfs.thread_stat(leader, tid)) is not None
    }
    of_threads = [(leader, tid) for tid in threads]
    of_others = [(pid, pid) for pid in stats if pid != leader]
    wanted = {
        tid: nanoseconds
        for pid, tid in of_threads + of_others
        if (nanoseconds := procfs.thread_wanted_ns(pid, tid)) is not None
    }
    moved = {pid: count for pid in stats if (count := procfs.io_bytes(pid)) is not None}
    return Glance(time.monotonic(), stats, threads, wanted, moved)


def between(before: Glance, after: Glance) -> Window:
    """Compare two glances; processes that are in one only used nothing that is known."""
    took_s = max(after.at_s - before.at_s, 0.001)
    used = _used(before.stats, after.stats)
    both = before.io_bytes.keys() & after.io_bytes.keys()
    moved = sum(max(0, after.io_bytes[pid] - before.io_bytes[pid]) for pid in both)
    return Window(
        took_s=round(took_s, 3),
        cpu_percent={pid: _percent(ticks, took_s) for pid, ticks in used.items()},
        thread_cpu_percent={
            tid: _percent(ticks, took_s)
            for tid, ticks in _used(before.thread_stats, after.thread_stats).items()
        },
        awake_percent={
            tid: round((after.wanted_ns[tid] - before.wanted_ns[tid]) / took_s / 1e7, 1)
            for tid in before.wanted_ns.keys() & after.wanted_ns.keys()
        },
        cpu_s=sum(used.values()) / TICKS_PER_S,
        io_bytes=moved if both else None,
    )


def _used(before: Mapping[int, Stat], after: Mapping[int, Stat]) -> dict[int, int]:
    """Return the ticks of CPU that each one used, which is the same one before and after."""
    return {
        pid: max(0, stat.cpu_ticks - before[pid].cpu_ticks)
        for pid, stat in after.items()
        if pid in before and before[pid].start_time == stat.start_time
    }


def _percent(ticks: int, took_s: float) -> float:
    return round(100 * ticks / TICKS_PER_S / took_s, 1)
