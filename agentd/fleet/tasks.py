"""Several things at once: some of many at a time, and their end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

AT_ONCE: Final = 64
"""Requests of one kind under way at a time."""
_AGAIN_S: Final = 0.5


async def each(names: Iterable[str], do: Callable[[str], Awaitable[Any]]) -> None:
    """Do something for each name, some at a time; the first error ends it."""
    waiting = iter(names)

    async def work() -> None:
        for name in waiting:
            await do(name)

    workers = [asyncio.ensure_future(work()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()


async def cancel_all(tasks: Sequence["asyncio.Future[None]"]) -> list[BaseException | None]:
    """Cancel tasks until they have ended, and return how each of them did.

    Once may not be enough: in Python 3.11 `asyncio.wait_for` forgets a cancellation that comes
    in the same moment as what it waits for.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
    return await asyncio.gather(*tasks, return_exceptions=True)
