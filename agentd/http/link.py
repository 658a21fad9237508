"""The way to the daemon: one connection, made anew when it is needed and gone.

Questions that many ask at once are asked once: an answer is shared by all who ask within
its age, so that no number of viewers costs the daemon more than one does.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from time import monotonic
from typing import Any, Final

from agentd.client.aio import ASK_S, NO_ARGS, AsyncClient
from agentd.client.errors import AgentdError

Document = dict[str, Any]
STATUS_S: Final = 3.0
"""A daemon that doesn't tell its status within so long is taken for gone."""
BUSY_S: Final = 0.2
"""So soon a shared question is asked again that the daemon has no room for, until STATUS_S."""
AGE_S_MAX: Final = 0.25
"""A status this old still answers a request; a person doesn't see the difference."""
SHARED_MAX: Final = 64
"""Different questions that are shared at a time."""
LOST_CODES: Final = frozenset({"not_reachable", "timeout"})
BUSY_CODE: Final = "too_busy"


class Link:
    """Asks the daemon; every method raises `AgentdError`, `NotReachable` if nobody is there."""

    def __init__(self, connect: Callable[[], Awaitable[AsyncClient]]) -> None:
        self._connect = connect
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._shared: dict[str, _Shared] = {}

    async def ask(
        self, cmd: str, args: Mapping[str, object] = NO_ARGS, timeout_s: float = ASK_S
    ) -> Document:
        return await (await self._connected()).ask(cmd, args, timeout_s)

    async def change(self, cmd: str, args: Mapping[str, object]) -> Document:
        """Ask for a change; whoever asks for the status after that sees it."""
        try:
            return await self.ask(cmd, args)
        finally:
            self._shared.clear()

    async def status(self, age_s: float | None = None, **args: object) -> Document:
        """Return the status, at most so old; None: AGE_S_MAX."""
        return await self.shared("status", AGE_S_MAX if age_s is None else age_s, args)

    async def shared(self, cmd: str, age_s: float, args: Mapping[str, object]) -> Document:
        """Return an answer that is at most so old; one under way is always shared."""
        if self._client is not None and self._client.closed.is_set():
            self._shared.clear()  # what is gone since has no status, not even a young one
        key = repr((cmd, sorted(args.items())))
        shared = self._shared.get(key)
        if shared is None or not shared.is_good(age_s):
            asking = asyncio.create_task(self._until_there_is_room(cmd, args))
            # Nobody may wait for it any more when it fails.
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
            if len(self._shared) >= SHARED_MAX:
                self._shared.clear()
            self._shared[key] = shared = _Shared(asking)
        return await asyncio.shield(shared.asking)

    async def follow(
        self, cmd: str, args: Mapping[str, object] = NO_ARGS
    ) -> AsyncGenerator[Document]:
        """Yield the lines of a stream; ends with an `AgentdError` only."""
        client = await self._connected()
        async with aclosing(client.follow(cmd, args)) as lines:
            async for line in lines:
                yield line

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _until_there_is_room(self, cmd: str, args: Mapping[str, object]) -> Document:
        """Ask again while the daemon is too busy, but no longer than STATUS_S."""
        ends_s = monotonic() + STATUS_S
        while True:
            try:
                return await self.ask(cmd, args, STATUS_S)
            except AgentdError as error:
                if not is_busy(error) or monotonic() >= ends_s:
                    raise
            await asyncio.sleep(BUSY_S)

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None or self._client.closed.is_set():
                self._client = await self._connect()
        return self._client


class _Shared:
    """One question, for all who ask it while its answer is young."""

    def __init__(self, asking: "asyncio.Task[Document]") -> None:
        self.asking = asking
        self._begun_s = monotonic()

    def is_good(self, age_s: float) -> bool:
        if not self.asking.done():
            return True
        if self.asking.cancelled() or self.asking.exception() is not None:
            return False
        return monotonic() - self._begun_s < age_s


def is_lost(error: AgentdError) -> bool:
    """Whether an error says that the daemon isn't there, or doesn't answer."""
    return error.code in LOST_CODES


def is_busy(error: Exception) -> bool:
    """Whether an error says that the daemon is there, and has no room for this question now."""
    return isinstance(error, AgentdError) and error.code == BUSY_CODE
