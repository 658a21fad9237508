"""All processes of one incarnation, whatever holds them together.

Two answers: a cgroup of its own (cgroups.py), or descent, session and token (sweep.py).
"Empty" is only ever said of what was looked at and found so.
"""

import os
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from agentd.daemon import pidfds, procfs

Members = Mapping[int, int]
"""Living processes, zombies left out: pid to start time."""

# Evidence about this many processes says enough.
DESCRIBED_MAX: Final = 3


class Tree(Protocol):
    """One incarnation's processes. A process that ends meanwhile is no error."""

    cgroup: str
    """The v2 path as /proc/PID/cgroup shows it; empty without one."""

    def enter(self, pid: int) -> None:
        """Put a process in, before its exec; OSError: it can't be.

        It may take long and is called in a thread of its own.
        """

    def lead(self, leader: pidfds.Identity) -> None:
        """Learn which process the tree grows from."""

    def leader_ended(self) -> None:
        """Learn that the leader is dead: whoever has its pid from now on is a stranger."""

    async def members(self) -> Members:
        """Return the living processes, found after this call began."""

    async def is_empty(self) -> bool:
        """Tell whether it was proven, after this call began, that no process is left."""

    async def send(self, number: int) -> None:
        """Send a signal to every process, one round."""

    async def kill(self) -> None:
        """Send SIGKILL to every process, one round; repeat until it is empty."""

    async def freeze(self) -> str:
        """Stop every process where it stands; return why not, or nothing when all stand."""

    async def thaw(self) -> None:
        """Let every process go on."""

    def frozen(self) -> bool:
        """Whether the kernel keeps all of them standing; False where only signals could."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever processes may have ended or the kernel killed for memory."""

    def limit_memory(self, limit_bytes: int) -> None:
        """Have the kernel kill somewhat above this limit, where it can; 0: no limit."""

    def memory_bytes(self) -> int | None:
        """Return anon + shmem as the kernel counts them; None: nobody counts."""

    def cpu_ms(self) -> int | None:
        """Return the CPU time of all processes that ever were; None: nobody counts."""

    def oom_kills(self) -> int | None:
        """Return how often the kernel killed in here for memory; None: nobody counts."""

    def remove(self) -> None:
        """Forget an empty tree."""


class Forest(Protocol):
    """Where trees grow."""

    def plant(self, incarnation_id: str, memory_limit_bytes: int, log_fd: int) -> Tree:
        """Return an empty tree; OSError: the host has no room for one."""

    def attach(self, incarnation_id: str, cgroup: str) -> Tree | None:
        """Return the tree of an incarnation that an earlier daemon planted; None: not here."""

    def prepare_move(self) -> None:
        """Do now what would make the next start wait; in a thread, it may take its time."""
        ...

    def close(self) -> None:
        """Let go of what the forest itself holds; trees stay as they are."""


def send_to(members: Members, number: int) -> None:
    """Send a signal to each member, after making sure that it is still that process."""
    for pid, start_time in members.items():
        if pid == os.getpid():
            continue
        pidfd = pidfds.open_member(pid, start_time)
        if pidfd is not None:
            try:
                pidfds.send(pidfd, number)
            finally:
                os.close(pidfd)


def stopped(members: Members) -> dict[int, int]:
    """Return those that stand still by a signal or a debugger."""
    stats = ((pid, start_time, procfs.stat_of(pid)) for pid, start_time in members.items())
    return {pid: at for pid, at, stat in stats if stat is not None and stat.state in "Tt"}


def describe(members: Members) -> str:
    """Return evidence about what still lives, in one line."""
    shown = [procfs.describe(pid) for pid in list(members)[:DESCRIBED_MAX]]
    more = len(members) - len(shown)
    return "; ".join(shown + ([f"and {more} more"] if more else []))
