"""What the fleet knows: its hosts as they are now, and the events of all of them."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from agentd.cli.remote.answers import Answer, refused
from agentd.cli.remote.hosts import Host
from agentd.cli.remote.nats import CONNECT_S, Fleet
from agentd.cli.remote.words import Asked
from agentd.client import AgentdError, NotReachable

if TYPE_CHECKING:
    from agentd.fleet.connection import Connection
    from agentd.fleet.settings import FleetSettings

Document = dict[str, Any]

AT_ONCE_MAX: Final = 64
RETRY_S: Final = 1.0
SEEN_MAX: Final = 20_000
"""Events remembered, so that what a page brings again after a gap isn't shown twice."""
MAKE: Final = "once, as an operator: python -m agentd.fleet --create --config agentd.toml"
GAP_EVENTS_MAX: Final = 1_000
"""So many events of a time without a connection are caught up with."""


async def hosts_of_fleet(settings: "FleetSettings", timeout_s: float) -> list[Document]:
    """Return all hosts, once the view of them is complete; `NotReachable` if it is not in time."""
    from agentd.fleet.connection import Connection  # noqa: PLC0415 - imports nats
    from agentd.fleet.view import FleetView  # noqa: PLC0415 - as above

    # The view connects again and again; a person wants to know at once why it doesn't.
    await (await Connection.connect(settings)).close()
    async with FleetView(settings) as view:
        try:
            await asyncio.wait_for(view.ready.wait(), timeout_s)
        except TimeoutError:
            why = view.error or "no answer"
            hint = MAKE if "not found" in why else ""
            told = f"no view of the fleet within {timeout_s:.3g}s: {why}"
            raise NotReachable(told, hint) from None
        return view.hosts()


async def event_page(fleet: Fleet, limit: int, hosts: Sequence[str]) -> list[Document]:
    """Return the newest events of all hosts, or of some, the oldest first."""
    from agentd.fleet.connection import Connection  # noqa: PLC0415 - imports nats
    from agentd.fleet.events import EventReader  # noqa: PLC0415 - as above

    connection = await Connection.connect(fleet.settings)
    try:
        return await EventReader(connection, fleet.settings).page(limit=limit, hosts=hosts)
    finally:
        await connection.close()


class EventFollower:
    """Shows what comes, each event once, over gaps of the connection.

    `lost` hears of each connection that ended, and why. Up to `GAP_EVENTS_MAX` events of a gap
    are shown when it is over.
    """

    def __init__(
        self,
        settings: "FleetSettings",
        hosts: Sequence[str],
        show: Callable[[Document], None],
        lost: Callable[[AgentdError], None],
    ) -> None:
        self._settings = settings
        self._hosts = hosts
        self._show = show
        self._lost = lost
        self._order: deque[tuple[object, ...]] = deque()
        self._seen: set[tuple[object, ...]] = set()

    async def run(self, limit: int) -> None:
        """Show the last `limit` events, and go on; raises if nobody is there at first."""
        from agentd.fleet.connection import Connection  # noqa: PLC0415 - imports nats

        connection = await Connection.connect(self._settings)
        while True:
            try:
                await self._listen(connection, limit)
            except AgentdError as error:
                if error.code == "forbidden":
                    raise
                self._lost(error)
            finally:
                await connection.close()
            limit = GAP_EVENTS_MAX
            connection = await self._again()

    async def _again(self) -> "Connection":
        from agentd.fleet.connection import Connection  # noqa: PLC0415 - imports nats

        while True:
            await asyncio.sleep(RETRY_S)
            try:
                return await Connection.connect(self._settings)
            except AgentdError as error:
                if error.code == "forbidden":
                    raise

    async def _listen(self, connection: "Connection", limit: int) -> None:
        from agentd.fleet.events import EventReader  # noqa: PLC0415 - imports nats

        # Listening begins before the page is read, so that nothing falls between them.
        coming = EventReader(connection, self._settings).follow(hosts=self._hosts)
        first = asyncio.ensure_future(anext(coming))
        try:
            await asyncio.sleep(0)
            reader = EventReader(connection, self._settings)
            for event in await reader.page(limit=limit, hosts=self._hosts):
                self._once(event)
            self._once(await first)
            async for event in coming:
                self._once(event)
        finally:
            first.cancel()

    def _once(self, event: Document) -> None:
        key = (event.get("host"), event.get("id"), event.get("time"))
        if key in self._seen:
            return
        self._seen.add(key)
        self._order.append(key)
        if len(self._order) > SEEN_MAX:
            self._seen.discard(self._order.popleft())
        self._show(event)


def carried_out(
    fleet: Fleet, asked: Sequence[tuple[Host, Asked]], limited_s: float, left_s: float | None
) -> list[Answer]:
    """Carry a command out on all hosts at once, on each with its own parameters."""

    def one(pair: tuple[Host, Asked]) -> Answer:
        host, what = pair
        try:
            return fleet.carried_out(what, host, limited_s, left_s)
        except Exception as error:  # noqa: BLE001 - it is this host's row; the others are shown
            return refused(host.label, error)

    with ThreadPoolExecutor(min(max(len(asked), 1), AT_ONCE_MAX)) as pool:
        try:
            return list(pool.map(one, asked))
        except BaseException:  # Ctrl-C: the pool would wait for every answer
            fleet.end()
            raise


def view_of_fleet(fleet: Fleet, timeout_s: float | None) -> list[Document]:
    """Return all hosts; raises `AgentdError` where there is no view of them in time."""
    return fleet.run(hosts_of_fleet(fleet.settings, timeout_s or CONNECT_S))
