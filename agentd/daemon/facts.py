"""What the daemon says of itself: the `daemon` block of the status document, and counters."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agentd import __version__
from agentd.daemon import procfs
from agentd.daemon.clock import boottime_ms
from agentd.daemon.loop import Loop

Counters = Callable[[], Mapping[str, int]]


@dataclass(slots=True)
class Facts:
    """The daemon's own health. `storage` is `ok`, or what is wrong with it."""

    loop: Loop
    agents: Callable[[], int]
    storage: Callable[[], str]
    heartbeats: Callable[[], int]
    rejected: Callable[[], int]
    """Lines and commands that were not taken."""
    counters: dict[str, Counters] = field(default_factory=dict)
    """Sources of further counters by what they count for: sockets, store, processes."""
    notices: tuple[str, ...] = ()
    """Options that were set and have no effect in this version."""
    isolation: str = ""
    """What keeps agents apart, and what doesn't, in one honest sentence."""
    started_ms: int = field(default_factory=boottime_ms)

    def block(self) -> dict[str, object]:
        """Return the `daemon` block of CONTRACT 6.1."""
        return {
            "pid": os.getpid(),
            "version": __version__,
            "uptime_s": round((boottime_ms() - self.started_ms) / 1000, 3),
            "rss_bytes": own_rss_bytes(),
            "open_fds": own_fds(),
            "agents": self.agents(),
            "heartbeats": self.heartbeats(),
            "lines_rejected": self.rejected(),
            "storage": self.storage(),
            "loop_lag_ms_max": self.loop.lag_ms_max,
            "loop_lag_s": self.loop.lag_ms / 1000,
            "isolation": self.isolation,
            "no_effect_yet": list(self.notices),
        }

    def count(self) -> dict[str, object]:
        """Return every counter there is, in groups."""
        groups: dict[str, object] = {
            "loop": {
                "events": self.loop.events,
                "lag_ms_max": self.loop.lag_ms_max,
                "stalls": self.loop.stalls,
                "faults": self.loop.faults,
            }
        }
        groups.update((name, dict(source())) for name, source in self.counters.items())
        return groups


def own_rss_bytes() -> int:
    """Return what this process holds in memory."""
    raw = procfs.read("/proc/self/statm") or b"0 0"
    return int(raw.split()[1]) * procfs.PAGE_BYTES


def own_fds() -> int:
    """Return how many files this process has open, the one used to look left out."""
    # A path object for each of a thousand connections would cost milliseconds of each status.
    return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - names are all that is wanted
