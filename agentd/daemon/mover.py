"""The thread that puts children into their trees while they wait at the gate.

Moving one process into a cgroup makes the kernel wait for all cores once (8 ms where this
was measured), and the next ones, if they follow at once, hardly at all (0.03 ms). So it is
done here and not on the event loop, everything that has been asked for in one go, and while
the store makes durable who the child is.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Error = Exception | None

_END_S_MAX: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Move:
    """One child on its way."""

    enter: Callable[[], None]
    arrived: Callable[[Error], None]


class Mover:
    """A queue and its thread, which begins with the first move."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: list[_Move] = []
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def move(self, enter: Callable[[], None], arrived: Callable[[Error], None]) -> None:
        """Have `enter` called in the thread; then `arrived`, on the loop, with what it raised.

        RuntimeError: there is no thread to be had, and nothing will be called.
        """
        self._begin()
        with self._wake:
            self._queue.append(_Move(enter, arrived))
            self._wake.notify()

    def _begin(self) -> None:
        """Start the thread, if there is none yet; RuntimeError: the host has none to give."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="mover", daemon=True)
            thread.start()
            self._thread = thread

    def expect(self, prepare: Callable[[], None]) -> None:
        """Have `prepare` called in the thread: a move is likely to follow soon.

        Without a thread that move has to wait for what is spared here, and nothing else is lost.
        """
        with contextlib.suppress(RuntimeError):
            self.move(prepare, _nobody)

    def close(self) -> None:
        """End the thread after what it has been asked for; nobody is told of that any more."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(_END_S_MAX)

    def _run(self) -> None:
        while moves := self._take():
            outcomes = [(move.arrived, _outcome(move.enter)) for move in moves]
            # A loop that is closed by now has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._tell, outcomes)

    def _take(self) -> list[_Move]:
        """Wait for moves and return all there are; none: it is time to end."""
        with self._wake:
            while not self._queue and not self._closing:
                self._wake.wait()
            taken, self._queue = self._queue, []
            return taken

    def _tell(self, outcomes: list[tuple[Callable[[Error], None], Error]]) -> None:
        if not self._closing:
            for arrived, error in outcomes:
                arrived(error)


def _nobody(_error: Error) -> None:
    """Nobody waits for a move that only prepares the next ones."""


def _outcome(enter: Callable[[], None]) -> Error:
    try:
        enter()
    except Exception as error:  # noqa: BLE001 - whatever it is, the start that waits is told
        return error
    return None
