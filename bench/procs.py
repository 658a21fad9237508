"""What /proc tells of processes: memory, CPU time, children."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def cpu_s(pid: int) -> float:
    """CPU seconds that the process and its reaped children have used."""
    user, system, child_user, child_system = map(int, stat_fields(pid)[11:15])
    return (user + system + child_user + child_system) / TICKS_PER_S


def own_cpu_s(pid: int) -> float:
    """CPU seconds of the process itself, in nanosecond steps where the kernel has them."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def rss_bytes(pid: int) -> int:
    """Resident memory; a process that has ended has none."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def children(pid: int) -> list[int]:
    """Living children of a process, all its threads together."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # the thread ended while we looked
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def running(parents: list[int], command: str) -> list[int]:
    """Processes below `parents` that have exec'ed `command`."""
    found, rest = [], list(parents)
    while rest:
        for pid in children_or_none(rest.pop()):
            rest.append(pid)
            if command_of(pid) == command:
                found.append(pid)
    return found


def children_or_none(pid: int) -> list[int]:
    try:
        return children(pid)
    except OSError:
        return []


def until(holds: Callable[[], bool], limit_s: float, step_s: float = 0.001) -> float:
    """Seconds until `holds`; a TimeoutError after `limit_s`."""
    began = time.perf_counter()
    while not holds():
        if time.perf_counter() - began > limit_s:
            raise TimeoutError(f"not within {limit_s} s: {holds}")
        time.sleep(step_s)
    return time.perf_counter() - began


def forever() -> Iterator[int]:
    """Count up from 0."""
    number = 0
    while True:
        yield number
        number += 1
