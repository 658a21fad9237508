"""Measure every tree now and then: memory, CPU time, bytes moved, and who has left its group.

One timer for all. Agents due at about the same time are measured together, from one look at
all processes; an agent near its limit is measured more often.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from agentd.core.events import Event, OomChild, Sampled
from agentd.daemon import procfs
from agentd.daemon.cgroups import CgroupTree
from agentd.daemon.log import log
from agentd.daemon.memory import TreeMeter, excess_of
from agentd.daemon.procfs import TICKS_PER_S
from agentd.daemon.runs import Run, Stage
from agentd.daemon.tree import Members

# The first measurement comes when a program has loaded itself.
_FIRST_S: Final = 1.0
# Above this share of its limit it is measured this many times as often.
NEAR_LIMIT_PERCENT: Final = 70
NEAR_LIMIT_FACTOR: Final = 10
_NEAR_LIMIT_S_MIN: Final = 0.1
# Whoever is due within this share of its interval is measured along.
_EARLY_SHARE: Final = 0.1
_ESCAPES_EVERY_S: Final = 60.0


@dataclass(slots=True, eq=False)
class _Watched:
    """One run and what is kept between its measurements."""

    run: Run
    due_s: float
    meter: TreeMeter = field(default_factory=TreeMeter)
    members: Members = field(default_factory=dict)
    cpu_ms: int = 0
    io_bytes: int | None = None

    def interval_s(self) -> float:
        """Return the time to the next measurement, in seconds."""
        interval_s = self.run.sample_ms / 1000
        limit, used = self.run.limit_bytes, self.run.rss_bytes
        if limit and used is not None and used * 100 > limit * NEAR_LIMIT_PERCENT:
            return min(interval_s, max(interval_s / NEAR_LIMIT_FACTOR, _NEAR_LIMIT_S_MIN))
        return interval_s


class Sampler:
    """The one timer, and everything it measures."""

    def __init__(self, loop: asyncio.AbstractEventLoop, post: Callable[[Event], None]) -> None:
        self._loop = loop
        self._post = post
        self._watched: list[_Watched] = []
        self._timer: asyncio.TimerHandle | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pss")
        self._pss_tasks: set[asyncio.Task[None]] = set()
        self._escapes_due_s = loop.time() + _ESCAPES_EVERY_S

    def add(self, run: Run) -> None:
        """Measure this run from now on, until its end; `Processes.on_running` calls it.

        Added again, because its interval has changed, it is measured soon and then by that.
        """
        due_s = self._loop.time() + min(_FIRST_S, run.sample_ms / 1000)
        for each in self._watched:
            if each.run is run:
                each.due_s = due_s
                break
        else:
            self._watched.append(_Watched(run, due_s))
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._measuring, *self._pss_tasks):
            if task is not None:
                task.cancel()
        for watched in self._watched:
            watched.meter.close()
        self._watched.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watched and (self._measuring is None or self._measuring.done()):
            self._timer = self._loop.call_at(min(each.due_s for each in self._watched), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._measuring = self._loop.create_task(self._measure())
        self._measuring.add_done_callback(lambda _: self._arm())

    async def _measure(self) -> None:
        """Measure everybody who is due, or soon will be."""
        self._drop_ended()
        now_s = self._loop.time()
        due = [
            each for each in self._watched if each.due_s <= now_s + each.interval_s() * _EARLY_SHARE
        ]
        # Together, so that trees without a cgroup share one look at all processes.
        found = await asyncio.gather(*(each.run.tree.members() for each in due))
        for each, members in zip(due, found, strict=True):
            if each.run.stage is Stage.RUNNING:
                self._measure_one(each, members)
                each.due_s = now_s + each.interval_s()
        if now_s >= self._escapes_due_s:
            self._escapes_due_s = now_s + _ESCAPES_EVERY_S
            await self._look_for_escapes()

    def _drop_ended(self) -> None:
        for each in [each for each in self._watched if each.run.stage is not Stage.RUNNING]:
            each.meter.close()
            self._watched.remove(each)

    def _measure_one(self, watched: _Watched, members: Members) -> None:
        run = watched.run
        self._tell_oom_victims(watched, members)
        rss_bytes = run.tree.memory_bytes()
        if rss_bytes is None:
            rss_bytes = watched.meter.measure(members)
            if watched.meter.wants_pss(self._loop.time()):
                self._correct(watched, list(members))
        run.rss_bytes = rss_bytes
        watched.cpu_ms = max(watched.cpu_ms, _cpu_ms(run, members))
        moved = [moved for pid in members if (moved := procfs.io_bytes(pid)) is not None]
        if moved:
            watched.io_bytes = max(watched.io_bytes or 0, sum(moved))
        self._post(
            Sampled(
                run.agent,
                run.incarnation,
                rss_bytes,
                cpu_ms=watched.cpu_ms,
                io_bytes=watched.io_bytes,
                processes=len(members),
                wait_channel=procfs.wait_channel(run.pid),
            )
        )
        _note_escape(run, run.pid, run.identity.start_time)

    def _tell_oom_victims(self, watched: _Watched, members: Members) -> None:
        """Tell of helpers that the kernel killed for memory, where no counter does."""
        run = watched.run
        gone = [pid for pid in watched.members if pid not in members and pid != run.pid]
        watched.members = members
        if gone and run.tree.oom_kills() is None:
            for line in run.kernel_log.victims(gone, ""):
                self._post(OomChild(run.agent, run.incarnation, line))

    def _correct(self, watched: _Watched, pids: list[int]) -> None:
        """Have the exact share read, off the loop, for the next measurements."""
        watched.meter.asked(self._loop.time())

        async def read() -> None:
            try:
                excess = self._loop.run_in_executor(self._pool, excess_of, pids)
            except RuntimeError as error:  # no thread: the next measurement asks again
                log.warning("host.short", agent=watched.run.agent, error=error)
            else:
                watched.meter.correct(await excess)

        task = self._loop.create_task(read())
        self._pss_tasks.add(task)
        task.add_done_callback(self._pss_tasks.discard)

    async def _look_for_escapes(self) -> None:
        """Find processes that descend from a tree but have left its cgroup."""
        grouped = [each.run for each in self._watched if each.run.tree.cgroup]
        if not grouped:
            return
        census = await procfs.census()
        for run in grouped:
            members = await run.tree.members()
            for pid in census.descendants(list(members)) - set(members):
                _note_escape(run, pid, census.stats[pid].start_time)


def _cpu_ms(run: Run, members: Members) -> int:
    counted_ms = run.tree.cpu_ms()
    if counted_ms is not None:
        return counted_ms
    stats = (procfs.stat_of(pid) for pid in members)
    return sum(stat.cpu_ticks for stat in stats if stat is not None) * 1000 // TICKS_PER_S


def _note_escape(run: Run, pid: int, start_time: int) -> None:
    """Keep hold of a process that left its cgroup: it is killed with the rest."""
    if isinstance(run.tree, CgroupTree) and run.tree.escaped(pid, start_time):
        run.note = f"pid {pid} left its cgroup for {procfs.cgroup_of(pid)}"
