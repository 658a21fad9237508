"""How hard it is for an agent to get on: stalls, throttling and memory events of its cgroup.

A file that isn't there (no cgroup, a controller that is off, a kernel without PSI) is left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agentd.daemon import procfs
from agentd.daemon.cgroups import counters

_RESOURCES: Final = ("cpu", "memory", "io")
_HOST: Final = Path("/proc/pressure")
_FIGURES: Final[tuple[str, ...]] = ("avg10", "avg60", "total")
# A healthy agent waits for memory for less than one part in a hundred of its time; one that
# memory.high holds back, or whose pages are taken as fast as it uses them, for most of it.
MEMORY_PERCENT: Final = 20.0
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


def memory_words(pressure: Mapping[str, object]) -> str:
    """Say that memory is why an agent is late, if it waits for it that much; else nothing.

    Of its own group alone: what the whole host waits for isn't about this agent.
    """
    memory = pressure.get("memory")
    some = memory.get("some") if isinstance(memory, Mapping) else None
    waited = some.get("avg10", 0.0) if isinstance(some, Mapping) else 0.0
    if waited < MEMORY_PERCENT:
        return ""
    return f"waits for memory {waited:.0f} % of the time"


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
