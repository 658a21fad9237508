"""AsyncClient: many questions and streams on one connection, and none that waits for ever."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agentd.client import aio
from agentd.client.aio import AsyncClient
from agentd.client.errors import AgentdError, NotReachable, TimedOut

Document = dict[str, Any]
Say = Callable[[Document], Awaitable[None]]


class Far:
    """The other end of the connection: lines in, lines out, under the test's control."""

    def __init__(self) -> None:
        near, self._far = socket.socketpair()
        self.near_fd = near.detach()

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_unix_connection(sock=self._far)

    async def heard(self) -> Document:
        return json.loads(await self.reader.readline())

    def say(self, line: object) -> None:
        self.writer.write(json.dumps(line).encode() + b"\n")


@pytest.fixture
async def pair() -> AsyncIterator[tuple[AsyncClient, Far]]:
    far = Far()
    await far.open()
    client = await AsyncClient.adopt(far.near_fd)
    yield client, far
    await client.close()
    far.writer.close()


Pair = tuple[AsyncClient, Far]


async def test_answers_find_their_questions_whatever_their_order(pair: Pair) -> None:
    client, far = pair
    first = asyncio.create_task(client.ask("status", {"all": True}))
    asked = [await far.heard()]
    second = asyncio.create_task(client.ask("ping"))
    asked.append(await far.heard())
    assert [line["cmd"] for line in asked] == ["status", "ping"]
    assert asked[0]["args"] == {"all": True}
    far.say({"id": "nobody's", "ok": True, "result": {"n": 0}})
    far.say({"id": asked[1]["id"], "ok": True, "result": {"n": 2}})
    far.say({"id": asked[0]["id"], "ok": True, "result": {"n": 1}})
    assert [await first, await second] == [{"n": 1}, {"n": 2}]


async def test_a_refusal_is_the_daemons_own_error(pair: Pair) -> None:
    client, far = pair
    asking = asyncio.create_task(client.ask("kill"))
    error = {"code": "forbidden", "message": "no", "hint": "be root"}
    far.say({"id": (await far.heard())["id"], "ok": False, "error": error})
    with pytest.raises(AgentdError) as caught:
        await asking
    assert (caught.value.code, caught.value.message, caught.value.hint) == tuple(error.values())


async def test_streams_run_beside_questions_and_end_with_the_connection(pair: Pair) -> None:
    client, far = pair
    lines = client.follow("events", {"after": 4})
    first = asyncio.create_task(anext(lines))
    followed = await far.heard()
    assert followed["follow"]
    asking = asyncio.create_task(client.ask("ping"))
    asked = await far.heard()
    far.say({"id": followed["id"], "event": {"id": 5}})
    far.say({"id": asked["id"], "ok": True, "result": {}})
    far.say({"id": followed["id"], "ok": True, "result": {"last_id": 5}})
    assert await first == {"id": followed["id"], "event": {"id": 5}}
    assert await asking == {}
    assert await anext(lines) == {"result": {"last_id": 5}}
    far.writer.close()
    with pytest.raises(NotReachable):
        await anext(lines)
    await client.closed.wait()


async def test_a_stream_that_its_reader_closes_is_ended_there_too(pair: Pair) -> None:
    client, far = pair
    lines = client.follow("events")
    first = asyncio.create_task(anext(lines))
    followed = await far.heard()
    far.say({"id": followed["id"], "event": {"id": 5}})
    await first
    await lines.aclose()
    told = await far.heard()
    assert (told["cmd"], told["args"]) == ("unfollow", {"id": followed["id"]})


async def test_a_stream_whose_reader_is_cancelled_is_ended_there_too(pair: Pair) -> None:
    client, far = pair

    async def read() -> None:
        async for _ in client.follow("events"):
            pass

    reading = asyncio.create_task(read())
    followed = await far.heard()
    reading.cancel()
    told = await far.heard()
    assert (told["cmd"], told["args"]) == ("unfollow", {"id": followed["id"]})


async def test_a_lost_connection_fails_all_that_waits_and_all_that_comes(pair: Pair) -> None:
    client, far = pair
    asking = [asyncio.create_task(client.ask("status")) for _ in range(3)]
    await far.heard()
    far.writer.close()
    for question in asking:
        with pytest.raises(NotReachable):
            await question
    with pytest.raises(NotReachable):
        await client.ask("ping")
    assert client.closed.is_set()


async def test_an_answer_that_never_comes_is_a_timeout(pair: Pair) -> None:
    client, far = pair
    with pytest.raises(TimedOut):
        await client.ask("status", timeout_s=0.05)
    late = await far.heard()
    asking = asyncio.create_task(client.ask("ping"))
    asked = await far.heard()
    far.say({"id": late["id"], "ok": True, "result": {"late": True}})
    far.say({"id": asked["id"], "ok": True, "result": {"late": False}})
    assert await asking == {"late": False}


async def test_a_stranger_hears_why_he_was_sent_away(pair: Pair) -> None:
    client, far = pair
    asking = asyncio.create_task(client.ask("status"))
    await far.heard()
    far.say({"id": None, "ok": False, "error": {"code": "forbidden", "message": "stranger"}})
    with pytest.raises(AgentdError, match="stranger") as caught:
        await asking
    assert caught.value.code == "forbidden"


async def test_a_reader_that_is_too_far_behind_is_cut_off_and_told(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, far = pair
    monkeypatch.setattr(aio, "STREAM_LINES_MAX", 3)
    lines = client.follow("events")
    first = asyncio.create_task(anext(lines))
    number = (await far.heard())["id"]
    for event in range(8):
        far.say({"id": number, "event": event})
    asking = asyncio.create_task(client.ask("ping"))
    far.say({"id": (await far.heard())["id"], "ok": True, "result": {}})
    await asking  # all lines before its answer have come
    got = [(await first)["event"], *[(await anext(lines))["event"] for _ in range(2)]]
    with pytest.raises(AgentdError) as caught:
        await anext(lines)
    assert got == [0, 1, 2]
    assert caught.value.code == "too_busy"


async def test_what_does_not_speak_as_agentd_does_is_named(pair: Pair) -> None:
    client, far = pair
    asking = asyncio.create_task(client.ask("ping"))
    await far.heard()
    far.writer.write(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(AgentdError, match="does not speak as agentd does"):
        await asking


async def test_a_socket_nobody_listens_on_is_not_reachable(tmp_path: Path) -> None:
    with pytest.raises(NotReachable, match="no answer from agentd"):
        await AsyncClient.connect(str(tmp_path / "none"))


async def test_it_connects_to_a_path(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(await reader.readline())
        writer.write(json.dumps({"id": asked["id"], "ok": True, "result": asked["args"]}).encode())
        writer.write(b"\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "s"))
    async with server:
        client = await AsyncClient.connect(str(tmp_path / "s"))
        assert await client.ask("echo", {"a": [1]}) == {"a": [1]}
        await client.closed.wait()
        await client.close()
