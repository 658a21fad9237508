"""Trees without cgroups: found by descent, session, token, log and mark among all processes.

The daemon is the subreaper: an orphan of any tree becomes its child, so a tree whose leader
is dead and of which no child of ours is a part is empty; that is the proof. Who belongs to
a tree is remembered from one look to the next, so that a helper that was seen as a
descendant stays known after it left session and environment behind.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentd.daemon import limits, pidfds, procfs, tree
from agentd.daemon.claims import Claims, Roots, of_session
from agentd.daemon.procfs import Census, Stat

TOKEN_VARIABLE: Final = b"AGENTD_INCARNATION"

FREEZE_ROUNDS_MAX: Final = 40
FREEZE_PAUSE_S: Final = 0.005

# Looks that follow each other at once because somebody was born meanwhile.
LOOKS_MAX: Final = 8

# Pauses between looks while an exec is half done, each twice the one before: 0.13 s in all.
EXEC_PAUSE_S: Final = 0.001
EXEC_PAUSES_MAX: Final = 7

# One that is gone before a look is over is looked for among our orphans, in 0.1 ms, or where it may
# be somebody else's orphan, among so many of the latest pids, in 1 ms: those that a busy host gives
# meanwhile are among them. Again until it is caught, but no longer than the event loop can wait.
NEWEST: Final = 64
CATCH_S: Final = 0.01

# Survivors whose ends are waited for; the regular look finds the rest.
WATCHED_MAX: Final = 256
_KERNEL_THREADS: Final = 2


class SweepTree:
    """One incarnation's processes, as far as they can be found."""

    cgroup = ""

    def __init__(self, forest: "SweepForest", roots: Roots) -> None:
        self.roots = roots
        self._forest = forest
        self._watched: dict[int, int] = {}
        self._killed: tree.Members = {}
        self._changed: Callable[[], None] | None = None

    def enter(self, pid: int) -> None:
        """Mark it: whoever descends from it and hides all else is known by that."""
        limits.mark(pid, self.roots.incarnation_id)

    def lead(self, leader: pidfds.Identity) -> None:
        self.roots.leader = leader
        self.roots.leader_alive = True
        self.roots.known[leader.pid] = leader.start_time

    def leader_ended(self) -> None:
        self.roots.leader_alive = False
        if self.roots.leader is not None:
            self.roots.known.pop(self.roots.leader.pid, None)

    async def members(self) -> tree.Members:
        if self._forest.has_nothing_of(self.roots):
            return {}
        found = (await self._forest.sort()).get(self.roots.incarnation_id, [])
        members = {stat.pid: stat.start_time for stat in found if not stat.dead}
        if self._changed is not None and not self.roots.leader_alive:
            self._await_ends(members)
        return members

    async def is_empty(self) -> bool:
        if self._forest.has_nothing_of(self.roots):
            return True
        if not await self._is_clear():
            return False
        waited = await self._forest.await_execs()
        # Orphans of an adopted tree become somebody else's children: one may have been born
        # behind the back of the first look, its parent dead before that came to it.
        return not (waited or self.roots.adopted) or await self._is_clear()

    async def _is_clear(self) -> bool:
        """Tell whether a look that saw all there is found nobody."""
        for _ in range(LOOKS_MAX):
            if await self.members():
                return False
            if self._is_settled():
                return True
        return False

    def _is_settled(self) -> bool:
        """Tell whether none of it can have been born behind the back of the last look."""
        if self.roots.adopted and self._forest.overtaken:
            return False
        return not self._was_missed()

    def _was_missed(self) -> bool:
        return bool(self._forest.missed & {self.roots.incarnation_id, None})

    async def send(self, number: int) -> None:
        tree.send_to(await self.members(), number)

    async def kill(self) -> None:
        members = await self.members()
        # Who stands can't fork behind the back of this round.
        tree.send_to(members, signal.SIGSTOP)
        tree.send_to(members, signal.SIGKILL)
        born_since = bool(self._killed) and bool(members.keys() - self._killed.keys())
        self._killed = members or self._killed
        if born_since or self._was_missed():
            await self._forest.catch(self.roots.incarnation_id)

    async def freeze(self) -> str:
        """Stop in rounds until a whole look finds everybody standing."""
        members: tree.Members = {}
        for _ in range(FREEZE_ROUNDS_MAX):
            members = await self.members()
            moving = {
                pid: start_time
                for pid, start_time in members.items()
                if (stat := procfs.stat_of(pid)) is not None
                and stat.state not in "TtZXx"
                and not (stat.state == "D" and procfs.stops_before_it_runs(pid))
            }
            if not moving and self._is_settled():
                return ""
            tree.send_to(moving, signal.SIGSTOP)
            await asyncio.sleep(FREEZE_PAUSE_S)
        return f"still moving after {FREEZE_ROUNDS_MAX} rounds: {tree.describe(members)}"

    async def thaw(self) -> None:
        await self.send(signal.SIGCONT)

    def frozen(self) -> bool:
        return False

    def watch(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def limit_memory(self, limit_bytes: int) -> None:
        """Nobody enforces it here but the sampling."""

    def memory_bytes(self) -> int | None:
        return None

    def cpu_ms(self) -> int | None:
        return None

    def oom_kills(self) -> int | None:
        return None

    def remove(self) -> None:
        self._changed = None
        for pid in list(self._watched):
            self._unwatch(pid)
        self._forest.forget(self.roots.incarnation_id)

    def _await_ends(self, members: tree.Members) -> None:
        """Wait for the end of each survivor; whoever forks meanwhile is found at that look."""
        for pid in [pid for pid in self._watched if pid not in members]:
            self._unwatch(pid)
        for pid, start_time in members.items():
            if pid not in self._watched and len(self._watched) < WATCHED_MAX:
                pidfd = pidfds.open_member(pid, start_time)
                if pidfd is not None:
                    self._watched[pid] = pidfd
                    self._forest.loop.add_reader(pidfd, self._ended, pid)

    def _ended(self, pid: int) -> None:
        self._unwatch(pid)
        if self._changed is not None:
            self._changed()

    def _unwatch(self, pid: int) -> None:
        pidfd = self._watched.pop(pid)
        self._forest.loop.remove_reader(pidfd)
        os.close(pidfd)


class SweepForest:
    """All trees, sorted out of one look at all processes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, strangers: Callable[[], set[int]]) -> None:
        """`strangers` returns the children of ours that no process layer's entry explains."""
        self.loop = loop
        self._strangers = strangers
        self._roots: dict[str, Roots] = {}
        self._looking: asyncio.Task[dict[str, list[Stat]]] | None = None
        self._without_token: dict[int, int] = {}
        self._unclear: dict[int, int] = {}
        """Without any environment at the last look: an exec half done has none for a moment."""
        self._waited_for: dict[int, int] = {}
        """Those of the unclear that have had time enough for an exec."""
        self._foreign_sids: set[int] = set()
        """Sessions with a stranger: one is begun or inherited, never joined, so all in it are."""
        self._ended_sids: set[int] = set()
        """Sessions of those that ended in the last look before it was known whose they were."""
        self._wanted: set[str] = set()
        """Trees of which the latest are to be caught."""
        self.overtaken = False
        """Whether one of a tree may have hidden from the last look behind the end of another."""
        self.missed: set[str | None] = set()
        """Whose orphans of ours were born behind the back of the last look; None: not known."""

    def plant(self, incarnation_id: str, memory_limit_bytes: int, log_fd: int) -> SweepTree:  # noqa: ARG002 - nobody enforces it here
        info = os.fstat(log_fd)
        return self._add(Roots(incarnation_id, (info.st_dev, info.st_ino)))

    def prepare_move(self) -> None:
        """Nobody is moved here."""

    def attach(self, incarnation_id: str, cgroup: str = "") -> SweepTree:  # noqa: ARG002 - no help here
        return self._add(Roots(incarnation_id, adopted=True))

    def forget(self, incarnation_id: str) -> None:
        self._roots.pop(incarnation_id, None)

    def close(self) -> None:
        """Nothing is held between looks."""

    def has_nothing_of(self, roots: Roots) -> bool:
        """Tell whether a dead leader has left no orphan: cheap, and a proof.

        Every descendant of a dead leader descends from an orphan that became our child.
        """
        return not (roots.adopted or roots.leader_alive or self._strangers())

    async def sort(self) -> dict[str, list[Stat]]:
        """Return the processes of every tree, from one look that begins after this call."""
        if self._looking is None:
            self._looking = self.loop.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> dict[str, list[Stat]]:
        await asyncio.sleep(0)  # whoever asks in this turn of the loop shares this look
        self._looking = None
        for _ in range(LOOKS_MAX):
            census = await procfs.census()
            found = self.sorted_from(census)
            self.missed = self._born_meanwhile(census)
            if not self.missed:
                break
        return found

    async def catch(self, incarnation_id: str) -> None:
        """Kill what is another process before a look is over: found and killed without a pause.

        One that forks as it is killed is followed until none comes after it.
        """
        self._wanted.add(incarnation_id)
        await asyncio.sleep(0)  # all that are asked for in this turn of the loop share the time
        wanted, self._wanted = self._wanted, set()
        end = time.monotonic() + CATCH_S
        is_ours = not any(one.adopted for name, one in self._roots.items() if name in wanted)
        others: set[int] = set()
        caught: set[str] = set()
        found: set[str] = set()
        while wanted and time.monotonic() < end and (found or caught != wanted):
            latest = procfs.latest_orphans() if is_ours else procfs.newest(NEWEST)
            found = self._catch_once(wanted, latest, others)
            caught |= found

    def _catch_once(self, wanted: set[str], pids: Iterable[int], others: set[int]) -> set[str]:
        """Kill those of `pids` that are of some trees; tell of which.

        `others` are known to be over, or another tree's, and not looked at again; it grows.
        """
        found = set()
        for pid in pids:
            if pid in others:
                continue
            stat = procfs.stat_of(pid)
            owner = self._owner(pid, stat) if stat is not None else None
            if stat is not None and owner in wanted:
                tree.send_to({pid: stat.start_time}, signal.SIGSTOP)
                tree.send_to({pid: stat.start_time}, signal.SIGKILL)
                found.add(owner)
            elif owner is not None or (stat is not None and stat.dead):
                others.add(pid)
        return found

    async def await_execs(self) -> bool:
        """Give processes without any environment the time of an exec; tell whether there were any.

        Each is waited for once: some programs have none for good.
        """
        waited = False
        pause_s = EXEC_PAUSE_S
        for _ in range(EXEC_PAUSES_MAX):
            if self._unclear.items() <= self._waited_for.items():
                break
            waited = True
            await asyncio.sleep(pause_s)
            pause_s *= 2
            await self.sort()
        self._waited_for = dict(self._unclear)
        return waited

    def _born_meanwhile(self, census: Census) -> set[str | None]:
        """Return whose orphans live that the census missed; None for those of whom it isn't known.

        A process may fork after the census has listed the pids, and die before it is read:
        then it was seen dead and its child not at all. That child is ours by now.
        """
        missed = [procfs.stat_of(pid) for pid in self._strangers() if pid not in census.stats]
        living = [stat for stat in missed if stat is not None and not stat.dead]
        return {self._owner(stat.pid, stat) for stat in living}

    def sorted_from(self, census: Census) -> dict[str, list[Stat]]:
        """Tell whose each process is, and remember it."""
        claims = Claims(census)
        self._unclear.clear()
        self._foreign_sids.clear()
        self._ended_sids.clear()
        for roots in self._roots.values():
            claims.take(roots.incarnation_id, roots.living(census))
        for roots in self._roots.values():
            claims.take(roots.incarnation_id, of_session(roots, claims))
        for pid in self._orphans(claims):
            owner = self._owner(pid, claims.census.stats[pid])
            if owner is not None:
                claims.take(owner, [pid])
        self.overtaken = census.overtaken or bool(self._ended_sids - self._foreign_sids)
        for incarnation_id, roots in self._roots.items():
            roots.known = {
                stat.pid: stat.start_time for stat in claims.of(incarnation_id) if not stat.dead
            }
        for pid in self._without_token.keys() - census.stats.keys():
            del self._without_token[pid]
        return {incarnation_id: claims.of(incarnation_id) for incarnation_id in self._roots}

    def _add(self, roots: Roots) -> SweepTree:
        self._roots[roots.incarnation_id] = roots
        return SweepTree(self, roots)

    def _orphans(self, claims: Claims) -> list[int]:
        """Return processes that may belong to a tree though nothing seen so far says so."""
        unclaimed = claims.unclaimed()
        if any(roots.adopted for roots in self._roots.values()):
            return [stat.pid for stat in unclaimed if stat.ppid != _KERNEL_THREADS]
        strangers = self._strangers()
        return [stat.pid for stat in unclaimed if stat.pid in strangers]

    def _owner(self, pid: int, stat: Stat) -> str | None:
        """Find out whose an orphan is: by its token, its output, or the mark in its limits."""
        if stat.dead:
            return None
        if self._without_token.get(pid) == stat.start_time:
            self._foreign_sids.add(stat.sid)
            return None
        environ = procfs.environ(pid)
        owner = _token_in(environ)
        if owner in self._roots:
            return owner
        log = _output_of(pid)
        for roots in self._roots.values():
            if log is not None and roots.log == log:
                return roots.incarnation_id
        mark = procfs.rttime_limit(pid)
        for roots in self._roots.values():
            if mark is not None and roots.mark == mark:
                return roots.incarnation_id
        if procfs.has_ended(pid):
            self._ended_sids.add(stat.sid)
        elif environ == {}:
            self._unclear[pid] = stat.start_time
        else:
            self._without_token[pid] = stat.start_time
            self._foreign_sids.add(stat.sid)
        return None


def incarnation_of(pid: int) -> str | None:
    """Return the incarnation id that `pid` was exec'ed with; None: none, or not for us."""
    return _token_in(procfs.environ(pid))


def _token_in(environ: Mapping[bytes, bytes] | None) -> str | None:
    value = (environ or {}).get(TOKEN_VARIABLE)
    return value.decode(errors="replace") if value else None


def _output_of(pid: int) -> tuple[int, int] | None:
    for fd in (1, 2):
        with suppress(OSError):  # closed, or not for us
            info = Path(f"/proc/{pid}/fd/{fd}").stat()
            return info.st_dev, info.st_ino
    return None
