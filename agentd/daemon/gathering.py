"""Many small messages in one turn of the loop, instead of a whole turn for each.

Two thousand agents that beat once a second, each on a connection of its own, wake the loop two
thousand times a second, and a wake-up costs more than what it is for. A network card has the
same trouble and the same remedy: under a high rate of small arrivals it waits a little, and
tells of all that came meanwhile at once.

Rule 1: only arrivals on connections of agents are waited for. Whatever else happens in a
window (a death, a command, the disk) ends the gathering with that window.
Rule 2: nothing waits longer than `GATHER_S`, and nothing waits at all below `RATE_MIN`.
"""

import selectors
import time
from collections.abc import Callable
from typing import Final

# A wake-up is some 100 µs of work beside its message's 10: at this rate a tenth of a core.
RATE_MIN: Final = 500
WINDOW_S: Final = 0.05
# At 2,000 messages a second ten come in this time; nobody notices it in an answer.
GATHER_S: Final = 0.005

Ready = list[tuple[selectors.SelectorKey, int]]


class GatheringSelector(selectors.EpollSelector):
    """An epoll that lets the messages of many agents come together."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self.agents: set[int] = set()
        """Descriptors of agents' connections; whoever adds one takes it out again."""
        self._clock = clock
        self._sleep = sleep
        self._window_ends_s = 0.0
        self._arrived = 0
        self._gathers = False

    def select(self, timeout: float | None = None) -> Ready:
        """Return what is ready, at most `timeout` s from now; None: however long it takes."""
        found = super().select(0) if self._gathers else []
        if not found:
            if self._gathers and (timeout is None or timeout > 0):
                wait_s = GATHER_S if timeout is None else min(timeout, GATHER_S)
                self._sleep(wait_s)
                timeout = None if timeout is None else timeout - wait_s
            found = super().select(timeout)
        self._count(found)
        return found

    def _count(self, found: Ready) -> None:
        """Decide whether to gather, by what came in the window that just ended."""
        now_s = self._clock()
        if now_s >= self._window_ends_s:
            # A window that ended long ago says nothing of now.
            fresh = now_s - self._window_ends_s < WINDOW_S
            self._gathers = fresh and self._arrived >= RATE_MIN * WINDOW_S
            self._arrived = 0
            self._window_ends_s = now_s + WINDOW_S
        for key, _ in found:
            if key.fd in self.agents:
                self._arrived += 1
            else:
                self._gathers = False
