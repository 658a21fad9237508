"""Work that may wait for a disk or burn CPU, done in a few threads of our own.

Never asyncio's default executor: one hung name lookup there would starve everything else. Nor
any executor of the standard library: it queues a job before it starts the thread for it, and
on a host without a thread left it would do later what was refused, and keep it until then.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

Result = TypeVar("Result")

THREADS: Final = 2

# Beyond this many jobs that wait for a thread the asker is told to come back later.
WAITING_MAX: Final = 64


class TooBusy(Exception):  # noqa: N818 - named after the code that the user sees
    """Too much of this is under way already."""


@dataclass(frozen=True, slots=True)
class _Job(Generic[Result]):
    work: Callable[[], Result]
    answer: Future[Result]

    def do(self) -> None:
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        except BaseException as error:  # noqa: BLE001 - raised where the answer is awaited
            self.answer.set_exception(error)
        else:
            self.answer.set_result(result)


_Jobs = SimpleQueue[_Job[Any] | None]  # None: this thread's work is over


class Offload:
    """A small pool; what comes of a job is handed back on the loop."""

    def __init__(self, aio: asyncio.AbstractEventLoop) -> None:
        self._aio = aio
        self._jobs: _Jobs = SimpleQueue()
        self._threads = 0
        self._closed = False

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do `work` in a thread and return what it returns; raise what it raises, or TooBusy.

        What is refused is never done. A job that its asker has given up is not done either; it
        counts as waiting until a thread comes to it.
        """
        if self._closed or self._jobs.qsize() >= WAITING_MAX:
            raise TooBusy("too many requests that read from disk are under way")
        self._start_threads()
        job = _Job(work, Future())
        self._jobs.put(job)
        return await asyncio.wrap_future(job.answer, loop=self._aio)

    def close(self) -> None:
        """Begin nothing new, what waits included; a job under way is not waited for."""
        self._closed = True
        with contextlib.suppress(Empty):
            while (job := self._jobs.get_nowait()) is not None:
                job.answer.cancel()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _start_threads(self) -> None:
        """Have all threads, or as many as the host gives; raises TooBusy where that is none."""
        try:
            while self._threads < THREADS:
                threading.Thread(
                    target=_work_off, args=(self._jobs,), name="offload", daemon=True
                ).start()
                self._threads += 1
        except RuntimeError as error:
            if not self._threads:
                raise TooBusy(f"there is no thread to read from disk with: {error}") from error


def _work_off(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        job.do()
        del job  # what it has read would stay until the next one comes
