"""Four hosts with five agents each, and what becomes of them when the network doesn't hold."""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agentd.client.errors import AgentdError
from agentd.fleet import jetstream, streams
from agentd.fleet.commands import request
from agentd.fleet.connection import Connection
from agentd.fleet.encoding import Document, pack, unpack
from agentd.fleet.events import EventReader
from agentd.fleet.view import FleetView
from tests.daemon.harness import Daemon
from tests.fleet.hosts import AGENTS, HOSTS, SERVER, Hosts, four_hosts
from tests.stopwatch import Stopwatch

TTL_MS = int(os.environ.get("AGENTD_FLEET_TTL_MS", "4000"))
OUTAGE_S = float(os.environ.get("AGENTD_FLEET_OUTAGE_S", "6"))
VIEW_S = 2.0
LOSS_S = TTL_MS / 1000 + 2.0
WAIT_S = 60.0

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with four_hosts(TTL_MS) as made:
        with made.entered(SERVER):
            asyncio.run(_set_up(made))
        made.start(1, 2, 3, 4)
        for daemon in made.daemons:
            until(lambda daemon=daemon: "connected to" in str(link(daemon)["step"]))
        yield made


async def _set_up(hosts: Hosts) -> None:
    operator = await hosts.nats.connect("ada")
    settings = hosts.nats.settings("ada", ttl_ms=TTL_MS)
    await streams.ensure(operator, settings)
    await operator.close()


def link(daemon: Daemon) -> Document:
    return next(
        agent
        for agent in daemon.ask("status", all=True)["agents"]
        if agent["name"] == "agentd-fleet"
    )


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds; the bound is for what is broken, not for what is slow."""
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def told(hosts: Hosts, kind: str, host: str) -> list[tuple[str, str]]:
    """Return (who has it, message) of every event about a host that is lost or back."""
    return [
        (name, event["message"])
        for name, daemon in zip(HOSTS, hosts.daemons, strict=True)
        if daemon.process is not None and daemon.process.poll() is None
        for event in daemon.events(kind=kind)
        if f"host {host} " in event["message"]
    ]


def in_view(hosts: Hosts, look: Callable[[FleetView], Awaitable[None]]) -> None:
    """Look at the fleet with a viewer's credentials, from the network of the server."""

    async def run() -> None:
        settings = hosts.nats.settings("grace", ttl_ms=TTL_MS)
        async with FleetView(settings) as view:
            await look(view)

    with hosts.entered(SERVER):
        asyncio.run(run())


async def seen(view: FleetView, holds: Callable[[dict[str, Document]], object]) -> None:
    """Wait until the view is as wanted."""
    async with asyncio.timeout(WAIT_S):
        while not holds({row["host"]: row for row in view.hosts()}):
            view.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(view.changed.wait(), 0.1)


def is_whole(rows: dict[str, Document]) -> bool:
    return [
        (name, row["state"], [agent["name"] for agent in (row["status"] or {}).get("agents", [])])
        for name, row in rows.items()
    ] == [(name, "up", list(AGENTS)) for name in HOSTS]


def test_one_view_of_all_hosts(hosts: Hosts) -> None:
    async def look(view: FleetView) -> None:
        watch = Stopwatch()
        await seen(view, is_whole)
        assert watch.fair_s < VIEW_S
        # What happens on a host is in the view as soon.
        watch = Stopwatch()
        await asyncio.to_thread(hosts.daemons[2].ask, "kill", select=["agent-c"], reason="test")
        await seen(view, lambda rows: rows["host3"]["status"]["agents"][2]["health"] == "killed")
        assert watch.fair_s < VIEW_S

    in_view(hosts, look)
    hosts.daemons[2].ask("resume", select=["agent-c"])


def test_a_viewer_kills_nothing_and_a_host_speaks_for_itself_alone(hosts: Hosts) -> None:
    async def look() -> None:
        viewer = await hosts.nats.connect("grace")
        settings = hosts.nats.settings("grace")
        shown = await request(viewer, settings, "host2", "status", {})
        assert [agent["name"] for agent in shown["agents"]] == list(AGENTS)
        with pytest.raises(AgentdError) as refused:
            await request(viewer, settings, "host2", "kill", {"select": ["all"]})
        assert refused.value.code == "forbidden"
        await viewer.close()
        host = await hosts.nats.connect("host1")
        forged = pack({"host": "host2", "presence": "forged", "count": 1})
        with pytest.raises(AgentdError) as refused:
            await host.request(settings.alive_subject("host2"), forged)
        assert refused.value.code == "forbidden"
        await host.close()
        operator = await hosts.nats.connect("ada")
        args = {"select": ["agent-e"], "reason": "night"}
        await request(operator, settings, "host2", "pause", args)
        await operator.close()

    with hosts.entered(SERVER):
        asyncio.run(look())
    daemon = hosts.daemons[1]
    paused = daemon.until_state("agent-e", "paused")
    assert paused["intent"] == "paused"
    assert "by fleet: night" in str(daemon.events("agent-e", "agent.paused"))
    assert not daemon.events(kind="agent.killed")
    daemon.ask("resume", select=["agent-e"])


def test_a_host_that_is_cut_off_is_lost_once_and_catches_up(hosts: Hosts) -> None:
    cut = hosts.daemons[1]
    watch = Stopwatch()
    hosts.cut(2)
    until(lambda: told(hosts, "host.lost", "host2"))
    assert watch.fair_s < LOSS_S
    # Its agents are supervised there as ever.
    before = cut.status("agent-a")["pid"]
    os.kill(before, signal.SIGKILL)
    cut.until("agent-a", lambda shown: shown["pid"] not in {None, before})
    until(lambda: "not connected" in str(link(cut)["step"]))
    # Long enough for whoever would believe the others lost to say so.
    time.sleep(TTL_MS / 1000)
    assert cut.events(kind="host.lost") == []
    hosts.join(2)
    once_and_back(hosts, "host2")
    all_events_once(hosts)


def test_a_host_that_dies_is_lost_once_and_comes_back(hosts: Hosts) -> None:
    watch = Stopwatch()
    hosts.power_off(4)
    until(lambda: told(hosts, "host.lost", "host4"))
    assert watch.fair_s < LOSS_S
    [(_, message)] = told(hosts, "host.lost", "host4")
    assert all(agent in message for agent in AGENTS)
    hosts.start(4)
    once_and_back(hosts, "host4")
    all_events_once(hosts)


def once_and_back(hosts: Hosts, host: str) -> None:
    """Wait until a host is back; one of the others has told of it, once, and of its return."""
    until(lambda: told(hosts, "host.back", host))
    until(lambda: "resolve" in [kind for _, kind in hosts.alerts(f"host.lost:{host}")])
    sent = hosts.alerts(f"host.lost:{host}")
    assert Counter(kind for _, kind in sent) == {"trigger": 1, "resolve": 1}
    [(teller, _)] = told(hosts, "host.lost", host)
    assert {name for name, _ in sent} == {teller}
    assert teller != host


def test_a_server_that_is_away_disturbs_nobody(hosts: Hosts) -> None:
    lost = [len(daemon.events(kind="host.lost")) for daemon in hosts.daemons]
    pids = [daemon.status("agent-b")["pid"] for daemon in hosts.daemons]
    began_s = [cpu_s(link(daemon)["pid"]) for daemon in hosts.daemons]
    hosts.nats.server.kill()
    for daemon in hosts.daemons:
        until(lambda daemon=daemon: "not connected" in str(link(daemon)["step"]))
        killed = daemon.status("agent-a")["pid"]
        os.kill(killed, signal.SIGKILL)
        daemon.until("agent-a", lambda shown, was=killed: shown["pid"] not in {None, was})
    time.sleep(OUTAGE_S)
    used_s = [
        cpu_s(link(daemon)["pid"]) - was for daemon, was in zip(hosts.daemons, began_s, strict=True)
    ]
    assert max(used_s) < 0.1 * OUTAGE_S + 1.0
    with hosts.entered(SERVER):
        hosts.nats.server.start()
    for daemon in hosts.daemons:
        until(lambda daemon=daemon: "connected to" in str(link(daemon)["step"]))
    assert [daemon.status("agent-b")["pid"] for daemon in hosts.daemons] == pids
    all_events_once(hosts)
    assert [len(daemon.events(kind="host.lost")) for daemon in hosts.daemons] == lost
    in_view(hosts, lambda view: seen(view, is_whole))


def cpu_s(pid: int) -> float:
    """Return what a process has used of the processors so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def all_events_once(hosts: Hosts) -> None:
    """Compare what the stream has of every host with what the host itself has written down."""

    async def stored() -> Counter[tuple[str, int]]:
        viewer = await hosts.nats.connect("grace")
        settings = hosts.nats.settings("grace")
        found = await whole_stream(viewer, settings.events_stream)
        reader = EventReader(viewer, settings)
        # Who reads through the library gets the same, in an order for people.
        assert len(await reader.page(limit=10_000)) == found.total()
        await viewer.close()
        return found

    until(lambda: all(written(daemon) for daemon in hosts.daemons))
    with hosts.entered(SERVER):
        found = asyncio.run(stored())
    assert set(found.values()) == {1}, [key for key, times in found.items() if times > 1]
    for name, daemon in zip(HOSTS, hosts.daemons, strict=True):
        ids = [event["id"] for event in daemon.events()]
        missing = [number for number in ids[:-5] if (name, number) not in found]
        assert not missing, f"{name}: {missing}"


def written(daemon: Daemon) -> bool:
    """Whether a host's link has stored all that happened until now."""
    newest = daemon.ask("events", limit=1)["last_id"]
    cursor = (daemon.root / "state" / "fleet" / "events.json").read_text()
    return int(cursor.rpartition(":")[2].rstrip("}")) >= newest


async def whole_stream(connection: Connection, stream: str) -> Counter[tuple[str, int]]:
    """Count every event in the stream by (host, id)."""
    state = (await jetstream.info(connection, stream))["state"]
    entries = [
        await jetstream.at(connection, stream, seq) for seq in range(1, state["last_seq"] + 1)
    ]
    events = [unpack(entry.data) for entry in entries if entry is not None]
    return Counter((event["host"], event["id"]) for event in events)
