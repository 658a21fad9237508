"""Followers of events: from the store to live, each event once, in the order of its id."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from agentd.daemon import followers as module
from agentd.daemon.followers import Event, Followers, TooMany, Wanted


class Stored:
    """A history whose pages are read only when the test lets them."""

    def __init__(self, count: int) -> None:
        self.events: list[Event] = []
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.grow(count)

    def grow(self, count: int = 1) -> list[Event]:
        first = len(self.events) + 1
        more = [event(number) for number in range(first, first + count)]
        self.events += more
        return more

    async def page(self, wanted: Wanted) -> Sequence[Event]:
        self.reads += 1
        if wanted.after is None:
            found = self.events[-(wanted.limit or 0) :]
        else:
            found = self.events[wanted.after :][: wanted.limit]
        await self.gate.wait()
        return found

    async def last_id(self) -> int:
        return len(self.events)


def event(number: int) -> Event:
    return {"id": number, "event": "agent.ready", "agent": "a" if number % 2 else "b"}


class Sink:
    """Whoever reads the stream."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.closed = False

    def emit(self, payload: Mapping[str, object]) -> None:
        shown = payload["event"]
        assert isinstance(shown, dict)
        self.ids.append(shown["id"])

    async def drained(self) -> None:
        await asyncio.sleep(0)


async def test_k11_history_and_what_happens_meanwhile_come_once_and_in_order() -> None:
    stored, sink = Stored(500), Sink()
    followers = Followers(stored)
    stored.gate.clear()
    following = asyncio.create_task(followers.follow(sink, Wanted(after=100)))
    await asyncio.sleep(0)
    followers.publish(stored.grow(3))
    stored.gate.set()
    await following
    followers.publish(stored.grow(2))
    assert sink.ids == list(range(101, 506))


async def test_a_follower_that_falls_behind_the_live_queue_reads_the_store_again() -> None:
    stored, sink = Stored(10), Sink()
    followers = Followers(stored)
    stored.gate.clear()
    following = asyncio.create_task(followers.follow(sink, Wanted(after=0)))
    await asyncio.sleep(0)
    followers.publish(stored.grow(module.PENDING_MAX + 1))
    stored.gate.set()
    await following
    assert sink.ids == list(range(1, 10 + module.PENDING_MAX + 2))


async def test_without_a_cursor_it_begins_now_or_with_the_last_few() -> None:
    stored, now, few = Stored(50), Sink(), Sink()
    followers = Followers(stored)
    await followers.follow(now, Wanted())
    await followers.follow(few, Wanted(limit=2))
    followers.publish(stored.grow(1))
    assert (now.ids, few.ids) == ([51], [49, 50, 51])


async def test_only_what_was_asked_for_is_sent() -> None:
    stored, sink = Stored(0), Sink()
    followers = Followers(stored)
    await followers.follow(sink, Wanted(agents=("a",), types=("agent.*",)))
    followers.publish(stored.grow(4))
    assert sink.ids == [1, 3]


async def test_there_are_only_so_many_and_those_that_leave_make_room() -> None:
    stored = Stored(0)
    followers = Followers(stored)
    sinks = [Sink() for _ in range(module.FOLLOWERS_MAX)]
    for sink in sinks:
        await followers.follow(sink, Wanted())
    with pytest.raises(TooMany):
        await followers.follow(Sink(), Wanted())
    sinks[3].closed = True
    await followers.follow(Sink(), Wanted())
    followers.publish(stored.grow(1))
    assert [len(sink.ids) for sink in sinks] == [1, 1, 1, 0, *[1] * (module.FOLLOWERS_MAX - 4)]
