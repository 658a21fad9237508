"""Followers of events: from the store up to now, then live, each event once and none left out.

A follower has a cursor, the id of the last event it was sent. While it catches up from the
store, live events wait in a bounded queue; if that overflows, the queue is thrown away and
the store is read once more from the cursor. Nothing is shown that is not durable.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Final, Protocol

FOLLOWERS_MAX: Final = 16
PAGE: Final = 200
PENDING_MAX: Final = 1_000

Event = Mapping[str, object]


class TooMany(Exception):  # noqa: N818 - named after what the user is told
    """There are as many followers as there may be."""


class Stream(Protocol):
    """The connection that a follower reads from."""

    @property
    def closed(self) -> bool: ...

    def emit(self, payload: Mapping[str, object]) -> None:
        """Send one line of the stream; a reader that is too slow is cut off."""
        ...

    async def drained(self) -> None:
        """Wait until there is room again, or the reader is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a follower asked for; empty means all."""

    agents: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    after: int | None = None
    since_ms: int | None = None
    limit: int | None = None

    def fits(self, event: Event) -> bool:
        agent, kind = event.get("agent"), str(event.get("event"))
        if self.agents and not any(fnmatchcase(str(agent), one) for one in self.agents):
            return False
        return not self.types or any(fnmatchcase(kind, one) for one in self.types)


class History(Protocol):
    """The store, as far as followers read it; both may raise what the disk raises."""

    async def page(self, wanted: Wanted) -> Sequence[Event]:
        """Read events in rising order: the first after the cursor, else the last of all."""
        ...

    async def last_id(self) -> int: ...


@dataclass(slots=True, eq=False)
class _Follower:
    stream: Stream
    wanted: Wanted
    cursor: int = 0
    live: bool = False
    missed: bool = False
    pending: deque[Event] = field(default_factory=deque)

    def send(self, events: Iterable[Event]) -> None:
        """Send what is newer than the cursor and asked for."""
        for event in events:
            number = event["id"]
            assert isinstance(number, int)
            if number > self.cursor:
                self.cursor = number
                if self.wanted.fits(event):
                    self.stream.emit({"event": event})

    def offer(self, events: Sequence[Event]) -> None:
        """Take events that have just become durable: sent at once, or kept while behind."""
        if self.live:
            self.send(events)
            return
        self.pending.extend(events)
        if len(self.pending) > PENDING_MAX:
            self.pending.clear()
            self.missed = True

    async def catch_up(self, history: History) -> None:
        """Read the store up to now, page by page, then go live."""
        await self._begin(history)
        while not self.stream.closed:
            self.missed = False
            page = await history.page(replace(self.wanted, after=self.cursor, limit=PAGE))
            self.send(page)
            await self.stream.drained()
            if len(page) < PAGE and not self.missed:
                break
        self.send(self.pending)
        self.pending.clear()
        self.live = True

    async def _begin(self, history: History) -> None:
        """Find where to start: a cursor, a time, the last few, or now."""
        wanted = self.wanted
        if wanted.after is not None:
            self.cursor = wanted.after
        elif wanted.since_ms is None:
            last_id = await history.last_id()
            if wanted.limit:
                self.send(await history.page(wanted))
            self.cursor = max(self.cursor, last_id)


class Followers:
    """All followers of events of this daemon, at most FOLLOWERS_MAX."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._all: set[_Follower] = set()

    def __len__(self) -> int:
        return len(self._all)

    def publish(self, events: Sequence[Event]) -> None:
        """Hand durable events, in the order of their ids, to all who follow."""
        for follower in list(self._all):
            if follower.stream.closed:
                self._all.discard(follower)
            else:
                follower.offer(events)

    async def follow(self, stream: Stream, wanted: Wanted) -> None:
        """Serve a follower from its cursor on; returns once it is live. Raises `TooMany`."""
        self._all = {one for one in self._all if not one.stream.closed}
        if len(self._all) >= FOLLOWERS_MAX:
            raise TooMany(f"{FOLLOWERS_MAX} others follow already")
        follower = _Follower(stream, wanted)
        self._all.add(follower)
        try:
            await follower.catch_up(self._history)
        except BaseException:
            self._all.discard(follower)
            raise
