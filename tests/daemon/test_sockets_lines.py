import json
import os
from pathlib import Path

import pytest

from agentd.core.effects import Control
from agentd.core.lines import (
    ActionBegun,
    ActionDone,
    BreakerAsk,
    CheckpointGet,
    CheckpointPut,
    Heartbeat,
    Hello,
    Status,
)
from agentd.daemon.peers import Role
from agentd.daemon.registry import Incarnation
from tests.daemon.hallway import Hallway, raw_socket, until
from tests.wire.test_lines import HOSTILE


async def test_lines_of_one_read_are_handed_on_as_one_list() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect(hallway.live())
        peer.send(b'{"tokens":1}\n{"type":"hello","sdk":"x"}\n\n{"tokens":2}\n{"tok')
        expected = [Heartbeat(tokens=1), Hello("x"), Heartbeat(tokens=2)]
        assert await hallway.hears(3) == expected
        assert hallway.recorder.batches == [3]
        peer.send(b'ens":3}\n')
        assert (await hallway.hears(4))[-1] == Heartbeat(tokens=3)


async def test_no_reply_is_sent_unless_a_line_has_an_id() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect(hallway.live())
        reply = await peer.ask(b'{"tokens":1}\n{"id":"9","tokens":2}\n')
        assert reply == {"id": "9", "ok": True, "result": {}}
        assert hallway.heard() == [Heartbeat(tokens=1), Heartbeat(tokens=2)]


async def test_a_question_is_answered_by_the_core_and_comes_after_what_was_said_before() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect(hallway.live())
        state = {"x": "y" * 500_000}
        asked = [
            ({"type": "intent", "key": "k", "action": "a"}, ActionBegun("k", "a")),
            ({"type": "checkpoint.put", "state": state}, CheckpointPut(json.dumps(state))),
            ({"type": "checkpoint.get"}, CheckpointGet()),
            ({"type": "breaker.ask", "name": "openai"}, BreakerAsk("openai")),
        ]
        peer.send({"tokens": 1})
        for number, (line, expected) in enumerate(asked):
            reply = await peer.ask({"id": number, **line})
            assert reply["result"] == {"asked": type(expected).__name__}
        assert hallway.heard() == [Heartbeat(tokens=1), *(expected for _, expected in asked)]
        peer.send({"type": "done", "key": "k"})
        assert await peer.error({"id": 9, "type": "breaker", "name": "x"}) == "bad_request"
        assert hallway.heard()[-1] == ActionDone("k")


async def test_c1_connections_that_say_nothing_are_counted_and_nothing_else() -> None:
    async with Hallway() as hallway:
        for batch in range(20):
            socks = [raw_socket(hallway.path) for _ in range(50)]
            for sock in socks[::2]:
                sock.send(b"")
            for sock in socks:
                sock.close()
            done = 50 * (batch + 1)
            await until(lambda: hallway.counters.connections_empty >= done)  # noqa: B023 - awaited
        assert len(hallway.hall.visitors) == 0
        peer = await hallway.connect()
        assert (await peer.ask({"id": 1, "cmd": "ping"}))["ok"]


async def test_c2_a_line_without_end_is_told_and_closed() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect(hallway.live())
        other = await hallway.connect(hallway.live("b"))
        peer.send(b'{"tokens":7}\n' + b"x" * 200_000)
        said = json.loads(await peer.closed())
        assert said["error"]["code"] == "bad_request"
        assert "64 KiB" in said["error"]["message"]
        assert hallway.heard() == [Heartbeat(tokens=7)]  # what came before isn't lost
        assert hallway.counters.lines_overlong == 1
        other.send({"tokens": 1})
        await hallway.hears(1, "b")


@pytest.mark.parametrize(("raw", "told"), [pytest.param(*row[1:], id=row[0]) for row in HOSTILE])
async def test_a_hostile_line_is_told_to_its_sender_and_costs_no_other(
    raw: bytes, told: str
) -> None:
    overlong = len(raw) > 65_536
    async with Hallway() as hallway:
        peer = await hallway.connect(hallway.live())
        other = await hallway.connect(hallway.live("b"))
        with_id = raw.replace(b"{", b'{"id":"7",', 1) if raw.startswith(b'{"') else raw
        answerable = with_id != raw and json_like(with_id)
        peer.send(b'{"tokens":1}\n' + with_id + b'\n{"tokens":2}\n{"id":"end"}\n')
        other.send({"tokens": 3})
        replies = []
        while not replies or (replies[-1]["id"] != "end" and not overlong):
            replies.append(await peer.receive())
        if overlong:
            assert "64 KiB" in replies[0]["error"]["message"]
            assert hallway.heard() == [Heartbeat(tokens=1)]
        else:
            assert hallway.heard() == [Heartbeat(tokens=1), Heartbeat(tokens=2), Heartbeat()]
            assert hallway.counters.lines_bad == 1
            if answerable:
                assert replies[0]["error"]["code"] == "bad_request"
                assert told in replies[0]["error"]["message"]
        await hallway.hears(1, "b")


def json_like(raw: bytes) -> bool:
    """Whether a parser gets as far as the id."""
    try:
        found = json.loads(raw, parse_constant=int)
    except (ValueError, RecursionError):
        return False
    return isinstance(found.get("id"), str)


async def test_c4_c5_after_all_of_them_the_connection_lives() -> None:
    async with Hallway(line_rate=0) as hallway:
        peer = await hallway.connect(hallway.live())
        bad = [raw for _, raw, _ in HOSTILE if len(raw) <= 65_536]
        for _ in range(20):
            for raw in bad:
                peer.send(raw + b"\n", b'{"tokens":1}\n')
                await peer.writer.drain()
        heard = await hallway.hears(20 * len(bad))
        assert heard == [Heartbeat(tokens=1)] * (20 * len(bad))
        assert hallway.counters.lines_bad == 20 * len(bad)


async def test_c7_text_that_is_no_text_is_kept_escaped() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect(hallway.live())
        peer.send(rb'{"task":"\ud800\u0000","tool":"\u001b[2J\u202e"}' + b"\n")
        [beat] = await hallway.hears(1)
        assert isinstance(beat, Heartbeat)
        assert (beat.task, beat.tool) == ("\\ud800\\u0000", "\x1b[2J\u202e")
        assert json.dumps(beat.tool).isascii()


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ({"agent": "b"}, "agent"),
        ({"token": "token-of-b-1"}, "token"),
        ({"token": "made-up"}, "token"),
        ({"incarnation": "a-2"}, "incarnation"),
    ],
)
async def test_c9_a_claim_that_disagrees_is_refused(claim: dict[str, str], kind: str) -> None:
    async with Hallway() as hallway:
        hallway.live("b")
        peer = await hallway.connect(hallway.live("a"))
        assert await peer.error({"id": 1, "tokens": 9, **claim}) == "forbidden"
        peer.send({"tokens": 10, **claim})
        assert (await peer.ask({"id": 2, "agent": "a", "tokens": 1}))["ok"]
        assert hallway.heard("a") == [Heartbeat(tokens=1)]
        assert hallway.heard("b") == []
        [refusal] = hallway.recorder.refusals  # the second is counted, and told later
        assert (refusal.kind, refusal.agent) == (kind, "a")
        assert hallway.counters.lines_refused == 2


async def test_c11_lines_of_a_dead_incarnation_are_counted_and_go_nowhere() -> None:
    async with Hallway() as hallway:
        one = hallway.live("a", 1)
        inherited = await hallway.connect(one)
        inherited.send({"tokens": 1})
        await hallway.hears(1)
        hallway.registry.end("a", 1)
        two = hallway.live("a", 2)
        successor = await hallway.connect(two)
        inherited.send({"tokens": 2}, {"id": 5})
        assert json.loads((await inherited.closed()).splitlines()[0])["ok"] is False
        successor.send({"tokens": 3})
        assert await hallway.hears(1, "a", 2) == [Heartbeat(tokens=3)]
        assert hallway.heard("a", 1) == [Heartbeat(tokens=1)]
        assert hallway.counters.lines_dead == 2


async def test_c11_a_token_of_a_dead_incarnation_opens_nothing() -> None:
    async with Hallway() as hallway:
        hallway.live("a", 1)
        hallway.registry.remove("a", 1)
        hallway.live("a", 2)
        peer = await hallway.connect()
        assert await peer.error({"id": 1, "token": "token-of-a-1"}) == "forbidden"
        assert hallway.counters.lines_dead == 1
        assert hallway.recorder.lines_of == {}


async def test_last_words_are_heard_before_the_end() -> None:
    async with Hallway() as hallway:
        one = hallway.live()
        known = await hallway.connect(one)
        known.send({"tokens": 1})
        await hallway.hears(1)
        hallway.proc.cgroup = one.cgroup
        sock = raw_socket(hallway.path)  # not accepted yet when the end comes
        sock.send(b'{"status":"done"}\n')
        os.write(known.writer.get_extra_info("socket").fileno(), b'{"tokens":2}\n')
        hallway.registry.end("a", 1)
        heard = hallway.heard()
        assert Heartbeat(tokens=2) in heard
        assert Heartbeat(status=Status.DONE) in heard
        sock.close()


async def test_last_words_of_a_process_that_is_gone_are_its_own() -> None:
    async with Hallway() as hallway:
        hallway.server.stop()  # a daemon that is busy: the peer comes and goes meanwhile
        child = await hallway.talker()
        pidfd = os.pidfd_open(child.child.pid)
        inode = os.fstat(pidfd).st_ino
        os.close(pidfd)
        hallway.registry.add(
            Incarnation("a", 1, "a-1", "t", leader_pid=child.child.pid, leader_inode=inode)
        )
        assert await child.say({"status": "done"}) == "sent"
        child.child.kill()
        await child.child.wait()
        hallway.server.start()
        hallway.registry.end("a", 1)
        assert hallway.heard() == [Heartbeat(status=Status.DONE)]


async def test_c13_the_senders_clock_is_kept_and_not_used() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect(hallway.live())
        for ts in (0, 1e12, None):
            peer.send({"ts": ts})
        assert [beat.sent_at_s for beat in await hallway.hears(3)] == [0, 1e12, None]  # type: ignore[union-attr]


async def test_c15_a_flood_is_limited_and_its_spending_counted_all_the_same() -> None:
    async with Hallway() as hallway:
        flood = await hallway.connect(hallway.live("flood"))
        calm = await hallway.connect(hallway.live("calm"))
        line = json.dumps({"tokens": 3, "cost_usd": 0.5}).encode() + b"\n"
        sent = 20_000
        for _ in range(sent // 500):
            flood.send(line * 500)
            await flood.writer.drain()
        flood.send({"id": "end"})
        calm.send({"tokens": 1})
        await hallway.hears(1, "calm")
        assert (await flood.receive())["id"] == "end"  # delayed, not dropped
        heard = hallway.heard("flood")[:-1]
        dropped = [row for row in hallway.recorder.dropped_lines if row[0] == "flood"]
        count = sum(row[2] for row in dropped)
        assert len(heard) + count == sent
        assert 400 <= len(heard) < 4_000
        spent = [line for row in dropped for line in row[3]]
        assert sum(beat.tokens for beat in spent) == 3 * count  # type: ignore[union-attr]
        assert sum(beat.cost_micros for beat in spent) == 500_000 * count  # type: ignore[union-attr]
        assert hallway.counters.lines_dropped == count
        assert hallway.counters.lines_delayed == 1


async def test_c15_the_rate_is_of_the_agent_over_all_its_connections() -> None:
    async with Hallway(line_rate=10) as hallway:
        one = hallway.live()
        for _ in range(3):
            (await hallway.connect(one)).send(b"{}\n" * 100)
        await until(lambda: hallway.counters.lines + hallway.counters.lines_dropped == 300)
        assert 20 <= hallway.counters.lines < 60


async def test_c15_lines_with_an_id_come_late_and_in_order() -> None:
    async with Hallway(line_rate=100) as hallway:
        peer = await hallway.connect(hallway.live())
        peer.send(b"{}\n" * 200, *({"id": number, "tokens": number} for number in range(8)))
        assert [(await peer.receive())["id"] for _ in range(8)] == list(range(8))
        tokens = [beat.tokens for beat in hallway.heard() if beat.tokens is not None]  # type: ignore[union-attr]
        assert tokens == list(range(8))
        assert hallway.counters.lines_delayed >= 4


async def test_without_a_rate_nothing_is_dropped() -> None:
    async with Hallway(line_rate=0) as hallway:
        peer = await hallway.connect(hallway.live())
        for _ in range(100):
            peer.send(b'{"tokens":1}\n' * 300)
            await peer.writer.drain()
        assert len(await hallway.hears(30_000)) == 30_000
        assert hallway.recorder.dropped_lines == []


async def test_a_token_turns_a_connection_into_that_agents_for_good() -> None:
    async with Hallway() as hallway:
        hallway.live("a")
        hallway.live("b")
        peer = await hallway.connect()
        assert (await peer.ask({"id": 1, "cmd": "status"}))["ok"]  # an operator until then
        hello = {"id": 2, "type": "hello", "token": "token-of-a-1", "sdk": "x"}
        assert (await peer.ask(hello))["ok"]
        assert await peer.error({"id": 3, "cmd": "status"}) == "forbidden"
        assert await peer.error({"id": 4, "token": "token-of-b-1"}) == "forbidden"
        peer.send({"tokens": 5})
        assert (await hallway.hears(2, "a"))[-1] == Heartbeat(tokens=5)
        assert [one.peer.role for one in hallway.hall.visitors.everyone()] == [Role.AGENT]


async def test_an_operator_without_a_token_speaks_for_nobody() -> None:
    async with Hallway() as hallway:
        hallway.live("a")
        peer = await hallway.connect()
        assert await peer.error({"id": 1, "agent": "a", "tokens": 5}) == "forbidden"
        assert hallway.recorder.lines_of == {}


async def test_an_external_agent_is_who_holds_its_token() -> None:
    async with Hallway() as hallway:
        hallway.registry.add(Incarnation("ext", 0, "", "a-token-from-a-file"))
        peer = await hallway.connect()
        peer.send({"token": "a-token-from-a-file", "tokens": 5}, {"tokens": 6})
        heard = await hallway.hears(2, "ext", 0)
        assert heard == [Heartbeat(tokens=5), Heartbeat(tokens=6)]


async def test_a_token_is_good_for_its_own_user_only() -> None:
    async with Hallway() as hallway:
        hallway.live("a", uid=os.geteuid() + 1)
        peer = await hallway.connect()
        fits = os.geteuid() == 0  # root may be anybody
        reply = await peer.ask({"id": 1, "token": "token-of-a-1"})
        assert reply["ok"] is fits


async def test_a_process_of_the_tree_needs_no_token() -> None:
    async with Hallway() as hallway:
        child = await hallway.talker()
        hallway.registry.add(Incarnation("a", 1, "a-1", "t", leader_pid=child.child.pid))
        reply = await child.ask({"id": 1, "tokens": 4})
        assert reply["ok"], reply
        assert hallway.heard() == [Heartbeat(tokens=4)]


async def test_a_line_cut_off_at_the_end_is_no_line() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect(hallway.live())
        peer.send(b'{"tokens":1}\n{"tokens":2}')
        peer.close()
        await until(lambda: hallway.counters.lines_unended == 1)
        assert hallway.heard() == [Heartbeat(tokens=1)]


async def test_an_error_of_ours_costs_one_read_and_not_the_connection() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect(hallway.live())
        hallway.recorder.fails = True
        peer.send({"tokens": 1})
        await until(lambda: hallway.counters.faults == 1)
        hallway.recorder.fails = False
        assert (await peer.ask({"id": 1, "tokens": 2}))["ok"]


async def test_control_lines_reach_every_connection_of_the_agent_and_no_other() -> None:
    async with Hallway() as hallway:
        one, other = hallway.live("a"), hallway.live("b")
        peers = [await hallway.connect(one), await hallway.connect(one)]
        stranger = await hallway.connect(other)
        assert hallway.server.control(Control("a", 1, "pause", "USER_PAUSED")) == 2
        for peer in peers:
            expected = {"type": "control", "action": "pause", "reason": "USER_PAUSED"}
            assert await peer.receive() == expected
        assert (await stranger.ask({"id": 1}))["ok"]
        assert hallway.server.control(Control("a", 2, "pause", "USER_PAUSED")) == 0


async def test_c21_garbage_leaves_no_descriptor_and_no_connection_behind() -> None:
    before = open_fds()
    async with Hallway(line_rate=0) as hallway:
        one = hallway.live()
        for number in range(200):
            peer = await hallway.connect(one)
            peer.send(bytes((number * 31 + i * 7) % 256 for i in range(400)) + b"\n")
            peer.close()
        await until(lambda: len(hallway.hall.visitors) == 0)
    await until(lambda: open_fds() <= before)


def open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
