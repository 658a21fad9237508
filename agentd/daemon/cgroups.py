"""Trees held together by a cgroup v2 leaf each: nothing leaves one by forking.

A leaf works with whatever controllers there are: without `memory` nobody counts memory here,
`cgroup.kill`, `cgroup.freeze` and `populated` need none.
"""

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentd.daemon import pidfds, procfs, tree
from agentd.daemon.grounds import Ground, prepared
from agentd.daemon.kernelwatch import KernelWatch
from agentd.daemon.leftovers import Leftovers, below

LEAF_PREFIX: Final = "run-"

# The backstop stands this much above the limit that sampling enforces gracefully.
MARGIN_SHARE: Final = 8
MARGIN_BYTES_MIN: Final = 32 << 20

FREEZE_MS_MAX: Final = 2_000
_GONE: Final = (errno.ENOENT, errno.ENODEV)

# The kernel's own bound of pid_max is 2 ** 22: nobody ever has this one.
PID_BEYOND: Final = (1 << 22) + 1


class CgroupTree:
    """One incarnation's leaf."""

    def __init__(
        self, directory: Path, cgroup: str, watch: KernelWatch, leftovers: Leftovers
    ) -> None:
        self.cgroup = cgroup
        self.directory = directory
        self._watch = watch
        self._leftovers = leftovers
        self._escaped: dict[int, int] = {}

    def enter(self, pid: int) -> None:
        _write(self.directory / "cgroup.procs", str(pid))

    def lead(self, leader: pidfds.Identity) -> None:
        """Membership needs no leader here."""

    def leader_ended(self) -> None:
        """Membership needs no leader here."""

    async def members(self) -> tree.Members:
        return self.members_now()

    def members_now(self) -> dict[int, int]:
        """Return the living processes of the leaf, and those known to have left it."""
        found = _alive(_pids(self.directory))
        for pid, start_time in list(self._escaped.items()):
            stat = procfs.stat_of(pid)
            if stat is None or stat.dead or stat.start_time != start_time:
                del self._escaped[pid]
            else:
                found[pid] = start_time
        return found

    def escaped(self, pid: int, start_time: int) -> bool:
        """Keep a process of this tree that is in another group by now; False: known already."""
        now = procfs.cgroup_of(pid)
        if now is None or pid in self._escaped or f"{now}/".startswith(f"{self.cgroup}/"):
            return False
        self._escaped[pid] = start_time
        return True

    async def is_empty(self) -> bool:
        # The kernel's word, not the list's: a list may be unreadable where a thread lives on.
        events = counters(self.directory / "cgroup.events")
        if not events and self.directory.exists():
            return False  # the host was too short of files to read it: what isn't known isn't so
        return not events.get("populated", 0) and not self.members_now()

    async def send(self, number: int) -> None:
        tree.send_to(self.members_now(), number)

    async def kill(self) -> None:
        try:
            _write(self.directory / "cgroup.kill", "1")
        except OSError as error:
            if error.errno not in _GONE:
                raise
            # Before Linux 5.14 there is no such file; a leaf that is gone has no members.
            tree.send_to(_alive(_pids(self.directory)), signal.SIGKILL)
        tree.send_to({**self._escaped}, signal.SIGKILL)

    async def freeze(self) -> str:
        try:
            _write(self.directory / "cgroup.freeze", "1")
        except OSError as error:
            return f"cgroup.freeze: {os.strerror(error.errno or 0)}"
        waited_ms = 1
        until = time.monotonic() + FREEZE_MS_MAX / 1000
        while not self.frozen():
            if time.monotonic() > until:
                return f"not frozen after {FREEZE_MS_MAX} ms: {tree.describe(self.members_now())}"
            await asyncio.sleep(waited_ms / 1000)
            waited_ms = min(2 * waited_ms, 50)
        return ""

    async def thaw(self) -> None:
        try:
            _write(self.directory / "cgroup.freeze", "0")
        except OSError as error:
            if error.errno not in _GONE:  # gone with its processes: nothing to let go
                raise
        # Who could not be frozen was stopped by a signal, and by another daemon maybe.
        tree.send_to(tree.stopped(self.members_now()), signal.SIGCONT)

    def frozen(self) -> bool:
        return counters(self.directory / "cgroup.events").get("frozen") == 1

    def watch(self, changed: Callable[[], None]) -> None:
        for name in ("cgroup.events", "memory.events"):
            self._watch.add(self.directory / name, changed)

    def limit_memory(self, limit_bytes: int) -> None:
        margin_bytes = max(limit_bytes // MARGIN_SHARE, MARGIN_BYTES_MIN)
        with suppress(FileNotFoundError):  # no memory controller: sampling alone
            backstop = str(limit_bytes + margin_bytes) if limit_bytes else "max"
            _write(self.directory / "memory.max", backstop)
            # A helper that the kernel picks must not take the agent along: policy decides.
            _write(self.directory / "memory.oom.group", "0")

    def memory_bytes(self) -> int | None:
        stat = counters(self.directory / "memory.stat")
        return stat["anon"] + stat.get("shmem", 0) if "anon" in stat else None

    def cpu_ms(self) -> int | None:
        usage_us = counters(self.directory / "cpu.stat").get("usage_usec")
        return usage_us // 1000 if usage_us is not None else None

    def oom_kills(self) -> int | None:
        return counters(self.directory / "memory.events").get("oom_kill")

    def remove(self) -> None:
        """Remove the leaf; one that is busy, as soon as it isn't."""
        for name in ("cgroup.events", "memory.events"):
            self._watch.discard(self.directory / name)
        self._leftovers.remove([self.directory])


class CgroupForest:
    """Leaves under one directory of ours."""

    def __init__(self, ground: Ground, loop: asyncio.AbstractEventLoop) -> None:
        self.ground = ground
        self._watch = KernelWatch(loop)
        self._leftovers = Leftovers(loop)

    def plant(self, incarnation_id: str, memory_limit_bytes: int, log_fd: int) -> CgroupTree:  # noqa: ARG002 - a sweep needs it
        leaf = self._leaf(incarnation_id)
        leaf.directory.mkdir(exist_ok=True)
        try:
            if "memory" in self.ground.controllers and not (leaf.directory / "memory.max").exists():
                # The group above has been made anew: systemd restarted the unit that holds it.
                prepared(self.ground)
            if memory_limit_bytes:
                leaf.limit_memory(memory_limit_bytes)
        except OSError:
            leaf.remove()
            raise
        return leaf

    def attach(self, incarnation_id: str, cgroup: str) -> CgroupTree | None:
        if not cgroup:
            return None
        directory = self.ground.mount / cgroup.lstrip("/")
        if directory.name != LEAF_PREFIX + incarnation_id or not directory.is_dir():
            return None
        self._leftovers.keep(directory)
        return CgroupTree(directory, cgroup, self._watch, self._leftovers)

    def prepare_move(self) -> None:
        """Pay for the kernel's wait of the next move now, by moving nobody.

        The first write to a `cgroup.procs` after a pause waits for a grace period of the
        kernel's (4 to 8 ms), the next ones don't; a pid that cannot exist is enough.
        """
        with suppress(ProcessLookupError):
            _write(self.ground.base / "cgroup.procs", str(PID_BEYOND))

    def populated(self) -> dict[str, str]:
        """Return every leaf of ours that holds a process: incarnation id to cgroup path."""
        return {
            directory.name.removeprefix(LEAF_PREFIX): self.ground.path_of(directory)
            for directory in self._leaves()
            if counters(directory / "cgroup.events").get("populated") == 1
        }

    def tidy(self, claimed: Collection[str]) -> int:
        """Remove the leaves that an earlier daemon left, as soon as each is empty.

        Those of the `claimed` incarnations are not touched. Returns how many were empty.
        """
        kept = {LEAF_PREFIX + one for one in claimed}
        return self._leftovers.remove(one for one in self._leaves() if one.name not in kept)

    def close(self) -> None:
        """Stop watching, and remove our directory when it is empty."""
        self._watch.close()
        self._leftovers.close()
        with suppress(OSError):
            self.ground.base.rmdir()

    def _leaf(self, incarnation_id: str) -> CgroupTree:
        directory = self.ground.base / (LEAF_PREFIX + incarnation_id)
        return CgroupTree(directory, self.ground.path_of(directory), self._watch, self._leftovers)

    def _leaves(self) -> Iterable[Path]:
        return sorted(self.ground.base.glob(f"{LEAF_PREFIX}*/"))


def counters(path: Path) -> dict[str, int]:
    """Read a flat keyed file, such as memory.events; empty when there is none."""
    found = {}
    for line in (procfs.read(str(path)) or b"").splitlines():
        key, _, value = line.partition(b" ")
        if value.isdigit():
            found[key.decode()] = int(value)
    return found


def _pids(directory: Path) -> list[int]:
    """Return the pids in a group and in the groups that its processes made below it."""
    found = [int(word) for word in (procfs.read(f"{directory}/cgroup.procs") or b"").split()]
    for one in below(directory):
        found += map(int, (procfs.read(f"{one}/cgroup.procs") or b"").split())
    return [pid for pid in found if pid]


def _alive(pids: Iterable[int]) -> dict[int, int]:
    found = {}
    for pid in pids:
        stat = procfs.stat_of(pid)
        if stat is not None and not stat.dead:
            found[pid] = stat.start_time
    return found


def _write(path: Path, text: str) -> None:
    """Write one value into a kernel file; never create one."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
