"""A fleet of simulated hosts on one NATS server: traffic, the server's memory, time to a view.

    python bench/fleet_scale.py [--hosts 500] [--agents 40] [--seconds 60] [--ttl 10]

Each host is one connection that publishes what a link publishes (a sign of life each quarter of
the TTL, its whole status each half of it and at a change) and listens to what a link listens to:
every other host's signs of life. What comes is read and thrown away: a real link would also parse
it, on its own machine. The documents are those of agentd's own, made and packed by its own code.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from agentd.fleet import streams
from agentd.fleet.connection import Connection
from agentd.fleet.encoding import pack
from agentd.fleet.settings import FleetSettings
from agentd.fleet.view import FleetView
from tests.fleet.server import NatsServer
from tests.fleet.stand_ins import Running, StandIn

CHANGES_PER_S = 0.05
"""How often something happens on a host that everybody should see at once: three a minute."""
WORDS = ["searching", "reading", "writing", "checking", "waiting", "planning", "merging", "testing"]


class Host:
    """One simulated link: a plain connection that speaks NATS's protocol."""

    def __init__(self, name: str, agents: int, settings: FleetSettings) -> None:
        self.name = name
        self.sent_bytes = 0
        self.sent = 0
        self.read_bytes = 0
        self._settings = settings
        self._count = 0
        self.status = status_of(name, agents)
        self._dice = random.Random(name)

    async def run(self, port: int) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()
        hello = {"verbose": False, "name": self.name, "lang": "bench", "version": "1"}
        self._writer.write(f"CONNECT {json.dumps(hello)}\r\n".encode())
        for sid, subject in enumerate(
            (
                self._settings.alive_subject("*"),
                f"{self._settings.prefix}.{self.name}.cmd.view.*",
                f"{self._settings.prefix}.{self.name}.cmd.operate.*",
                f"_INBOX.{self.name}.*",
            ),
            1,
        ):
            self._writer.write(f"SUB {subject} {sid}\r\n".encode())
        names = sorted(agent["name"] for agent in self.status["agents"])
        roster = {"host": self.name, "presence": "bench", "agents": names}
        self._publish(self._settings.roster_subject(self.name), roster)
        self._show()
        await asyncio.gather(self._read(reader), self._beat(), self._work())

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(1 << 16):
            self.read_bytes += len(chunk)
            if b"PING\r\n" in chunk:
                self._writer.write(b"PONG\r\n")

    async def _beat(self) -> None:
        beat_s = self._settings.beat_ms / 1000
        await asyncio.sleep(self._dice.uniform(0, beat_s))
        while True:
            self._count += 1
            alive = {"host": self.name, "presence": "bench", "count": self._count}
            spent = {"date": "2026-11-21", "own": 12.34}
            self._publish(
                self._settings.alive_subject(self.name), {**alive, "spent": spent, "breakers": []}
            )
            if self._count % 2 == 0:
                self._show()
            await asyncio.sleep(beat_s)

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(CHANGES_PER_S))
            self._show()

    def _show(self) -> None:
        for agent in self.status["agents"]:
            agent["heartbeats"] += self._dice.randrange(4)
            agent["silence_s"] = round(self._dice.uniform(0, 30), 1)
            agent["rss_bytes"] = self._dice.randrange(50_000_000, 400_000_000)
            agent["tokens"]["total"] += self._dice.randrange(4000)
            agent["step"] = f"{self._dice.choice(WORDS)} {self._dice.randrange(1000)}"
        self._publish(self._settings.status_subject(self.name), self.status)

    def _publish(self, subject: str, document: dict[str, Any]) -> None:
        data = pack(document)
        line = f"PUB {subject} _INBOX.{self.name}.1 {len(data)}\r\n".encode() + data + b"\r\n"
        self.sent += 1
        self.sent_bytes += len(line)
        self._writer.write(line)


def status_of(host: str, agents: int) -> dict[str, Any]:
    """Return a status document as agentd makes it (CONTRACT 6.1)."""
    dice = random.Random(host)
    agent = {
        "intent": "up", "state": "running", "health": "healthy", "restarts": 0, "failures": 0,
        "cooldown_s": None, "reason": None, "evidence": None, "last_exit": None,
        "expected_silence_s": None, "status": "working", "goal": None, "progress": 0.3,
        "memory_limit_bytes": 536870912, "memory_forecast_s": None, "cpu_percent": 1.2,
        "cost_usd": {"run": 0.12, "day": 1.4, "known": True}, "tool": "web_search",
        "tasks": {"success": 40, "failure": 2, "success_rate": 0.952,
                  "latency_ms": {"mean": 231.0, "p95": 410.0}},
        "budgets": [{"name": "usd_per_day", "limit": 5.0, "used": 1.4}], "depends_on": [],
        "blocked_by": [], "unfinished_actions": 0, "open_incident": None, "held": False,
        "parked_s": None, "open_call": None, "tags": ["shop"],
    }  # fmt: skip
    return {
        "host": host,
        "time": "2026-11-21T08:00:00.123Z",
        "daemon": {"pid": 1, "version": "1.0", "uptime_s": 3600.0, "rss_bytes": 31457280},
        "summary": {"healthy": agents, "degraded": 0, "unreachable": 0, "killed": 0, "unknown": 0},
        "agents": [
            {
                **agent,
                "name": f"agent-{number:02}",
                "pid": dice.randrange(1 << 22),
                "incarnation": f"{dice.getrandbits(128):032x}",
                "execution": f"{dice.getrandbits(128):032x}",
                "uptime_s": round(dice.uniform(0, 1e5), 1),
                "silence_s": 3.2,
                "heartbeats": 27,
                "task": f"ticket-{dice.randrange(10_000)}",
                "step": "",
                "rss_bytes": 0,
                "tokens": {
                    "total": 88000,
                    "last_cycle": 900,
                    "baseline": 850.0,
                    "per_minute": 1700.0,
                },
            }
            for number in range(agents)
        ],
    }


class Process:
    """What a process uses."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def cpu_s(self) -> float:
        text = Path(f"/proc/{self._pid}/stat").read_text(encoding="ascii")
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        pages = int(Path(f"/proc/{self._pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def server() -> Iterator[NatsServer]:
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        made = NatsServer(Path(folder)).start()
        try:
            yield made
        finally:
            made.close()


async def link(settings: FleetSettings) -> list[float]:
    """Be one more host, a real link; return (% of a core, MB) of it among the others."""
    with tempfile.TemporaryDirectory() as folder:
        running = await Running(settings, Path(folder), StandIn(settings.host)).start()
        await running.connected()
        used_s = time.process_time()
        await asyncio.sleep(settings.ttl_ms / 1000)
        used_s = time.process_time() - used_s
        await running.stop()
    return [100_000 * used_s / settings.ttl_ms, Process(os.getpid()).rss_bytes() / 1e6]


async def look(settings: FleetSettings, hosts: int) -> None:
    """Print how long a newcomer takes to have every host's status, and what going on costs him."""
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    async with FleetView(settings) as view:
        while sum(row["status"] is not None for row in view.hosts()) < hosts:
            view.changed.clear()
            await view.changed.wait()
        complete_s = time.monotonic() - began_s
        complete_cpu_s = time.process_time() - began_cpu_s
        used_s = time.process_time()
        await asyncio.sleep(settings.ttl_ms / 1000)
        used_s = time.process_time() - used_s
        assert view.refused == 0, view.refused
        rss_bytes = Process(os.getpid()).rss_bytes()
    percent = 100_000 * used_s / settings.ttl_ms
    print(json.dumps([complete_s, percent, rss_bytes / 1e6, complete_cpu_s]))


async def newcomer(settings: FleetSettings, hosts: int, role: str = "--look") -> list[float]:
    """Have a process of its own look, or be a link; return the figures that it prints."""
    words = [__file__, role, settings.servers[0], "--hosts", str(hosts)]
    words += ["--ttl", str(settings.ttl_ms / 1000)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    figures: list[float] = json.loads(said)
    return figures


async def measure(asked: argparse.Namespace, nats: NatsServer) -> dict[str, Any]:
    settings = FleetSettings((nats.url,), "bench", ttl_ms=int(asked.ttl * 1000))
    connection = await Connection.connect(settings)
    await streams.ensure(connection, settings)
    await connection.close()
    assert nats.process is not None
    process = Process(nats.process.pid)
    empty_bytes = process.rss_bytes()
    hosts = [Host(f"host-{number:04}", asked.agents, settings) for number in range(asked.hosts)]
    tasks = []
    for host in hosts:
        tasks.append(asyncio.create_task(host.run(nats.port)))
        await asyncio.sleep(0.005)
    await asyncio.sleep(asked.ttl)
    first = totals(hosts), process.cpu_s(), time.monotonic()
    await asyncio.sleep(asked.seconds)
    last = totals(hosts), process.cpu_s(), time.monotonic()
    views = [await newcomer(settings, asked.hosts) for _ in range(3)]
    linked = await newcomer(settings, asked.hosts, "--link")
    for task in tasks:
        task.cancel()
    failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
    assert not failed, failed[0]
    await asyncio.gather(*tasks, return_exceptions=True)
    took_s = last[2] - first[2]
    sent, sent_bytes, read_bytes = (
        (after - before) / took_s for before, after in zip(first[0], last[0], strict=True)
    )
    return {
        "hosts": asked.hosts,
        "agents a host": asked.agents,
        "ttl_s": asked.ttl,
        "a status, JSON bytes": len(json.dumps(hosts[0].status)),
        "a status, packed bytes": len(pack(hosts[0].status)),
        "published messages/s": round(sent),
        "published kB/s": round(sent_bytes / 1000),
        "delivered to all hosts kB/s": round(read_bytes / 1000),
        "delivered to one host kB/s": round(read_bytes / 1000 / asked.hosts, 1),
        "server CPU, % of a core": round(100 * (last[1] - first[1]) / took_s),
        "server RSS empty, MB": round(empty_bytes / 1e6),
        "server RSS, MB": round(process.rss_bytes() / 1e6),
        "a real link's CPU, % of a core": round(linked[0], 1),
        "a real link's RSS, MB": round(linked[1]),
        "newcomer's complete view, s": [round(view[0], 2) for view in views],
        "of it on its own CPU, s": [round(view[3], 2) for view in views],
        "a dashboard's CPU, % of a core": [round(view[1]) for view in views],
        "a dashboard's RSS, MB": [round(view[2]) for view in views],
    }


def totals(hosts: list[Host]) -> tuple[int, int, int]:
    return (
        sum(host.sent for host in hosts),
        sum(host.sent_bytes for host in hosts),
        sum(host.read_bytes for host in hosts),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--agents", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--ttl", type=float, default=10.0)
    parser.add_argument("--look", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--link", metavar="URL", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.link:
        settings = FleetSettings((asked.link,), "linked", ttl_ms=int(asked.ttl * 1000))
        print(json.dumps(asyncio.run(link(settings))))
        return
    if asked.look:
        settings = FleetSettings((asked.look,), "looker", ttl_ms=int(asked.ttl * 1000))
        asyncio.run(look(settings, asked.hosts))
        return
    with server() as nats:
        figures = asyncio.run(measure(asked, nats))
    for name, figure in figures.items():
        print(f"{name:32} {figure}")


if __name__ == "__main__":
    main()
