"""What all open pages and streams look at: one status a second, every event once.

However many look, the daemon is asked for its status once a second, sooner where an event told
of a change, and not at all while nobody looks. Events are followed on one stream and kept for a
while, so that a page which comes back finds what it has missed.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, TypeVar

from agentd.client.errors import AgentdError
from agentd.http.link import Document, Link, is_busy

log = logging.getLogger("agentd.http")

PERIOD_S: Final = 1.0
"""So often the daemon is asked for what changes without an event: silence, memory, cost."""
GAP_S: Final = 0.4
"""At least so long lies between two questions, however many events there are."""
RETRY_S: Final = 1.0
EVENTS_KEPT: Final = 1_000
INCIDENTS_S: Final = 30.0
"""The open incidents are asked for when something points at a change, and this often anyway."""
INCIDENTS_MAX: Final = 200
TICKING: Final = frozenset(
    {"uptime_s", "silence_s", "expected_silence_s", "cooldown_s", "parked_s", "memory_forecast_s"}
)
"""Fields that grow or shrink with the clock: by themselves they make no change to tell."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What was true at one time. An agent that did not change is the very object it was before."""

    status: Document
    agents: Mapping[str, Document]
    incidents: Sequence[Document]

    def since(self, before: "Moment") -> Document:
        """Return the `status` event of the stream: what is different from a moment before."""
        told: Document = {
            "time": self.status.get("time"),
            "daemon": self.status.get("daemon"),
            "summary": self.status.get("summary"),
            "agents": [
                agent for name, agent in self.agents.items() if before.agents.get(name) is not agent
            ],
            "removed": [name for name in before.agents if name not in self.agents],
        }
        if self.incidents != before.incidents:
            told["incidents"] = list(self.incidents)
        return told

    def whole(self) -> Document:
        """Return the `snapshot` event of the stream."""
        return {**self.status, "incidents": list(self.incidents)}


class Hub:
    """Looks at the daemon for all; `news` is set, and replaced, whenever something is new."""

    def __init__(self, link: Link) -> None:
        self.news = asyncio.Event()
        self.moment: Moment | None = None
        """None until it is known, and while the daemon isn't there."""
        self.is_reachable: bool | None = None
        self.last_seen: str | None = None
        self.why_not = ""
        self.closed = False
        self.viewers = 0
        self.last_id: int | None = None
        self._link = link
        self._made: dict[Hashable, Any] = {}
        self._events: deque[Document] = deque(maxlen=EVENTS_KEPT)
        self._looked_at = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._incidents_at_s: float | None = None

    @contextlib.contextmanager
    def look(self) -> Iterator[None]:
        """Keep looking while inside; whoever comes first waits for what is true now."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._poll()), loop.create_task(self._follow())]
        if not self.viewers:
            self.moment, self.is_reachable = None, None
            self._looked_at.set()
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1
            if not self.viewers:
                self._looked_at.clear()

    async def close(self) -> None:
        """End all streams, and stop looking."""
        self.closed = True
        self._tell()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is made of this moment for the first who asks, and shared by all others."""
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found

    def events_after(self, cursor: int) -> list[Document] | None:
        """Return the events that came after one; None: they aren't all kept here."""
        if self.last_id is None:
            return None
        if cursor >= self.last_id:
            return []
        if not self._events or self._events[0]["id"] > cursor + 1:
            return None
        return [event for event in self._events if event["id"] > cursor]

    async def events_from_daemon(self, cursor: int, limit: int) -> list[Document]:
        page = await self._link.ask("events", {"after": cursor, "limit": limit})
        found: list[Document] = page["events"]
        return found

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()

    # Status.

    async def _poll(self) -> None:
        while True:
            await self._looked_at.wait()
            begun_s = monotonic()
            self._changed.clear()
            try:
                status = await self._link.status(0.0)
                incidents = await self._open_incidents(status)
                self._seen(status, incidents)
            except Exception as error:  # noqa: BLE001 - told, for a page must never stay green
                if not is_busy(error):  # it is there: what was seen stands until the next look
                    self._lost(error)
                await asyncio.sleep(RETRY_S)
                continue
            await asyncio.sleep(begun_s + GAP_S - monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(begun_s + PERIOD_S - monotonic()):
                    await self._changed.wait()

    def _seen(self, status: Document, incidents: Sequence[Document]) -> None:
        old = self.moment.agents if self.moment else {}
        agents = {
            agent["name"]: _same_or_new(old.get(agent["name"]), agent) for agent in status["agents"]
        }
        self.moment = Moment({**status, "agents": status["agents"]}, agents, incidents)
        self._made.clear()
        self.is_reachable = True
        self.last_seen = status.get("time")
        self._tell()

    def _lost(self, error: Exception) -> None:
        if isinstance(error, AgentdError):
            why_not = error.message
        else:
            why_not = f"what agentd answers makes no sense here: {error!r}"
            log.error("%s", why_not, exc_info=error)
        self.is_reachable, self.moment, self.why_not = False, None, why_not
        self._made.clear()
        self._incidents_at_s = None
        self._tell()

    async def _open_incidents(self, status: Document) -> Sequence[Document]:
        known = self.moment.incidents if self.moment else ()
        shown = {agent.get("open_incident") for agent in status["agents"]} - {None}
        young = self._incidents_at_s is not None and (
            monotonic() - self._incidents_at_s < INCIDENTS_S
        )
        if young and shown <= {one["id"] for one in known}:
            return known
        answer = await self._link.ask("incidents", {"open": True, "limit": INCIDENTS_MAX})
        self._incidents_at_s = monotonic()
        found: list[Document] = answer["incidents"]
        return known if found == known else found

    # Events.

    async def _follow(self) -> None:
        """Follow events from now on; one stream as long as there is a connection."""
        while True:
            await self._looked_at.wait()
            try:
                await self._follow_once()
            except AgentdError:
                pass  # `_poll` tells of it
            except Exception:
                log.exception("events could not be followed; trying again")
            await asyncio.sleep(RETRY_S)

    async def _follow_once(self) -> None:
        newest = await self._link.ask("events", {"limit": 1})
        if self.last_id is None or newest["last_id"] < self.last_id:
            self._events.clear()  # the first look, or another journal than before
            self.last_id = newest["last_id"]
        async with contextlib.aclosing(
            self._link.follow("events", {"after": self.last_id})
        ) as all_:
            async for line in all_:
                if "event" in line:
                    self._take_event(line["event"])

    def _take_event(self, event: Document) -> None:
        if self.last_id is not None and event["id"] <= self.last_id:
            return
        self._events.append(event)
        self.last_id = event["id"]
        if str(event.get("event", "")).startswith("incident."):
            self._incidents_at_s = None
        self._changed.set()
        self._tell()


def _same_or_new(old: Document | None, new: Document) -> Document:
    """Return the old document if nothing but the clock has moved in the new one."""
    if old is None or old.keys() != new.keys():
        return new
    for key, value in new.items():
        if key not in TICKING and value != old[key] and _still(value) != _still(old[key]):
            return new
    return old


def _still(value: Any) -> Any:  # noqa: ANN401 - any value of a JSON document
    """Return a value without what ticks in it: the ages in `open_call` and `unfinished`."""
    if isinstance(value, list):
        return [_still(each) for each in value]
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if not key.endswith("_s")}
    return value
