"""Work that may wait for a disk or burn CPU, done in a few threads of our own.

Never asyncio's default executor: one hung name lookup there would starve everything else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

Result = TypeVar("Result")

THREADS: Final = 2

# Beyond this many jobs the asker is told to come back later.
WAITING_MAX: Final = 64


class TooBusy(Exception):  # noqa: N818 - named after the code that the user sees
    """Too much of this is under way already."""


class Offload:
    """A small pool; what comes of a job is handed back on the loop."""

    def __init__(self, aio: asyncio.AbstractEventLoop) -> None:
        self._aio = aio
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do `work` in a thread and return what it returns; raise what it raises, or TooBusy."""
        if self._waiting >= WAITING_MAX:
            raise TooBusy("too many requests that read from disk are under way")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="offload")
        self._waiting += 1
        try:
            try:
                result = self._aio.run_in_executor(self._pool, partial(work))
            except RuntimeError as error:
                raise TooBusy(f"there is no thread to read from disk with: {error}") from error
            return await result
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Begin nothing new; a job under way is not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
