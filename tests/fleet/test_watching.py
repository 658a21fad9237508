"""Watching others over connections that come and go: without a server, or with one."""

import asyncio
from collections.abc import Iterator

import pytest

from agentd.fleet import jetstream, streams, tasks
from agentd.fleet.connection import Connection, Message
from agentd.fleet.encoding import pack
from agentd.fleet.jetstream import Entry
from agentd.fleet.log import Log
from agentd.fleet.others import Others
from agentd.fleet.presence import Presences
from agentd.fleet.settings import FleetSettings
from agentd.fleet.watching import Watcher, _Loss
from tests.fleet.conftest import Start
from tests.fleet.stand_ins import until

SETTINGS = FleetSettings(("nats://h",), "me", ttl_ms=1_000)


class Servers:
    """What the servers would answer; `hold` has questions wait, `asked` counts them."""

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.asked = 0
        self.claim: Entry | None = None

    async def listen(self, *_: object) -> None:
        """Stand in for a connection, on which nothing comes."""

    async def last(self, *_: object) -> Entry | None:
        self.asked += 1
        await self.hold.wait()
        return self.claim

    async def store(self, *_: object, **__: object) -> int:
        self.asked += 1
        await self.hold.wait()
        return 7

    async def subjects(self, *_: object) -> list[str]:
        return []


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    made = Servers()
    for name in ("last", "store", "subjects"):
        monkeypatch.setattr(jetstream, name, getattr(made, name))
    return made


@pytest.fixture
def watcher() -> Watcher:
    others = Others("me", Presences(SETTINGS.ttl_ms))
    return Watcher(SETTINGS, others, Log(), lambda: None)


def lose(watcher: Watcher, name: str) -> None:
    """Have a host lost whose loss another has claimed, and it is time to look again."""
    watcher._others.presences.heard(name, "before", 1, 0)
    watcher._others.presences.lose(name)
    watcher._others.lost(name, [], announce=False)
    watcher._losses[name] = _Loss("before", look_ms=0)


def come_back(watcher: Watcher, name: str) -> None:
    alive = {"host": name, "presence": "after", "count": 1}
    watcher._hear_alive(Message(SETTINGS.alive_subject(name), pack(alive)))


async def test_a_host_that_is_back_when_its_turn_comes_ends_nothing(
    watcher: Watcher, servers: Servers
) -> None:
    for number in range(tasks.AT_ONCE + 1):
        lose(watcher, f"host-{number}")
    watching = asyncio.ensure_future(watcher.run(servers))  # type: ignore[arg-type]
    await until(lambda: servers.asked == tasks.AT_ONCE)
    come_back(watcher, f"host-{tasks.AT_ONCE}")
    servers.hold.set()
    await until(
        lambda: watching.done() or all(one.look_ms is None for one in watcher._losses.values())
    )
    assert not watching.done()
    watching.cancel()


async def test_a_host_that_is_back_while_its_loss_is_taken_over_is_not_announced(
    watcher: Watcher, servers: Servers
) -> None:
    lose(watcher, "a")
    servers.claim = Entry(1, SETTINGS.claim_subject("a", "before"), pack({"host": "a", "by": "b"}))
    looking = asyncio.ensure_future(watcher._look_again(servers, "a"))  # type: ignore[arg-type]
    await until(lambda: servers.asked)
    come_back(watcher, "a")
    servers.hold.set()
    await looking
    assert watcher._others.announced == set()


async def test_former_presences_are_few_however_often_it_connects(
    watcher: Watcher, servers: Servers
) -> None:
    for number in range(100):
        await watcher.begin(servers, f"p{number}")  # type: ignore[arg-type]
    assert len(watcher._former) <= 8
    assert "p98" in watcher._former


async def test_a_lost_host_that_somebody_has_removed_is_forgotten_with_the_next_connection(
    start: Start,
) -> None:
    one, two = await asyncio.gather(start("one"), start("two"))
    await until(lambda: "two" in one.daemon.view())
    await two.stop()
    await until(lambda: one.daemon.view()["two"]["state"] == "lost")
    operator = await Connection.connect(one.settings)
    assert await streams.forget(operator, one.settings, "two")
    await operator.close()
    connection = one.link._connection
    assert connection is not None
    await connection.close()
    await until(lambda: one.daemon.is_connected and not one.daemon.told[-1]["hosts"])
    assert "two" not in one.link._watcher._losses
    # It isn't gone for good after all.
    await two.start()
    await until(lambda: one.daemon.view()["two"]["state"] == "up")


async def test_a_connection_that_ends_while_the_daemon_answers_takes_no_status_with_it(
    start: Start,
) -> None:
    await start("one")
    two = await start("two")
    await until(lambda: two.daemon.is_connected)
    two.daemon.hold_told = asyncio.Event()
    held = len(two.daemon.told)
    await until(lambda: len(two.daemon.told) > held)
    assert two.daemon.is_connected
    before = two.link._connection
    assert before is not None
    await before.close()
    await until(lambda: two.link._connection not in {before, None})
    two.daemon.reply = {**two.daemon.reply, "depends_on": ["one/a"]}
    two.daemon.hold_told.set()
    await until(lambda: two.daemon.view()["one"]["agents"])
