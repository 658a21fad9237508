"""Reap what nobody else will: children of ours that we never started.

As a subreaper, or as pid 1 of a container, the daemon becomes the parent of orphans. Each is
reaped by its own pid, and only after a while: a child of ours that somebody here waits for
is that somebody's to reap.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Final

from agentd.daemon import procfs

_SETTLE_S: Final = 0.1
_UNCLAIMED_S: Final = 2.0


class Orphans:
    """Dead children that are waited out and then reaped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, strangers: Callable[[], set[int]]) -> None:
        self._loop = loop
        self._strangers = strangers
        self._dead_since: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._attending = False
        self.reaped = 0

    def attend(self) -> None:
        """Look whenever a child of ours dies, coalesced; must run on the main thread.

        And once at first: of those that died while a re-exec was under way, no signal tells.
        """
        self._attending = True
        self._loop.add_signal_handler(signal.SIGCHLD, self._soon, _SETTLE_S)
        self._soon(_SETTLE_S)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._attending:
            self._loop.remove_signal_handler(signal.SIGCHLD)
            self._attending = False

    def reap(self) -> None:
        """Reap every stranger that has been dead for some seconds, and come back for others."""
        self._timer = None
        now = self._loop.time()
        dead = {
            pid
            for pid in self._strangers()
            if (stat := procfs.stat_of(pid)) is not None and stat.dead
        }
        self._dead_since = {pid: self._dead_since.get(pid, now) for pid in dead}
        for pid, since in list(self._dead_since.items()):
            if now - since >= _UNCLAIMED_S:
                del self._dead_since[pid]
                with contextlib.suppress(ChildProcessError):  # its waiter came after all
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
                    self.reaped += 1
        if self._dead_since:
            self._soon(_UNCLAIMED_S)

    def _soon(self, pause_s: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(pause_s, self.reap)
