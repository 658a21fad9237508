"""Which process belongs to which tree, by what one look at all processes tells."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from agentd.daemon import limits, pidfds
from agentd.daemon.procfs import Census, Stat


@dataclass(slots=True)
class Roots:
    """What is known of one tree before a look."""

    incarnation_id: str
    log: tuple[int, int] | None = None
    """Device and inode of its output file: an orphan that writes there belongs to it."""
    leader: pidfds.Identity | None = None
    leader_alive: bool = False
    """Start times are no finer than 10 ms: once it is dead, nobody may pass for it."""
    adopted: bool = False
    """Whether an earlier daemon started it: its orphans are not our children then."""
    known: dict[int, int] = field(default_factory=dict)
    """Members at the last look: pid to start time."""
    mark: int = field(init=False)
    """The limit that its processes have."""

    def __post_init__(self) -> None:
        self.mark = limits.mark_of(self.incarnation_id)

    def living(self, census: Census) -> list[int]:
        """Return those of the known members that are still themselves."""
        return [
            pid
            for pid, start_time in self.known.items()
            if (stat := census.stats.get(pid)) is not None and stat.start_time == start_time
        ]


class Claims:
    """Who is whose, in one census; the first claim stands."""

    def __init__(self, census: Census) -> None:
        self.census = census
        self._owners: dict[int, str] = {}

    def take(self, owner: str, pids: Iterable[int]) -> None:
        """Claim processes and all that descend from them, short of what others claimed."""
        waiting = list(pids)
        while waiting:
            pid = waiting.pop()
            if pid not in self._owners and pid != os.getpid():
                self._owners[pid] = owner
                waiting.extend(self.census.children.get(pid, ()))

    def of(self, owner: str) -> list[Stat]:
        return [self.census.stats[pid] for pid, whose in self._owners.items() if whose == owner]

    def unclaimed(self) -> list[Stat]:
        return [stat for pid, stat in self.census.stats.items() if pid not in self._owners]


def of_session(roots: Roots, claims: Claims) -> list[int]:
    """Return unclaimed processes of the leader's session, unless its number was given anew."""
    if roots.leader is None:
        return []
    now = claims.census.stats.get(roots.leader.pid)
    if now is not None and not roots.leader_alive and not now.dead:
        return []  # somebody else's number by now, and somebody else's session
    return [
        stat.pid
        for stat in claims.unclaimed()
        if stat.sid == roots.leader.pid and stat.start_time >= roots.leader.start_time
    ]
