"""One run of one agent, from its exec to the proof that nothing of it is left.

The leader's end is `Exited`, at once; the end of the run is `TreeEmpty`, when the tree was
seen to be empty. Nothing here waits for anybody else's run.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Final, TypeVar

from agentd.core.effects import Freeze, Signal, Thaw
from agentd.core.events import (
    Event,
    Exited,
    ExitEvidence,
    Froze,
    KillStuck,
    OomChild,
    TreeEmpty,
)
from agentd.daemon import pidfds, procfs, tree
from agentd.daemon.log import log
from agentd.daemon.oom import KernelLog
from agentd.daemon.pidfds import UNSEEN, Ending, Identity
from agentd.daemon.programs import SHORTAGES

Result = TypeVar("Result")

# Something that has had SIGKILL for so long is stuck; people are told.
STUCK_S: Final = 2.0
_KILL_PAUSE_S: Final = 0.002
_KILL_PAUSE_S_MAX: Final = 1.0
# Until the next try of what the host was too short of files or memory for.
_SHORTAGE_PAUSE_S: Final = 0.05
_SHORTAGE_PAUSE_S_MAX: Final = 1.0
# A look without cause while survivors are waited for, should a notice get lost.
_LOOK_S: Final = 1.0
# How long a parent of the dead (pid 1) may take to reap, where its zombie isn't ours to read.
_STATUS_TRIES: Final = 100
_STATUS_PAUSE_S: Final = 0.05
# The leader may end right after its helper; then it is no helper's matter.
_OOM_SETTLE_S: Final = 0.1

# Signals that say what they mean to a process that stands still.
_NEVER_FOLLOWED_BY_CONT: Final = frozenset(
    (signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT)
)


class Stage(Enum):
    """How far a run has come."""

    GATED = auto()
    """Its child waits at the gate."""
    RELEASED = auto()
    """Told to go; not seen to have exec'ed yet."""
    CANCELLED = auto()
    """Called off at the gate; nobody is told of its end."""
    RUNNING = auto()
    TELLING = auto()
    """Its leader is gone; that is told before anything is said of the rest."""
    ENDED = auto()
    """Its leader is gone; survivors may be left."""
    OVER = auto()
    """Nothing is left."""


@dataclass(slots=True, eq=False)
class Run:
    """A living incarnation and what is asked of it."""

    loop: asyncio.AbstractEventLoop
    post: Callable[[Event], None]
    over: Callable[["Run"], None]
    """Called once, when nothing of it is left."""
    agent: str
    incarnation: int
    incarnation_id: str
    identity: Identity
    pidfd: int
    tree: tree.Tree
    stage: Stage
    uid: int
    kernel_log: KernelLog
    limit_bytes: int = 0
    sample_ms: int = 5_000
    rss_bytes: int | None = None
    """The tree's memory when it was last sampled."""
    note: str = ""
    """Evidence for the end, such as a process that left its cgroup."""
    _oom_seen: int = 0
    _standing: asyncio.Task[None] | None = None
    _killing: asyncio.Task[None] | None = None
    _looking: asyncio.Task[None] | None = None
    _gone: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        return self.identity.pid

    @property
    def is_frozen(self) -> bool:
        """Whether it was asked to stand still, and not let go since."""
        return self._standing is not None

    def stands(self) -> bool:
        """Whether it stands still, whoever made it."""
        stat = procfs.stat_of(self.pid)
        return self.tree.frozen() or (stat is not None and stat.state == "T")

    def attend(self) -> None:
        """Wait for the leader's end and for what the kernel says of the tree."""
        self._oom_seen = self.tree.oom_kills() or 0
        self.kernel_log.forget(self.pid)
        self.tree.watch(self._look)
        self.loop.add_reader(self.pidfd, self._leader_ended)

    def attend_remains(self) -> None:
        """Wait for the end of what an earlier leader left; the leader's end is told already."""
        self.stage = Stage.ENDED
        self.tree.leader_ended()
        self.tree.watch(self._look)
        self._look_again()

    def abandon(self) -> None:
        """Forget a run that never became one: its child died, and was reaped, at the gate."""
        self.stage = Stage.OVER
        self._gone.set()
        self.detach()
        self.tree.remove()
        self.over(self)

    def detach(self) -> None:
        """Let go of the run without touching its processes."""
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        self._close()

    def _close(self) -> None:
        if self.pidfd >= 0:
            self.loop.remove_reader(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1

    def signal(self, effect: Signal) -> None:
        """Send a signal to the leader or to all; one that stands still is let go to hear it."""
        number = signal.Signals[effect.signal]
        follow = number not in _NEVER_FOLLOWED_BY_CONT
        if effect.tree:
            self._do(self._insist(partial(self._signal_tree, number, follow=follow)))
        elif self.stage not in (Stage.TELLING, Stage.ENDED, Stage.OVER):
            pidfds.send(self.pidfd, number)
            stat = procfs.stat_of(self.pid)
            if follow and stat is not None and stat.state in "Tt":
                pidfds.send(self.pidfd, signal.SIGCONT)
        if follow and self.is_frozen:
            self.thaw(Thaw(self.agent, self.incarnation))

    def kill(self) -> None:
        """Kill until nothing is left; said to be stuck once, if it takes long."""
        if self._killing is None and self.stage is not Stage.OVER:
            self._calm()
            self._killing = self._do(self._kill())

    def freeze(self, effect: Freeze) -> None:
        if self._killing is None and self.stage is Stage.RUNNING:
            self._calm()
            self._standing = self._do(self._freeze(effect))

    def thaw(self, effect: Thaw) -> None:  # noqa: ARG002 - like the other effects
        self._calm()
        self._do(self._insist(self.tree.thaw))

    def _calm(self) -> None:
        """Give up an attempt to freeze that is still under way."""
        if self._standing is not None:
            self._standing.cancel()
            self._standing = None

    def _do(self, deed: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(deed)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def _insist(self, deed: Callable[[], Coroutine[None, None, Result]]) -> Result:
        """Do it, however often it takes until the host has the files and the memory for it."""
        pause_s = _SHORTAGE_PAUSE_S
        while True:
            try:
                return await deed()
            except OSError as error:
                if error.errno not in SHORTAGES:
                    raise
                log.error("host.short", agent=self.agent, error=error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _SHORTAGE_PAUSE_S_MAX)

    def _done(self, task: asyncio.Task[None]) -> None:
        """Hand an exception to the loop's handler: a bug of ours must not end in silence."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            message = f"a deed for {self.agent} failed"
            self.loop.call_exception_handler({"message": message, "exception": error})

    async def _signal_tree(self, number: int, *, follow: bool) -> None:
        await self.tree.send(number)
        if follow:
            tree.send_to(tree.stopped(await self.tree.members()), signal.SIGCONT)

    async def _freeze(self, effect: Freeze) -> None:
        error = await self.tree.freeze()
        if error:
            await self.tree.thaw()  # half a freeze is worse than none
            self._standing = None
        self.post(Froze(effect.agent, effect.incarnation, error))

    async def _kill(self) -> None:
        pause_s = _KILL_PAUSE_S
        stuck_at = self.loop.time() + STUCK_S
        told = False
        while not self._gone.is_set():
            try:
                await self.tree.kill()
            except OSError as error:  # the next round may find the host less short of files
                log.error("kill.failed", agent=self.agent, error=error)
            if self.stage not in (Stage.TELLING, Stage.ENDED, Stage.OVER):
                pidfds.send(self.pidfd, signal.SIGKILL)
            try:
                await asyncio.wait_for(self._gone.wait(), pause_s)
            except TimeoutError:
                self._look()
            pause_s = min(2 * pause_s, _KILL_PAUSE_S_MAX)
            if not told and not self._gone.is_set() and self.loop.time() > stuck_at:
                told = True
                evidence = tree.describe(await self.tree.members()) or procfs.describe(self.pid)
                self.post(KillStuck(self.agent, self.incarnation, f"kill pending, {evidence}"))

    def _leader_ended(self, tries: int = 0) -> None:
        """The pidfd says that the leader is dead; find out how, then tell."""
        self.loop.remove_reader(self.pidfd)
        ending = self._how_it_ended()
        if ending is None and tries < _STATUS_TRIES:
            self._timer = self.loop.call_later(_STATUS_PAUSE_S, self._leader_ended, tries + 1)
            return
        if self.stage is Stage.RUNNING:
            self.stage = Stage.TELLING
            self.tree.leader_ended()
            self._calm()
            self._do(self._tell_end(ending or UNSEEN))

    def reap(self) -> None:
        """Free the leader's pid, if it is ours to free."""
        pidfds.reap(self.pidfd)

    def _how_it_ended(self) -> Ending | None:
        """Return how the leader ended, and reap it if it is ours to reap; None: unknown yet."""
        if self.pidfd < 0:
            return UNSEEN
        try:
            ending = pidfds.peek(self.pidfd)
        except ChildProcessError:
            return pidfds.ending_of_stranger(self.pidfd)
        if ending is not None:
            pidfds.reap(self.pidfd)
        return ending

    async def _tell_end(self, ending: Ending) -> None:
        survivors = await self._insist(self.tree.members)
        counted = self.tree.oom_kills()
        rose = (counted or 0) - self._oom_seen
        sources = []
        if rose > 0:
            sources.append(f"memory.events oom_kill {self._oom_seen} -> {self._oom_seen + rose}")
        if ending.signal == signal.SIGKILL:
            # Only the log tells whose shortage it was: that of the group, or of the whole host.
            # Without a counter it names a group of another hierarchy.
            line = self.kernel_log.victim(self.pid, self.tree.cgroup if counted is not None else "")
            if line:
                sources.append(line)
                rose = max(rose, 1)
        evidence = ExitEvidence(
            oom_kills=max(rose, 0),
            oom_source=", ".join(sources),
            rss_bytes=self.rss_bytes,
            limit_bytes=self.limit_bytes or None,
            survivors=len(survivors),
            note=self.note,
        )
        self.post(Exited(self.agent, self.incarnation, ending.code, ending.signal, evidence))
        self.attend_remains()

    def _look_again(self) -> None:
        if self.stage is Stage.ENDED:
            self._look()
            self._timer = self.loop.call_later(_LOOK_S, self._look_again)

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = self._do(self._look_at_tree())

    async def _look_at_tree(self) -> None:
        """Find out what a notice was about: an OOM kill, or the last process gone."""
        if self.stage is Stage.RUNNING and (self.tree.oom_kills() or 0) > self._oom_seen:
            await asyncio.sleep(_OOM_SETTLE_S)
            self._tell_oom_child()
        elif self.stage is Stage.ENDED and await self.tree.is_empty():
            self._finish()

    def _tell_oom_child(self) -> None:
        leader = procfs.stat_of(self.pid)
        if self.stage is not Stage.RUNNING or leader is None or leader.dead:
            return
        if procfs.is_dying(self.pid):
            return  # it was the leader's kill: its end tells of it
        before, self._oom_seen = self._oom_seen, self.tree.oom_kills() or 0
        evidence = f"memory.events oom_kill {before} -> {self._oom_seen}, pid {self.pid} lives on"
        self.post(OomChild(self.agent, self.incarnation, evidence))

    def _finish(self) -> None:
        if self.stage is Stage.OVER:
            return
        self.stage = Stage.OVER
        self._gone.set()
        if self._timer is not None:
            self._timer.cancel()
        self.tree.remove()
        self.over(self)
        self.post(TreeEmpty(self.agent, self.incarnation))
        self._close()
