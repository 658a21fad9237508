"""Threads for attempts to deliver: few for one sink, bounded for all, and none waited for.

An attempt may hang in a name lookup that nothing can end. A thread pool would be waited for
when the interpreter ends; these are daemon threads, and a hung one ends with the process.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Final

PER_SINK_MAX: Final = 4
# Beyond the first one of each sink, which is always to be had: no sink waits for another.
SHARED_MAX: Final = 12

Work = Callable[[], Callable[[], None]]
"""What is done in the thread; it returns what is to be done on the loop, and never raises."""


class AttemptThreads:
    """Begins threads, and has their ends carried out on the event loop."""

    def __init__(self, post: Callable[[Callable[[], None]], object]) -> None:
        """`post` hands a call to the event loop, as `call_soon_threadsafe` does."""
        self._post = post
        self._running: Counter[str] = Counter()
        self._threads: set[threading.Thread] = set()
        self._ends: SimpleQueue[tuple[str, threading.Thread, Callable[[], None]]] = SimpleQueue()

    def free(self, sink: str) -> int:
        """Return how many may be begun now for this sink."""
        own = self._running[sink]
        shared = sum(max(0, count - 1) for count in self._running.values())
        return max(0, min(PER_SINK_MAX - own, SHARED_MAX - shared + (own == 0)))

    def begin(self, sink: str, work: Work) -> None:
        """Do `work` in a thread of its own; only while there is a free one.

        Raises RuntimeError where the system has no thread left; nothing has begun then.
        """
        assert self.free(sink) > 0, sink
        thread = threading.Thread(
            target=lambda: self._run(sink, thread, work), name=f"alert-{sink}", daemon=True
        )
        self._running[sink] += 1
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._leave(sink, thread)
            raise

    def close(self, patience_s: float) -> None:
        """Give what is under way so long to end, carry out the ends, and forget the rest."""
        end_s = monotonic() + patience_s
        for thread in list(self._threads):
            thread.join(max(0.0, end_s - monotonic()))
        self._carry_out()

    def _run(self, sink: str, thread: threading.Thread, work: Work) -> None:
        self._ends.put((sink, thread, work()))
        # A loop that is closed by now has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._post(self._carry_out)

    def _carry_out(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                sink, thread, end = self._ends.get_nowait()
                self._leave(sink, thread)
                end()

    def _leave(self, sink: str, thread: threading.Thread) -> None:
        self._running[sink] -= 1
        if not self._running[sink]:
            del self._running[sink]
        self._threads.discard(thread)
