"""How hard it is for an agent to get on: stalls, throttling and memory events of its cgroup.

A file that isn't there (no cgroup, a controller that is off, a kernel without PSI) is left out.
"""

from pathlib import Path
from typing import Final

from agentd.daemon import procfs
from agentd.daemon.cgroups import counters

_RESOURCES: Final = ("cpu", "memory", "io")
_HOST: Final = Path("/proc/pressure")
_FIGURES: Final[tuple[str, ...]] = ("avg10", "avg60", "total")
_THROTTLING: Final = ("nr_periods", "nr_throttled", "throttled_usec")


def pressure_of(cgroup: Path | None) -> dict[str, object]:
    """Return the share of time in which somebody waited, in percent, and how long in all (us).

    Of the last 10 and 60 seconds; `some`: one task at least, `full`: all of them at once.
    """
    found: dict[str, object] = {}
    for resource in _RESOURCES:
        if cgroup is not None and (stalls := _stalls(cgroup / f"{resource}.pressure")):
            found[resource] = stalls
        if stalls := _stalls(_HOST / resource):
            found[f"host_{resource}"] = stalls
    throttled = throttling_of(cgroup)
    return {**found, "throttling": throttled} if throttled else found


def throttling_of(cgroup: Path | None) -> dict[str, int]:
    """Return how often and for how long its CPU quota held it back, since its spawn."""
    if cgroup is None:
        return {}
    told = counters(cgroup / "cpu.stat")
    return {name: told[name] for name in _THROTTLING if name in told}


def memory_events_of(cgroup: Path | None) -> dict[str, int]:
    """Return the kernel's counters of memory events, and what it uses and may use, in bytes."""
    if cgroup is None:
        return {}
    found = counters(cgroup / "memory.events")
    for name in ("current", "peak", "max"):
        raw = (procfs.read(str(cgroup / f"memory.{name}")) or b"").strip()
        if raw.isdigit():
            found[f"{name}_bytes"] = int(raw)
    return found


def _stalls(path: Path) -> dict[str, dict[str, float]]:
    """Read `some avg10=0.10 avg60=0.10 avg300=0.31 total=7391748793`."""
    found: dict[str, dict[str, float]] = {}
    for line in (procfs.read(str(path)) or b"").decode(errors="replace").splitlines():
        kind, _, rest = line.partition(" ")
        pairs = dict(word.split("=", 1) for word in rest.split() if "=" in word)
        found[kind] = {name: float(pairs[name]) for name in _FIGURES if name in pairs}
    return found
