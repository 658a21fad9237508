"""Children between their fork and their exec.

Many may wait; few exec at a time. What a child did at its gate is seen, not assumed: its
shell drops the pipe in the moment of the exec, and its name tells whether that succeeded.
"""

import asyncio
import errno
import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from agentd.core.events import Event, Spawned, SpawnFailed
from agentd.daemon import launch, programs
from agentd.daemon.launch import Gated
from agentd.daemon.mover import Mover
from agentd.daemon.pidfds import Ending
from agentd.daemon.runs import Run, Stage

SPAWNS_PER_CORE: Final = 2

# Its tree's group is on its way out or not ready: systemd makes its unit anew.
_GROUP_AWAY: Final = (errno.ENOENT, errno.ENODEV, errno.EBUSY, errno.EOPNOTSUPP)

# After it left the gate: looked at again after so long, doubling; then taken for exec'ed.
_EXEC_LOOK_S: Final = 0.001
_EXEC_LOOK_S_MAX: Final = 0.25


@dataclass(slots=True, eq=False)
class Waiting:
    """A child that has not been seen to exec."""

    run: Run
    gated: Gated
    plan: launch.Plan
    arrived: bool = False
    """Whether it is in its tree, or can't be."""
    may_go: bool = False
    """Whether it has been told to go; it does so once it has arrived."""
    refusal: programs.SpawnError | None = None
    """Why it can't enter its tree."""


class Gates:
    """Everybody at a gate, and the queue of those told to go."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        post: Callable[[Event], None],
        cores: int,
        mover: Mover,
        running: Callable[[Run], None],
    ) -> None:
        """`running` is told of each child that has exec'ed."""
        self._loop = loop
        self._running = running
        self._post = post
        self._mover = mover
        self._execs_max = SPAWNS_PER_CORE * cores
        self._waiting: dict[tuple[str, int], Waiting] = {}
        self._queue: deque[Waiting] = deque()
        self._execing = 0

    def add(self, run: Run, gated: Gated, plan: launch.Plan) -> None:
        """Have a child that waits put into its tree, and watch it.

        One that dies here, or can't enter its tree, is told as `SpawnFailed`.
        """
        waiting = Waiting(run, gated, plan)
        self._waiting[run.agent, run.incarnation] = waiting
        self._loop.add_reader(gated.pidfd, self._ended, waiting)
        try:
            self._mover.move(partial(run.tree.enter, run.pid), partial(self._arrived, waiting))
        except RuntimeError as error:  # or it would wait here for ever
            self._loop.call_soon(self._arrived, waiting, error)

    def release(self, agent: str, incarnation: int) -> None:
        """Let it exec as soon as it is its turn; one that is gone stays gone."""
        waiting = self._waiting.get((agent, incarnation))
        if waiting is not None and waiting.run.stage is Stage.GATED:
            waiting.may_go = True
            self._line_up(waiting)

    def cancel(self, agent: str, incarnation: int) -> None:
        """Send it away; nothing has run, and nothing is posted."""
        waiting = self._waiting.get((agent, incarnation))
        if waiting is not None and waiting.run.stage is Stage.GATED:
            waiting.run.stage = Stage.CANCELLED
            self._close(waiting)

    def close(self) -> None:
        """Send everybody away who has not been told to go."""
        for waiting in self._waiting.values():
            self._close(waiting)
        self._waiting.clear()
        self._queue.clear()

    def _arrived(self, waiting: Waiting, error: Exception | None) -> None:
        """It is in its tree, and goes on if it was told to; or it can't be, and is sent away."""
        run, gated = waiting.run, waiting.gated
        if self._waiting.get((run.agent, run.incarnation)) is not waiting:
            return
        waiting.arrived = True
        if gated.ending() is not None:
            self._loop.add_reader(gated.pidfd, self._ended, waiting)
        elif error is None:
            self._line_up(waiting)
        elif run.stage is Stage.GATED:
            waiting.refusal = _refused(run, error)
            self._close(waiting)

    def _line_up(self, waiting: Waiting) -> None:
        if waiting.may_go and waiting.arrived and waiting.refusal is None:
            self._queue.append(waiting)
            self._next()

    def _next(self) -> None:
        while self._queue and self._execing < self._execs_max:
            waiting = self._queue.popleft()
            if waiting.run.stage is Stage.GATED:
                self._let_go(waiting)

    def _let_go(self, waiting: Waiting) -> None:
        """Have it exec; where the kernel has no memory for the word, it is sent away."""
        try:
            waiting.gated.let_go()
        except OSError as error:
            waiting.refusal = _refused(waiting.run, error)
            self._close(waiting)
            return
        self._execing += 1
        waiting.run.stage = Stage.RELEASED
        self._loop.add_reader(waiting.gated.gate_fd, self._left, waiting)

    def _left(self, waiting: Waiting) -> None:
        self._close(waiting)
        self._look(waiting, _EXEC_LOOK_S)

    def _look(self, waiting: Waiting, pause_s: float) -> None:
        if waiting.run.stage is not Stage.RELEASED:
            return
        if waiting.gated.passed() or pause_s > _EXEC_LOOK_S_MAX:
            self._spawned(waiting)
        else:
            self._loop.call_later(pause_s, self._look, waiting, 2 * pause_s)

    def _spawned(self, waiting: Waiting) -> None:
        self._leave(waiting)
        run = waiting.run
        run.stage = Stage.RUNNING
        self._post(Spawned(run.agent, run.incarnation, run.pid))
        run.attend()
        self._running(run)

    def _ended(self, waiting: Waiting) -> None:
        """It died before anybody saw it exec; it may have done so all the same."""
        run, gated = waiting.run, waiting.gated
        ending = gated.ending()
        if ending is None:
            return
        if not waiting.arrived:
            # Its pid stays its own until then: the mover must not move a stranger.
            self._loop.remove_reader(gated.pidfd)
            return
        if run.stage is Stage.RELEASED and not gated.failed(ending):
            self._spawned(waiting)  # short as it was, it was a run: its own reader tells the end
            return
        told = run.stage is not Stage.CANCELLED
        error, shortage = _why(waiting, ending)
        self._leave(waiting)
        run.reap()
        run.abandon()
        if told:
            self._post(SpawnFailed(run.agent, run.incarnation, error, shortage))

    def _leave(self, waiting: Waiting) -> None:
        self._close(waiting)
        self._waiting.pop((waiting.run.agent, waiting.run.incarnation), None)
        if waiting.run.stage is Stage.RELEASED:
            self._execing -= 1
            self._next()

    def _close(self, waiting: Waiting) -> None:
        if waiting.gated.gate_fd >= 0:
            self._loop.remove_reader(waiting.gated.gate_fd)
            os.close(waiting.gated.gate_fd)
            waiting.gated.gate_fd = -1


def _refused(run: Run, error: Exception) -> programs.SpawnError:
    """Return what is told of a child that can't enter its tree."""
    if isinstance(error, OSError):
        away = error.errno in _GROUP_AWAY
        place = str(error.filename or run.tree.cgroup)
        return programs.SpawnError(error.errno or 0, place, host_at_fault=away)
    if isinstance(error, RuntimeError):  # no thread to move it with: the host's matter
        return programs.SpawnError(errno.EAGAIN, run.tree.cgroup, str(error))
    return programs.SpawnError(errno.EINVAL, run.tree.cgroup, repr(error))


def _why(waiting: Waiting, ending: Ending) -> tuple[str, bool]:
    """Return why there was no exec, and whether the host was short of something.

    The gate's own words are in the agent's log; the checks, made again, know the errno.
    """
    plan = waiting.plan
    if waiting.refusal is not None:
        return str(waiting.refusal), waiting.refusal.shortage
    if ending.signal is not None:
        return f"ended by {signal.Signals(ending.signal).name} before its exec", False
    try:
        programs.check(plan.argv, plan.cwd, plan.env, plan.person.ids)
    except programs.SpawnError as error:
        return str(error), error.shortage
    return f"{plan.argv[0]}: exec failed with status {ending.code}; its log may say why", False
