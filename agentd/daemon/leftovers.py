"""Control groups that are over, until each could be removed.

The kernel refuses as long as somebody lives there: a child that a killed daemon left at its
gate for a moment more, a stranger that is left alone for days.
"""

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentd.daemon.kernelwatch import value_of

_PAUSE_S: Final = 0.05
PAUSE_S_MAX: Final = 20.0
_LINKS_OF_A_LEAF: Final = 2


class Leftovers:
    """Tries again, ever more seldom, as long as something is left."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left: set[Path] = set()
        self._pause_s = _PAUSE_S
        self._timer: asyncio.TimerHandle | None = None

    def remove(self, directories: Iterable[Path]) -> int:
        """Remove these groups now, or later; return how many are gone."""
        wanted = set(directories)
        left = {one for one in wanted if not _remove(one)}
        if left - self._left:
            self._left |= left
            self._pause_s = _PAUSE_S
            self._wait()
        return len(wanted) - len(left)

    def keep(self, directory: Path) -> None:
        """Leave this group alone after all: a run has it."""
        self._left.discard(directory)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self.close()
        self._timer = self._loop.call_later(self._pause_s, self._try_again)

    def _try_again(self) -> None:
        self._left = {one for one in self._left if not _remove(one)}
        self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
        if self._left:
            self._wait()


def below(directory: Path) -> list[Path]:
    """Return the groups below, deepest first."""
    try:
        if directory.stat().st_nlink <= _LINKS_OF_A_LEAF:
            return []
        return sorted(directory.glob("**/*/"), reverse=True)
    except OSError:
        return []


def _remove(directory: Path) -> bool:
    """Remove a group and those below it; False: it is still there, whatever the reason.

    Nothing is touched while a process lives in any of them: it may be about to use an empty one.
    """
    if "populated 1" in value_of(directory / "cgroup.events"):
        return False
    with suppress(OSError):  # it is gone, or somebody has just entered it
        for one in below(directory):
            one.rmdir()
        directory.rmdir()
    return not os.path.lexists(directory)
