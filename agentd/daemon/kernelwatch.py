"""Be told when a kernel file changes, such as `cgroup.events`: no polling.

Such files report changes as priority events, which asyncio doesn't wait for; so they hang in
an epoll of their own, whose descriptor asyncio watches.
"""

import asyncio
import errno
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agentd.daemon import procfs
from agentd.daemon.log import log
from agentd.daemon.programs import SHORTAGES

# It isn't there, or is a plain file, as in a tree made up for a test: epoll refuses those.
_NEVER_CHANGES: Final = (errno.ENOENT, errno.EPERM)


class KernelWatch:
    """Callbacks by file."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._fds: dict[Path, int] = {}
        self._callbacks: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def add(self, path: Path, changed: Callable[[], None]) -> None:
        """Call `changed` after each change of `path`.

        A file that isn't there never changes. Nothing is told of one that the host is too short
        of files or memory to watch: whoever waits for an end looks from time to time as well.
        """
        self.discard(path)
        fd = -1
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            os.read(fd, 4096)  # only what changes after a reading is told
            self._epoll.register(fd, select.EPOLLPRI)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            if error.errno in SHORTAGES:
                log.error("host.short", path=path, error=error)
            elif error.errno not in _NEVER_CHANGES:
                raise
            return
        self._fds[path] = fd
        self._callbacks[fd] = changed

    def discard(self, path: Path) -> None:
        fd = self._fds.pop(path, None)
        if fd is not None:
            del self._callbacks[fd]
            self._epoll.unregister(fd)
            os.close(fd)

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        for path in list(self._fds):
            self.discard(path)
        self._epoll.close()

    def _ready(self) -> None:
        for fd, _ in self._epoll.poll(0):
            changed = self._callbacks.get(fd)
            if changed is None:
                continue
            try:
                os.pread(fd, 4096, 0)  # the reading makes it quiet until the next change
            except OSError:  # ENODEV: the group is gone, its owner will say so
                self._epoll.unregister(fd)
                self._epoll.register(fd, 0)
            changed()


def value_of(path: Path) -> str:
    """Return the text of a one-line kernel file, without its newline; empty when unreadable."""
    return (procfs.read(str(path)) or b"").decode(errors="replace").strip()
