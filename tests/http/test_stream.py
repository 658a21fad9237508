"""The stream: true at once, each event once, honest about a daemon that is gone, bounded."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.types import Message

from agentd.client.errors import AgentdError
from agentd.http import guard, hub, stream
from agentd.http.hub import Hub
from agentd.http.link import Link
from tests.cli.stub import agent
from tests.http.site import TOKEN, Document, FakeDaemon, Site, bearer

WAIT_S = 10.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of a person is a tenth of one here; a request is never older than that."""
    monkeypatch.setattr(hub, "PERIOD_S", 0.1)
    monkeypatch.setattr(hub, "GAP_S", 0.04)
    monkeypatch.setattr(hub, "RETRY_S", 0.05)
    monkeypatch.setattr("agentd.http.link.AGE_S_MAX", 0.0)


@dataclass
class Told:
    """One message of the stream."""

    event: str
    data: Any
    id: int | None


class Reader:
    """A client of the stream that can be slow, or go away."""

    def __init__(self, site: Site, path: str, headers: dict[str, str]) -> None:
        self.chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self.status = asyncio.get_running_loop().create_future()
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = asyncio.Event()
        self.aborted = asyncio.Event()
        scope = site.scope("GET", path, headers)
        scope[guard.ABORT] = self.aborted.set
        self.serving = asyncio.create_task(site.app(scope, self._receive, self._take))
        self._left = b""

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _take(self, message: Message) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status.set_result(message["status"])
        else:
            self.chunks.put_nowait(message.get("body", b""))

    async def next(self, event: str = "") -> Told:
        """Return the next message, of one kind where asked."""
        async with asyncio.timeout(WAIT_S):
            while True:
                while b"\n\n" not in self._left:
                    self._left += await self.chunks.get()
                raw, _, self._left = self._left.partition(b"\n\n")
                told = _parsed(raw.decode())
                if told is not None and event in {"", told.event}:
                    return told

    async def until(self, event: str, fits: Callable[[Any], bool]) -> Told:
        while not fits((told := await self.next(event)).data):
            pass
        return told

    async def leave(self) -> None:
        self.gone.set()
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait([self.serving])


def _parsed(raw: str) -> Told | None:
    fields = dict(line.partition(": ")[::2] for line in raw.split("\n") if not line.startswith(":"))
    if "data" not in fields:
        return None
    number = int(fields["id"]) if "id" in fields else None
    return Told(fields["event"], json.loads(fields["data"]), number)


Open = Callable[..., Reader]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site(token=TOKEN)
    yield made
    await made.hub.close()


@pytest.fixture
async def read(site: Site) -> AsyncIterator[Open]:
    readers: list[Reader] = []

    def opened(path: str = "/api/v1/stream", **headers: str) -> Reader:
        readers.append(Reader(site, path, {**bearer(), **headers}))
        return readers[-1]

    yield opened
    for reader in readers:
        reader.reads.set()
        await reader.leave()


async def test_first_comes_the_whole_then_what_changes(site: Site, read: Open) -> None:
    site.daemon.incidents = [{"id": 3, "open": True}]
    reader = read()
    first = await reader.next()
    assert first.event == "snapshot"
    assert [one["name"] for one in first.data["agents"]] == ["order-processor", "researcher"]
    assert first.data["incidents"] == site.daemon.incidents
    site.daemon.agents[1] = {**site.daemon.agents[1], "health": "killed"}
    told = await reader.until("status", lambda data: data["agents"])
    assert [(one["name"], one["health"]) for one in told.data["agents"]] == [
        ("researcher", "killed")
    ]
    assert "incidents" not in told.data
    del site.daemon.agents[0]
    told = await reader.until("status", lambda data: data["removed"])
    assert told.data["removed"] == ["order-processor"]


async def test_time_alone_changes_no_agent(site: Site, read: Open) -> None:
    reader = read()
    await reader.next("snapshot")
    call = {"op": "chat", "age_s": 9.0}
    site.daemon.agents[0] = {**site.daemon.agents[0], "open_call": call}
    await reader.until("status", lambda data: data["agents"])
    ticked = {"silence_s": 99.0, "uptime_s": 7000.0, "open_call": {**call, "age_s": 10.0}}
    site.daemon.agents[0] = {**site.daemon.agents[0], **ticked}
    for _ in range(3):
        assert (await reader.next("status")).data["agents"] == []
    site.daemon.agents[0] = {**site.daemon.agents[0], "heartbeats": 28}
    told = await reader.until("status", lambda data: data["agents"])
    assert told.data["agents"][0]["silence_s"] == 99.0


async def test_events_come_with_their_id_and_once(site: Site, read: Open) -> None:
    reader = read()
    await reader.next("snapshot")
    site.daemon.add_event(event="agent.killed", message='a line\nbreak and "quotes"')
    first = await reader.next("event")
    assert (first.id, first.data) == (6, site.daemon.events[-1])
    site.daemon.add_event()
    assert (await reader.next("event")).id == 7


async def test_a_reader_that_comes_back_has_missed_nothing(site: Site, read: Open) -> None:
    reader = read()
    await reader.next("snapshot")
    await reader.leave()
    for _ in range(20):
        site.daemon.add_event()
    again = read(**{"last-event-id": "4"})
    ids = [(await again.next("event")).id for _ in range(21)]
    assert ids == list(range(5, 26))


async def test_what_is_no_longer_kept_here_comes_from_the_journal(
    site: Site, read: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PAGE", 4)
    monkeypatch.setattr(site.hub, "_events", type(site.hub._events)(maxlen=3))
    for _ in range(20):
        site.daemon.add_event()
    reader = read(**{"last-event-id": "1"})
    await reader.next("snapshot")
    for _ in range(6):
        site.daemon.add_event()
    ids = [(await reader.next("event")).id for _ in range(30)]
    assert ids == list(range(2, 32))


@pytest.mark.parametrize("sent", ["", "-1", "x", "9" * 30, "٣", "1e3"])
async def test_an_id_that_is_none_begins_now(site: Site, read: Open, sent: str) -> None:
    reader = read(**{"last-event-id": sent})
    await reader.next("snapshot")
    site.daemon.add_event()
    assert (await reader.next("event")).id == 6


async def test_an_id_of_another_journal_begins_now(site: Site, read: Open) -> None:
    reader = read(**{"last-event-id": "5000"})
    await reader.next("snapshot")
    site.daemon.add_event()
    assert (await reader.next("event")).id == 6


async def test_a_daemon_that_goes_is_told_and_its_return_begins_anew(
    site: Site, read: Open
) -> None:
    reader = read()
    seen = (await reader.next("snapshot")).data["time"]
    site.daemon.go()
    gone = await reader.next("daemon")
    assert gone.data["reachable"] is False
    assert gone.data["last_seen"] == seen
    before = site.daemon
    site.daemon = FakeDaemon()
    site.daemon.events = [*before.events, {**before.events[-1], "id": 6}]
    told: list[Told] = []  # the whole again, and the event that came meanwhile, in either order
    while {"snapshot", "event"} - {one.event for one in told}:
        told.append(await reader.next())
    assert [one.id for one in told if one.event == "event"] == [6]
    kinds = [one.event for one in told if one.event not in {"event", "status"}]
    assert kinds == ["daemon", "snapshot"]
    assert {"reachable": True} in [one.data for one in told]


async def test_an_answer_that_makes_no_sense_is_told_and_not_the_end(
    site: Site, read: Open
) -> None:
    reader = read()
    await reader.next("snapshot")
    site.daemon.answers["status"] = lambda _args: {"agents": [{"no": "name"}]}
    told = await reader.next("daemon")
    assert told.data["reachable"] is False
    assert "makes no sense" in told.data["message"]
    del site.daemon.answers["status"]
    assert (await reader.next("daemon")).data == {"reachable": True}
    assert (await reader.next("snapshot")).data["agents"]


async def test_a_daemon_that_is_busy_for_a_moment_is_not_gone(
    site: Site, read: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.http.link.STATUS_S", 0.0)
    reader = read()
    await reader.next("snapshot")
    refused: list[str] = []

    def busy(_args: object) -> Document:
        refused.append("status")
        if len(refused) == 3:
            del site.daemon.answers["status"]
        raise AgentdError("too_busy", "more than 50 commands a second")

    site.daemon.answers["status"] = busy
    site.daemon.agents[1] = {**site.daemon.agents[1], "health": "killed"}
    told = await reader.next()
    while told.event == "status" and not told.data["agents"]:  # from before it was busy
        told = await reader.next()
    assert (told.event, len(refused), len(told.data["agents"])) == ("status", 3, 1)


async def test_whoever_comes_while_the_daemon_is_gone_is_told_so(site: Site, read: Open) -> None:
    site.daemon.go()
    told = await read().next()
    assert (told.event, told.data["reachable"], told.data["last_seen"]) == ("daemon", False, None)


async def test_one_status_serves_all_and_none_is_asked_for_when_nobody_looks(
    site: Site, read: Open
) -> None:
    readers = [read() for _ in range(20)]
    for reader in readers:
        await reader.next("snapshot")
    asked = site.daemon.count("status")
    for _ in range(5):
        await readers[0].next("status")
    assert site.daemon.count("status") - asked <= 6
    assert site.daemon.count("incidents") == 1
    for reader in readers:
        await reader.leave()
    assert site.hub.viewers == 0
    asked = site.daemon.count("status")
    await asyncio.sleep(3 * hub.PERIOD_S)
    assert site.daemon.count("status") <= asked + 1  # one may have been under way


async def test_an_event_brings_the_next_look_before_its_time(
    site: Site, read: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PERIOD_S", 3_600.0)
    reader = read()
    await reader.next("snapshot")
    site.daemon.agents[1] = {**site.daemon.agents[1], "health": "killed"}
    site.daemon.add_event()
    told = await reader.next("status")
    assert told.data["agents"][0]["health"] == "killed"


async def test_whoever_comes_after_a_while_is_told_what_is_true_now(site: Site, read: Open) -> None:
    reader = read()
    await reader.next("snapshot")
    await reader.leave()
    site.daemon.agents[1] = {**site.daemon.agents[1], "health": "killed"}
    told = await read().next("snapshot")
    assert told.data["agents"][1]["health"] == "killed"


async def test_incidents_are_asked_for_when_something_points_at_them(
    site: Site, read: Open
) -> None:
    reader = read()
    await reader.next("snapshot")
    site.daemon.incidents = [{"id": 3, "open": True}]
    site.daemon.agents[0] = {**site.daemon.agents[0], "open_incident": 3}
    told = await reader.until("status", lambda data: "incidents" in data)
    assert told.data["incidents"] == [{"id": 3, "open": True}]
    site.daemon.incidents = []
    site.daemon.add_event(event="incident.resolved")
    told = await reader.until("status", lambda data: "incidents" in data)
    assert told.data["incidents"] == []


async def test_there_are_only_so_many_streams(site: Site, read: Open) -> None:
    readers = [read() for _ in range(stream.STREAMS_MAX)]
    for reader in readers:
        await reader.next("snapshot")
    answer = await site.get("/api/v1/stream", **bearer())
    assert (answer.status, answer.code) == (503, "too_busy")
    await readers[0].leave()
    assert (await read().next()).event == "snapshot"


async def test_a_reader_that_reads_nothing_is_let_go(
    read: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "SEND_S", 0.05)
    reader, other = read(), read()
    await reader.next("snapshot")
    reader.reads.clear()
    async with asyncio.timeout(WAIT_S):
        await reader.aborted.wait()
        await asyncio.wait([reader.serving])
    assert not other.aborted.is_set()
    await other.next("status")


async def test_a_quiet_stream_says_that_it_is_there(
    read: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "COMMENT_S", 0.05)
    reader = read()
    async with asyncio.timeout(WAIT_S):
        while not (await reader.chunks.get()).startswith(b":"):
            pass


async def test_the_end_of_the_server_ends_all_streams(site: Site, read: Open) -> None:
    reader = read()
    await reader.next("snapshot")
    await site.hub.close()
    async with asyncio.timeout(WAIT_S):
        await asyncio.wait([reader.serving])


async def test_a_head_of_the_stream_is_no_stream(site: Site) -> None:
    answer = await site.send("HEAD", "/api/v1/stream", bearer())
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "text/event-stream"
    assert site.hub.viewers == 0


async def test_our_own_pages_are_told_what_to_show(site: Site, read: Open) -> None:
    reader = read("/api/v1/stream?view=page")
    first = await reader.next("snapshot")
    assert first.data["whole"] is True
    site.daemon.agents[1] = {**site.daemon.agents[1], "health": "killed", "state": "stopped"}
    told = await reader.until("status", lambda data: data["rows"])
    assert told.data["whole"] is False


async def test_a_fleet_of_agents_is_followed_by_identity() -> None:
    daemon = FakeDaemon()
    daemon.agents = [agent(f"agent-{number}") for number in range(200)]

    async def connect() -> Any:  # noqa: ANN401 - what stands for an AsyncClient
        return daemon

    looked = Hub(Link(connect))
    changed: list[Document] = []
    with looked.look():
        async with asyncio.timeout(WAIT_S):
            while (before := looked.moment) is None:
                await looked.news.wait()
            daemon.agents = [{**one, "silence_s": 9.9} for one in daemon.agents]
            daemon.agents[7]["heartbeats"] += 1
            while not changed:
                await looked.news.wait()
                assert looked.moment is not None
                changed = looked.moment.since(before)["agents"]
    await looked.close()
    assert [one["name"] for one in changed] == ["agent-7"]
