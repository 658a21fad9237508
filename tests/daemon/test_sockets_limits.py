"""How many, how long, how much: nobody gets more than his share, and nobody waits for him."""

import asyncio
import contextlib
import errno
import json
import os
import socket
import time
from dataclasses import replace

import pytest

from agentd.daemon import conversation, sockets
from agentd.daemon.connections import Connection
from agentd.daemon.followers import FOLLOWERS_MAX
from agentd.daemon.outbox import BUFFER_BYTES_MAX
from agentd.daemon.peers import Peer, Role
from agentd.wire import replies
from tests.daemon.hallway import Hallway, raw_socket, until
from tests.daemon.hallway import Peer as Client


def strangers(monkeypatch: pytest.MonkeyPatch, role: Role = Role.VIEWER, uid: int = 1000) -> None:
    monkeypatch.setattr(sockets, "recognise", lambda *_: Peer(1, uid, uid, role))


async def test_an_agent_has_so_many_connections_and_others_have_theirs() -> None:
    async with Hallway(connections_per_agent=3) as hallway:
        one = hallway.live("a")
        kept = [await hallway.connect(one) for _ in range(3)]
        fourth = await hallway.connect(one)
        assert json.loads(await fourth.closed())["error"]["code"] == "too_busy"
        assert (await (await hallway.connect(hallway.live("b"))).ask({"id": 1}))["ok"]
        kept[0].close()
        await until(lambda: len(hallway.hall.visitors) == 3)
        assert (await (await hallway.connect(one)).ask({"id": 1}))["ok"]
        assert hallway.counters.connections_refused == 1


async def test_who_may_do_less_from_now_on_is_counted_as_who_may() -> None:
    async with Hallway(connections_per_uid=1) as hallway:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        uid = os.geteuid()
        operator = Peer(1, uid, 0, Role.OPERATOR, internal="agentd-http")
        viewer = replace(operator, role=Role.VIEWER)
        connection = Connection(hallway.hall, ours, operator)
        assert hallway.hall.visitors.why_not(viewer) == ""
        connection.restrict(Role.VIEWER)
        assert hallway.hall.visitors.why_not(viewer) != ""
        connection.close()
        theirs.close()
        assert hallway.hall.visitors.why_not(viewer) == ""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        Connection(hallway.hall, ours, viewer)
        assert hallway.hall.visitors.why_not(viewer) != "", "the bound is what it was"
        theirs.close()


async def test_a_token_doesnt_get_an_agent_more_connections() -> None:
    async with Hallway(connections_per_agent=1) as hallway:
        await hallway.connect(hallway.live("a"))
        peer = await hallway.connect()
        assert await peer.error({"id": 1, "token": "token-of-a-1"}) == "too_busy"
        assert await peer.closed() == b""


async def test_a_user_has_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Hallway(connections_per_uid=2) as hallway:
        strangers(monkeypatch)
        for _ in range(2):
            await hallway.connect()
        assert b"too_busy" in await (await hallway.connect()).closed()
        strangers(monkeypatch, uid=1001)
        assert (await (await hallway.connect()).ask({"id": 1, "cmd": "ping"}))["ok"]


async def test_agents_of_one_user_dont_use_up_each_others_places() -> None:
    async with Hallway(connections_per_uid=2) as hallway:
        for number in range(6):
            peer = await hallway.connect(hallway.live(f"a{number}"))
            assert (await peer.ask({"id": 1}))["ok"]


async def test_some_places_are_kept_for_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Hallway(connections_max=8, connections_per_uid=100) as hallway:
        recognise = sockets.recognise
        strangers(monkeypatch)
        kept = [await hallway.connect() for _ in range(6)]
        assert b"too_busy" in await (await hallway.connect()).closed()
        monkeypatch.setattr(sockets, "recognise", recognise)
        for _ in range(2):
            assert (await (await hallway.connect()).ask({"id": 1, "cmd": "ping"}))["ok"]
        assert b"too_busy" in await (await hallway.connect()).closed()
        assert len(kept) + 2 == len(hallway.hall.visitors)


async def test_the_first_line_is_waited_for_so_long_and_no_longer() -> None:
    async with Hallway() as hallway:
        hallway.hall.first_line_s = 0.05
        silent = await hallway.connect()
        assert b"no line came in time" in await silent.closed()
        assert hallway.counters.connections_late == 1


async def test_a_line_that_has_begun_must_end() -> None:
    async with Hallway() as hallway:
        hallway.hall.first_line_s = 0.2
        hallway.hall.begun_line_s = 0.2
        one = hallway.live()
        slow, idle = await hallway.connect(one), await hallway.connect(one)
        for peer in (slow, idle):
            assert (await peer.ask({"id": 1}))["ok"]
        slow.send(b'{"tok')
        assert b"did not end in time" in await slow.closed()
        assert (await idle.ask({"id": 2}))["ok"]  # between lines it may idle


async def test_a_line_that_drips_in_doesnt_win_time() -> None:
    async with Hallway() as hallway:
        hallway.hall.begun_line_s = 0.3
        peer = await hallway.connect(hallway.live())
        assert (await peer.ask({"id": 1}))["ok"]
        began = time.monotonic()
        while not peer.reader.at_eof() and time.monotonic() - began < 5:
            peer.send(b" ")
            await until_soon(peer)
        assert hallway.counters.connections_late == 1


async def until_soon(peer: Client) -> None:
    """Read what comes within a moment."""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        await asyncio.wait_for(peer.reader.read(1000), 0.02)


async def test_whole_lines_at_a_slow_pace_are_fine() -> None:
    async with Hallway() as hallway:
        hallway.hall.begun_line_s = 0.1
        peer = await hallway.connect(hallway.live())
        for number in range(20):
            peer.send(b'{"tokens":')
            await peer.writer.drain()
            assert (await peer.ask(b'1,"id":%d}\n{"to' % number + b'kens":1}\n'))["ok"]
        assert hallway.counters.connections_late == 0


async def test_b11_who_doesnt_read_is_dropped_and_nobody_waits_for_him() -> None:
    async with Hallway() as hallway:
        deaf = raw_socket(hallway.path)
        deaf.setblocking(False)
        other = await hallway.connect()
        request = json.dumps({"id": "x" * 200, "cmd": "unknown" * 20}).encode() + b"\n"
        slowest_s, sent = 0.0, 0
        while hallway.counters.connections_slow == 0 and sent < 20_000_000:
            try:
                sent += deaf.send(request * 50)
            except BlockingIOError:
                pass
            except OSError as error:
                assert error.errno in (errno.EPIPE, errno.ECONNRESET)  # noqa: PT017
                break
            before = time.monotonic()
            assert (await other.ask({"id": sent, "cmd": "nothing"}))["id"] == sent
            slowest_s = max(slowest_s, time.monotonic() - before)
        assert hallway.counters.connections_slow == 1
        assert slowest_s < 2.0
        deaf.close()


async def test_a_follower_that_doesnt_read_is_dropped() -> None:
    async with Hallway() as hallway:
        follower = raw_socket(hallway.path)
        follower.send(b'{"id":1,"cmd":"events","follow":true}\n')
        await until(lambda: len(hallway.recorder.commands) == 1)
        exchange = hallway.recorder.commands[0]
        event = replies.streamed(1, {"event": {"message": "x" * 1000}})
        for _ in range(2 * BUFFER_BYTES_MAX // len(event)):
            exchange.send(event)
        assert exchange.closed
        assert hallway.counters.connections_slow == 1
        assert hallway.hall.visitors.followers == 0
        assert hallway.recorder.gone == [exchange]
        exchange.send(event)  # nobody is there: nothing happens
        follower.close()


async def test_one_connection_waits_for_so_many_answers_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation, "WAITING_MAX", 3)
    async with Hallway() as hallway:
        hallway.recorder.answers = False
        peer = await hallway.connect()
        for number in range(3):
            peer.send({"id": number, "cmd": "status"})
        assert await peer.error({"id": 3, "cmd": "status"}) == "too_busy"
        hallway.recorder.commands[0].send(replies.ok(0))
        await peer.receive()
        peer.send({"id": 4, "cmd": "status"})
        await until(lambda: len(hallway.recorder.commands) == 4)


async def test_one_long_answer_reaches_whoever_reads_it() -> None:
    async with Hallway() as hallway:
        hallway.recorder.answers = False
        peer = await hallway.connect()
        peer.send({"id": 1, "cmd": "status"})
        await until(lambda: len(hallway.recorder.commands) == 1)
        exchange = hallway.recorder.commands[0]
        exchange.send(replies.ok(1, {"text": "x" * (8 * BUFFER_BYTES_MAX)}))
        exchange.send(replies.streamed(1, {"event": {}}))
        raw = b""
        while not raw.endswith(b'{"id":1,"event":{}}\n'):
            raw += await peer.reader.read(1 << 20)
        assert len(raw) > 8 * BUFFER_BYTES_MAX
        await exchange.drained()
        assert hallway.counters.connections_slow == 0


async def test_only_so_many_may_follow() -> None:
    async with Hallway() as hallway:
        follow = {"id": 1, "cmd": "events", "follow": True}
        kept = [await hallway.connect() for _ in range(FOLLOWERS_MAX)]
        for peer in kept:
            assert (await peer.ask(follow))["ok"]
        late = await hallway.connect()
        assert await late.error(follow) == "too_busy"
        kept[0].close()
        await until(lambda: hallway.hall.visitors.followers < FOLLOWERS_MAX)
        assert (await late.ask(follow))["ok"]


async def test_an_operator_gives_so_many_commands_a_second() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect()
        now_ms = [1_000]
        hallway.hall.now_ms = lambda: now_ms[0]
        peer.send(*({"id": number, "cmd": "status"} for number in range(130)))
        oks = [(await peer.receive())["ok"] for _ in range(130)]
        assert oks == [True] * 100 + [False] * 30
        assert hallway.counters.commands_busy == 30
        now_ms[0] += 1_000
        peer.send(*({"id": number, "cmd": "status"} for number in range(60)))
        assert sum([(await peer.receive())["ok"] for _ in range(60)]) == 50


async def test_after_half_a_close_it_is_answered_then_closed() -> None:
    async with Hallway() as hallway:
        hallway.recorder.answers = False
        peer = await hallway.connect()
        peer.send({"id": 1, "cmd": "wait", "args": {"select": ["a"]}}, b'{"id":2,"cmd":"sta')
        peer.writer.write_eof()
        await until(lambda: len(hallway.recorder.commands) == 1)
        hallway.recorder.commands[0].send(replies.ok(1))
        assert json.loads(await peer.closed()) == {"id": 1, "ok": True, "result": {}}
        assert hallway.counters.lines_unended == 1
        assert hallway.recorder.gone == []


async def test_who_leaves_while_he_waits_is_told_of() -> None:
    async with Hallway() as hallway:
        hallway.recorder.answers = False
        sock = raw_socket(hallway.path)
        sock.send(b'{"id":1,"cmd":"wait"}\n{"id":2,"cmd":"kill","args":{"select":["a"]}}\n')
        await until(lambda: len(hallway.recorder.commands) == 2)
        sock.close()
        await until(lambda: len(hallway.recorder.gone) == 1)
        [gone] = hallway.recorder.gone  # the kill goes on: it is the operator's word
        assert gone.command.cmd == "wait"
        assert gone.closed


async def test_without_descriptors_one_is_turned_away_and_the_rest_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Hallway() as hallway:
        monkeypatch.setattr(sockets, "PAUSE_S", 0.1)
        accept, failures = socket.socket.accept, [2]

        def starved(self: socket.socket) -> object:
            if failures[0] == 2:
                failures[0] -= 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return accept(self)

        monkeypatch.setattr(socket.socket, "accept", starved)
        first = raw_socket(hallway.path)
        await until(lambda: hallway.counters.accept_pauses == 1)
        first.settimeout(5)
        assert b"no file descriptor left" in first.recv(4096)
        second = await hallway.connect()
        assert (await second.ask({"id": 1, "cmd": "ping"}))["ok"]
        first.close()


async def test_a_change_asked_for_twice_is_made_once() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect()
        kill = {"id": "k1", "cmd": "kill", "args": {"select": ["a"], "reason": "x"}}
        first = await peer.ask(kill)
        again = await (await hallway.connect()).ask(
            {**kill, "args": {"reason": "x", "select": ["a"]}}
        )
        assert first == again
        assert len(hallway.recorder.commands) == 1
        assert hallway.counters.commands_replayed == 1
        assert await peer.error({**kill, "args": {"select": ["b"]}}) == "conflict"
        assert await peer.error({**kill, "cmd": "stop"}) == "conflict"
        assert len(hallway.recorder.commands) == 1


async def test_k5_a_change_whose_asker_left_is_answered_when_he_comes_back() -> None:
    async with Hallway() as hallway:
        hallway.recorder.answers = False
        kill = {"id": "k1", "cmd": "kill", "args": {"select": ["a"]}}
        sock = raw_socket(hallway.path)
        sock.send(json.dumps(kill).encode() + b"\n")
        await until(lambda: len(hallway.recorder.commands) == 1)
        sock.close()
        await until(lambda: len(hallway.hall.visitors) == 0)
        waiting = await hallway.connect()
        waiting.send(kill)
        await until(lambda: hallway.counters.commands_replayed == 1)
        hallway.recorder.commands[0].send(replies.ok("k1", {"n": 1}))
        assert (await waiting.receive())["result"] == {"n": 1}
        assert (await (await hallway.connect()).ask(kill))["result"] == {"n": 1}
        assert len(hallway.recorder.commands) == 1


async def test_reads_are_never_replayed() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect()
        numbers = [(await peer.ask({"id": 1, "cmd": "status"}))["result"]["number"] for _ in "ab"]
        assert numbers == [1, 2]


async def test_a_bug_in_a_command_is_answered_and_counted() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect()
        hallway.recorder.fails = True
        assert await peer.error({"id": 1, "cmd": "status"}) == "internal"
        hallway.recorder.fails = False
        assert (await peer.ask({"id": 2, "cmd": "status"}))["ok"]
        assert hallway.counters.faults == 1
