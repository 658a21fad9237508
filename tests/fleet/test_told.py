"""What the link tells its daemon of other hosts: what matters first, in no longer a line."""

import asyncio
import json
import socket
from typing import Any

import pytest

from agentd.client.aio import AsyncClient
from agentd.fleet.documents import BREAKERS_MAX, Breaker
from agentd.fleet.others import Others
from agentd.fleet.presence import Presences
from agentd.wire.hosts import hosts_view
from agentd.wire.splitter import LINE_BYTES_MAX

Document = dict[str, Any]
TTL_MS = 10_000


def others(up: int = 0, lost: int = 0, agents: int = 40) -> Others:
    """Return so many hosts; the loss of each of the lost is ours to announce."""
    made = Others("me", Presences(TTL_MS))
    for name in (f"up-{number:04}" for number in range(up)):
        made.presences.heard(name, "p", 1, 0)
    for name in (f"lost-{number:04}" for number in range(lost)):
        made.presences.heard(name, "p", 1, 0)
        made.presences.lose(name)
        made.lost(name, [f"agent-{number:04}" for number in range(agents)], announce=True)
    return made


def running(*names: str) -> Document:
    """Return a status as a link stores it, with all that nobody elsewhere needs."""
    facts = {"intent": "up", "state": "running", "health": "healthy", "evidence": "x" * 1000}
    return {"agents": [{"name": name, "reason": None, **facts} for name in names]}


async def line_of(told: Document) -> bytes:
    """Return what a daemon reads when it is told that."""
    ours, its = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=its, limit=16 << 20)
    client = await AsyncClient.adopt(ours.detach())
    asking = asyncio.ensure_future(client.ask("fleet", told))
    line = await reader.readuntil()
    writer.write(json.dumps({"id": json.loads(line)["id"], "ok": True, "result": {}}).encode())
    writer.write(b"\n")
    await asking
    await client.close()
    writer.close()
    return line


def crowded() -> Others:
    """Return a fleet of which nothing fits: hosts, names of agents, names of breakers."""
    made = others(up=2_500, lost=70)
    for number in range(100):
        odd = [Breaker(f"{n}" + "\U0001f980" * 250, "open") for n in range(BREAKERS_MAX)]
        made.breakers[f"up-{number:04}"] = odd
    return made


@pytest.mark.parametrize(
    ("made", "depends_on"),
    [
        (others(up=900), []),
        (others(up=2_500), []),
        (others(lost=70), []),
        (others(lost=1, agents=4_000), []),
        (others(up=10, lost=600), []),
        (crowded(), ["lost-0000/agent-0001", "up-0001/x", "nobody/x"]),
    ],
)
async def test_what_the_daemon_is_told_fits_its_line(made: Others, depends_on: list[str]) -> None:
    told = made.document(depends_on, "2026-11-21")
    assert told["hosts"]
    line = await line_of(told)
    assert len(line) <= LINE_BYTES_MAX
    view = hosts_view(json.loads(line)["args"])
    lost = sum(host.is_lost for host in made.presences.hosts.values())
    assert sum(host.lost for host in view.hosts) == lost, "each is an alert"


def test_what_matters_comes_first() -> None:
    made = others(up=2_500, lost=2)
    made.back("up-2400")
    made.statuses["up-2499"] = running("x")
    told = made.document(["up-2499/x"], None)["hosts"]
    assert [row["name"] for row in told[:5]] == [
        "up-2499",
        "lost-0000",
        "lost-0001",
        "up-2400",
        "up-0000",
    ]


def test_of_a_host_that_is_depended_on_only_those_agents_are_told() -> None:
    made = others(up=2)
    made.statuses["up-0000"] = running("x", "y", "z")
    made.statuses["up-0000"]["agents"][1] |= {"state": "escalated", "reason": "TOOL_FAILURE"}
    rows = made.document(["up-0000/x", "up-0000/y", "up-0001/z"], None)["hosts"]
    assert [row["agents"] for row in rows] == [
        [
            {"name": "x", "ready": True, "reason": None},
            {"name": "y", "ready": False, "reason": "TOOL_FAILURE"},
        ],
        [],
    ]


def test_a_host_that_does_not_fit_hides_no_other() -> None:
    made = others(up=4)
    many = [f"{number:04}{'x' * 59}" for number in range(1_000)]
    made.statuses["up-0000"] = running(*many)
    made.statuses["up-0001"] = running("x")
    needed = [*(f"up-0000/{name}" for name in many), "up-0001/x"]
    told = made.document(needed, None)["hosts"]
    assert [row["name"] for row in told] == ["up-0001", "up-0002", "up-0003"]
    assert told[0]["agents"]


def test_lost_hosts_share_the_room_for_their_agents() -> None:
    [alone] = others(lost=1).document([], None)["hosts"]
    assert len(alone["agents"]) == 40
    rows = others(lost=70).document([], None)["hosts"]
    assert {len(row["agents"]) for row in rows} == {21}, "more than a sentence has"


def test_a_loss_that_another_announces_needs_no_names() -> None:
    made = others(lost=1)
    made.announced.clear()
    assert made.document([], None)["hosts"][0]["agents"] == []


def test_a_host_that_came_back_is_announced_only_when_it_is_lost_again() -> None:
    made = others(lost=1)
    made.presences.heard("lost-0000", "p", 2, 0)
    made.back("lost-0000")
    assert not made.document([], None)["hosts"][0]["announce"]
    made.presences.lose("lost-0000")
    made.lost("lost-0000", [], announce=True)
    assert made.document([], None)["hosts"][0]["announce"]
