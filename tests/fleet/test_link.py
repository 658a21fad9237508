"""The link on a stand-in for its daemon, with a real NATS server."""

import asyncio
import json
import logging
from pathlib import Path

import pytest

from agentd.client.errors import AgentdError
from agentd.fleet import jetstream
from agentd.fleet.connection import Connection
from agentd.fleet.encoding import pack, unpack
from agentd.fleet.events import EventReader
from agentd.fleet.settings import FleetSettings
from agentd.fleet.view import FleetView
from tests.fleet.conftest import TTL_MS, Start
from tests.fleet.server import NatsServer
from tests.fleet.stand_ins import Running, StandIn, until


async def stored(server: NatsServer, host: str) -> list[int]:
    """Return the ids of a host's events as the stream has them, twice if it has them twice."""
    settings = FleetSettings((server.url,), host)
    connection = await Connection.connect(settings)
    try:
        state = (await jetstream.info(connection, settings.events_stream))["state"]
        entries = [
            await jetstream.at(connection, settings.events_stream, seq)
            for seq in range(1, state["last_seq"] + 1)
        ]
    finally:
        await connection.close()
    events = [unpack(entry.data) for entry in entries if entry is not None]
    return [event["id"] for event in events if event["host"] == host]


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def written(link: Running) -> int:
    """Return the last event that a link has written down as stored."""
    return int(json.loads((link._directory / "events.json").read_text())["last_id"])


async def test_all_hosts_are_in_one_view(start: Start) -> None:
    one, two = await asyncio.gather(start("one"), start("two"))
    async with FleetView(one.settings) as view:
        await until(lambda: [row["status"] is not None for row in view.hosts()] == [True, True])
        assert [(row["host"], row["state"], row["error"]) for row in view.hosts()] == [
            ("one", "up", None),
            ("two", "up", None),
        ]
        assert view.hosts()[0]["status"]["host"] == "one"
        two.daemon.states["a"] = "escalated"
        await two.daemon.happen()
        await until(
            lambda: view.hosts()[1]["status"]["agents"][0]["state"] == "escalated",
        )
        assert view.refused == 0


async def test_a_status_that_stays_the_same_stays_in_the_view(start: Start) -> None:
    one = await start("one")
    connection = await Connection.connect(one.settings)
    subject = one.settings.status_subject("one")
    seen = set()
    try:
        for _ in range(2 * TTL_MS // 100):
            await asyncio.sleep(0.1)
            entry = await jetstream.last(connection, one.settings.status_stream, subject)
            assert entry is not None, "the bucket has forgotten a host that is there"
            seen.add(entry.seq)
    finally:
        await connection.close()
    # Twice in a TTL at the most, and no more: an unchanged status costs next to nothing.
    assert len(seen) <= 6


async def test_a_status_that_no_longer_comes_is_said_to_be_old(start: Start) -> None:
    one = await start("one")
    async with FleetView(one.settings) as view:
        await until(lambda: [row["error"] for row in view.hosts()] == [None])
        one.daemon.is_stuck = True
        await until(lambda: "gives no status" in str(view.hosts()[0]["error"]))
        assert view.hosts()[0]["state"] == "up"


async def test_exactly_one_announces_a_loss(start: Start) -> None:
    links = await asyncio.gather(*(start(name) for name in ("one", "two", "three", "four")))
    lost, *rest = links
    await until(lambda: all(len(one.daemon.view()) == 3 for one in links))
    await lost.stop()
    await until(lambda: all(one.daemon.view()["one"]["state"] == "lost" for one in rest))
    rows = [one.daemon.view()["one"] for one in rest]
    assert sorted(row["announce"] for row in rows) == [False, False, True]
    agents = [row["agents"] for row in rows if row["announce"]]
    assert agents == [[{"name": "a"}, {"name": "b"}]], "for the alert"
    await lost.start()
    await until(lambda: all(one.daemon.view()["one"]["state"] == "up" for one in rest))
    # Lost a second time is another loss, with an announcement of its own.
    await lost.stop()
    await until(lambda: all(one.daemon.view()["one"]["state"] == "lost" for one in rest))
    await until(lambda: sum(one.daemon.view()["one"]["announce"] for one in rest) == 1)


async def test_an_announcement_that_never_reached_a_daemon_is_taken_over(start: Start) -> None:
    one, two = await asyncio.gather(start("one"), start("two"))
    await until(lambda: "one" in two.daemon.view())
    connection = await Connection.connect(one.settings)
    alive = await jetstream.last(
        connection, one.settings.status_stream, one.settings.alive_subject("one")
    )
    assert alive is not None
    presence = str(unpack(alive.data)["presence"])
    # As of a third host that made its claim, and died before it had told its daemon.
    await jetstream.store(
        connection,
        one.settings.claim_subject("one", presence),
        pack({"host": "one", "by": "three"}),
    )
    await connection.close()
    await one.stop()
    await until(lambda: two.daemon.view()["one"]["state"] == "lost")
    assert not two.daemon.view()["one"]["announce"]
    await until(lambda: two.daemon.view()["one"]["announce"])


async def test_a_server_that_was_away_loses_nothing_and_nobody(
    start: Start, server: NatsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    one, two = await asyncio.gather(start("one"), start("two"))
    await one.daemon.happen(40)
    await until(lambda: one.daemon.is_connected and two.daemon.is_connected)
    server.kill()
    await one.daemon.happen(300)
    await until(lambda: not one.daemon.is_connected and not two.daemon.is_connected)
    await asyncio.sleep(TTL_MS / 1000 * 1.5)
    await one.daemon.happen(5)
    server.start()
    await until(lambda: one.daemon.is_connected and two.daemon.is_connected)
    await until(lambda: written(one) == 345)
    assert await stored(server, "one") == list(range(1, 346))
    told = [
        row for link in (one, two) for one_told in link.daemon.told for row in one_told["hosts"]
    ]
    assert {row["state"] for row in told} == {"up"}, "who is cut off believes nobody lost"
    # Not a line for each attempt, but when it was lost and when it was back.
    assert len(capfd.readouterr().err.splitlines()) < 20


async def test_a_link_that_was_killed_goes_on_where_it_was(
    start: Start, server: NatsServer
) -> None:
    one = await start("one")
    await one.daemon.happen(500)
    await until(lambda: written(one))
    await one.stop()  # somewhere within
    await one.daemon.happen(20)
    await one.start()
    await until(lambda: written(one) == 520)
    assert await stored(server, "one") == list(range(1, 521))


async def test_events_that_are_numbered_anew_are_others(start: Start, server: NatsServer) -> None:
    one = await start("one")
    await one.daemon.happen(3)
    await until(lambda: written(one) == 3)
    await one.stop()
    one.daemon.events.clear()
    await one.daemon.happen(2)
    await one.start()
    await until(lambda: written(one) == 2)
    assert await stored(server, "one") == [1, 2, 3, 1, 2]
    connection = await Connection.connect(one.settings)
    page = await EventReader(connection, one.settings).page()
    assert [event["id"] for event in page] == [1, 2, 3, 1, 2]
    assert "epoch" not in page[0]
    await connection.close()


async def test_events_sent_twice_are_read_once(start: Start) -> None:
    one = await start("one")
    connection = await Connection.connect(one.settings)
    event = {"id": 7, "host": "one", "event": "agent.ready", "epoch": "e", "data": {}}
    for message_id in ("first", "and again, when nobody remembered"):
        await jetstream.store(
            connection, one.settings.event_subject("one"), pack(event), message_id=message_id
        )
    forged = {**event, "id": 8, "host": "two"}
    await jetstream.store(connection, one.settings.event_subject("one"), pack(forged))
    reader = EventReader(connection, one.settings)
    assert [event["id"] for event in await reader.page()] == [7]
    assert reader.refused == 1
    await connection.close()


async def test_followed_events_come_as_they_happen(start: Start) -> None:
    one = await start("one")
    connection = await Connection.connect(one.settings)
    following = EventReader(connection, one.settings).follow(hosts=["one"])
    first = asyncio.ensure_future(anext(following))
    while not first.done():  # until it listens
        await one.daemon.happen(data={"log_tail": ["password"], "kept": 1})
        await asyncio.wait({first}, timeout=0.2)
    event = first.result()
    assert event["host"] == "one"
    assert event["data"] == {"kept": 1}, "viewers read this stream"
    await connection.close()
    with pytest.raises(AgentdError):
        await anext(following)


async def test_a_forged_document_is_refused_and_counted(start: Start) -> None:
    one = await start("one")
    connection, settings = await Connection.connect(one.settings), one.settings
    genuine = await jetstream.last(
        connection, settings.status_stream, settings.alive_subject("one")
    )
    assert genuine is not None
    async with FleetView(settings) as view:
        await view.ready.wait()
        forged = {"host": "ghost", "presence": "p", "count": 1}
        for subject, data in (
            (settings.alive_subject("one"), pack(forged)),
            (settings.alive_subject("one"), genuine.data),
            (settings.alive_subject("one"), genuine.data),  # sent again
            (settings.alive_subject("two"), b"\x00\xff"),
            (settings.alive_subject("two"), b"[" * 5000),
            (settings.status_subject("one"), pack({"host": "two", "agents": [], "summary": {}})),
            (settings.status_subject("one"), pack({"host": "one", "agents": "all"})),
            (settings.status_subject("bad.name"), pack({"host": "bad.name"})),
        ):
            await connection.publish(subject, data)
        await until(lambda: view.refused >= 6)
        await until(lambda: one.link._watcher.refused >= 3)
        assert [row["host"] for row in view.hosts()] == ["one"]
    await connection.close()


async def test_a_dependency_on_another_host_is_told_of(start: Start) -> None:
    one = await start("one")
    two = await start("two")
    two.daemon.reply = {**two.daemon.reply, "depends_on": ["one/a"]}
    await until(lambda: two.daemon.view()["one"]["agents"])
    row = two.daemon.view()["one"]["agents"][0]
    assert row == {"name": "a", "ready": True, "reason": None}
    one.daemon.states["a"] = "escalated"
    await one.daemon.happen()
    await until(lambda: not two.daemon.view()["one"]["agents"][0]["ready"])


async def test_spending_and_breakers_of_others_are_told(start: Start) -> None:
    one, two, three = await asyncio.gather(start("one"), start("two"), start("three"))
    # The name is an agent's choice: on the socket any will do.
    open_here = {"name": "payments API (EU)\n", "state": "open"}
    one.daemon.reply = {**one.daemon.reply, "breakers": [open_here]}
    two.daemon.reply = {**two.daemon.reply, "spent_usd_day": {"date": "2026-11-20", "own": 9.0}}
    await until(lambda: three.daemon.told[-1]["breakers"] == [{"host": "one", **open_here}])
    # Two's day is another one: what it spent there is not of this day.
    await until(
        lambda: (
            three.daemon.told[-1].get("spent_usd_day")
            == {"date": "2026-11-21", "others": 1.0, "hosts": 3}
        )
    )


async def test_what_a_lost_host_has_spent_is_not_forgotten(start: Start) -> None:
    one, two = await asyncio.gather(start("one"), start("two"))
    spent = {"date": "2026-11-21", "others": 1.0, "hosts": 2}
    await until(lambda: two.daemon.told[-1].get("spent_usd_day") == spent)
    await until(lambda: '"one"' in read(two._directory / "spent.json"))
    await asyncio.gather(one.stop(), two.stop())
    two.daemon.told.clear()
    await two.start()
    await until(lambda: two.daemon.is_connected)
    assert next(told["spent_usd_day"] for told in two.daemon.told if told["connected"]) == spent


async def test_two_machines_of_one_name_are_noticed(
    start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = await start("one")
    twin = Running(one.settings, tmp_path / "twin", StandIn("one"))
    await twin.start()
    told = []

    def noticed() -> bool:
        told.append(capfd.readouterr().err)
        return "fleet.name_taken host=one" in "".join(told)

    await until(noticed)
    await twin.stop()


async def test_the_link_ends_with_its_daemon(start: Start) -> None:
    one = await start("one")
    one.daemon.closed.set()
    assert one._task is not None
    await asyncio.wait_for(asyncio.shield(one._task), 10)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("nats").setLevel(logging.CRITICAL)
