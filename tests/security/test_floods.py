"""Lines as fast as they can be written: whoever floods fills his own buffer, and nobody waits."""

import asyncio
from pathlib import Path

import pytest

from agentd.daemon import connections, sockets
from agentd.daemon.registry import Incarnation
from tests.daemon.hallway import Hallway, raw_socket, until
from tests.daemon.harness import PYTHON, Daemon, Document

LINES = 40_000
# Each is the shortest of its kind: the most of them in one read, and none is paid for.
FLOODS = {
    "broken": b"x\n",
    "of a wrong type": b'{"id":1,"tokens":""}\n',
    "for another": b'{"agent":"b"}\n',
    "with a wrong token": b'{"token":"x"}\n',
    "beats": b"{}\n",
}


def judged(hallway: Hallway) -> int:
    """How many lines were looked at, whatever came of them."""
    counted = hallway.counters
    return counted.lines + counted.lines_bad + counted.lines_refused + counted.lines_dropped


@pytest.mark.parametrize("kind", FLOODS)
async def test_c15_one_turn_judges_so_many_lines_and_no_more(kind: str) -> None:
    async with Hallway() as hallway:
        flood = await hallway.connect(hallway.live("a"))
        flood.send(FLOODS[kind] * LINES)
        most, before = 0, 0
        async with asyncio.timeout(60):
            while judged(hallway) < 5 * connections.LINES_A_TURN:
                await asyncio.sleep(0)
                most, before = max(most, judged(hallway) - before), judged(hallway)
        assert 0 < most <= connections.LINES_A_TURN


async def test_c15_a_flood_over_all_its_connections_is_no_larger() -> None:
    async with Hallway() as hallway:
        one = hallway.live("a")
        peers = [await hallway.connect(one) for _ in range(8)]
        for peer in peers:
            peer.send(b"x\n" * LINES)
        most, before = 0, judged(hallway)
        async with asyncio.timeout(60):
            while judged(hallway) < 5 * connections.LINES_A_TURN:
                await asyncio.sleep(0)
                most, before = max(most, judged(hallway) - before), judged(hallway)
        assert 0 < most <= connections.LINES_A_TURN


async def test_c15_every_line_of_a_burst_is_heard_in_its_order() -> None:
    async with Hallway(line_rate=0) as hallway:
        peer = await hallway.connect(hallway.live("a"))
        count = 5 * connections.LINES_A_TURN
        peer.send(b"".join(b'{"tokens":%d}\n' % number for number in range(count)))
        heard = await hallway.hears(count)
        assert [line.tokens for line in heard] == list(range(count))  # type: ignore[union-attr]


async def test_what_was_said_before_a_line_too_long_is_heard_before_the_end() -> None:
    async with Hallway(line_rate=0) as hallway:
        peer = await hallway.connect(hallway.live("a"))
        count = 3 * connections.LINES_A_TURN
        peer.send(b"{}\n" * count + b"x" * (80 << 10))
        assert b"longer than 64 KiB" in await peer.closed()
        assert len(hallway.heard()) == count


async def test_who_leaves_after_a_burst_has_said_all_of_it() -> None:
    async with Hallway(line_rate=0) as hallway:
        hallway.proc.cgroup = hallway.live("a").cgroup
        sock = raw_socket(hallway.path)
        count = 3 * connections.LINES_A_TURN
        sock.sendall(b"{}\n" * count)
        sock.close()
        await hallway.hears(count)
        await until(lambda: len(hallway.hall.visitors) == 0)
        assert len(hallway.heard()) == count


async def test_the_last_words_of_an_incarnation_are_bounded() -> None:
    async with Hallway(line_rate=0) as hallway:
        one = hallway.live("a")
        for _ in range(4):
            peer = await hallway.connect(one)
            peer.send(b"{}\n" * LINES)
        await asyncio.sleep(0)
        before = judged(hallway)
        hallway.registry.end(one.agent, one.ordinal)
        assert 0 < judged(hallway) - before <= sockets.LAST_LINES_MAX
        await until(lambda: len(hallway.hall.visitors) == 0)  # and then nobody listens any more


async def test_honest_last_words_are_heard_although_much_was_left_to_hear() -> None:
    async with Hallway() as hallway:
        one = Incarnation("a", 1, "a-1", "t", cgroup="/agents/a.1")
        hallway.registry.add(one)
        peer = await hallway.connect(one)
        peer.send(b"x\n" * 3000 + b'{"status":"done"}\n')
        await until(lambda: judged(hallway) > 0)
        hallway.registry.end("a", 1)
        assert len(hallway.heard()) == 1


FLOOD = """
import os, socket, threading, time
def flood(line):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(os.environ["AGENTD_SOCKET"])
    threading.Thread(target=lambda: [0 for _ in iter(lambda: peer.recv(65536), b"")]).start()
    while True:
        peer.sendall(line * 20000)
for line in (b"x\\n", b"{}\\n", b'{"id":1,"token":"x"}\\n', b'{"cmd":"kill"}\\n'):
    threading.Thread(target=flood, args=(line,)).start()
"""


def test_c15_a_daemon_answers_in_its_time_although_an_agent_floods_it(daemon: Daemon) -> None:
    daemon.sleeper("quiet")
    daemon.agent("flood", [PYTHON, "-S", "-c", FLOOD], "[heartbeat]\nrequired = false")
    daemon.start()
    daemon.until_state("quiet", "running")

    def is_flooded() -> bool:
        counted: Document = daemon.ask("daemon")["counters"]["sockets"]
        return bool(counted["lines_bad"] > 10 * connections.LINES_A_TURN)

    daemon.until_true(is_flooded)
    lag_ms = daemon.ask("daemon")["daemon"]["loop_lag_ms_max"]
    assert lag_ms <= 250 + _starved_ms(daemon.pid), lag_ms
    named = {event["agent"] for event in daemon.events(kind="security.refused")}
    assert "flood" in named
    assert daemon.status("quiet")["health"] == "healthy"


def _starved_ms(pid: int) -> float:
    """How long the daemon has waited for a core, as the kernel counts it."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e6
