"""What a look costs the daemon: 200 agents, one open page and 20 more streams, against none.

    .venv/bin/python bench/dashboard.py [--seconds 20] [--rounds 3]

Turn by turn in one run, so that a machine that others share disturbs both alike: the daemon's
share of a core while its agents beat once a second, and while somebody looks as well. Exit 1
where a bar is missed: 5 % of a core more, 5 MB more.
"""

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Final, Self

import procs
from heartbeats import BEAT, NO_LIMITS, External, connect

AGENTS: Final = 200
STREAMS: Final = 20
SHARE_MAX: Final = 0.05
RSS_BYTES_MAX: Final = 5 << 20
MIB: Final = 1 << 20
TOLD_MIN: Final = 0.5
SETTLE_S: Final = 3.0


@dataclass
class Figures:
    """Of the daemon and of the server beside it, a value a round."""

    shares: list[float] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)
    server_shares: list[float] = field(default_factory=list)
    server_rss_bytes: list[int] = field(default_factory=list)
    stream_bytes_a_second: list[float] = field(default_factory=list)
    told_a_second: list[float] = field(default_factory=list)


def beat(socket: Path) -> None:
    """Every agent beats once a second, one after the other, until this process is ended."""
    channels = [connect(socket, number) for number in range(AGENTS)]
    begun, sent = time.monotonic(), 0
    while True:
        line = json.dumps({**BEAT, "step": sent // AGENTS}).encode() + b"\n"
        channels[sent % AGENTS].send(line)
        sent += 1
        time.sleep(max(0.0, begun + sent / AGENTS - time.monotonic()))


class Reader:
    """One open stream."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self.told = 0

    async def read(self, host: str, port: int, path: str, cookie: str) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n\r\n"
        writer.write(head.encode())
        try:
            assert b" 200 " in await reader.readline()
            while chunk := await reader.read(1 << 16):
                self.bytes_read += len(chunk)
                self.told += chunk.count(b"event: status")
        finally:
            writer.close()


class Lookers:
    """`agentctl dashboard`, one page and the streams, while inside."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.readers = [Reader() for _ in range(STREAMS + 1)]

    async def __aenter__(self) -> Self:
        words = [sys.executable, "-m", "agentd.cli", "--quiet", "--socket", str(self._socket)]
        self.server = subprocess.Popen(  # noqa: ASYNC220 - it answers at once
            [*words, "dashboard"], stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout is not None
        url = self.server.stdout.readline().strip()
        cookie, (host, port) = await asyncio.to_thread(_sign_in, url)
        paths = ["/api/v1/stream?view=page", *["/api/v1/stream"] * STREAMS]
        self._reading = [
            asyncio.create_task(reader.read(host, port, path, cookie))
            for reader, path in zip(self.readers, paths, strict=True)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.terminate()
        self.server.wait(30)
        await asyncio.wait(self._reading)

    def note(self, figures: Figures, seconds: float) -> None:
        """Write down what the streams have read; who reads nothing costs nothing."""
        streams = self.readers[1:]
        read = statistics.median(one.bytes_read for one in streams)
        figures.stream_bytes_a_second.append(read / seconds)
        figures.told_a_second.append(min(one.told for one in self.readers) / seconds)


def _sign_in(url: str) -> tuple[str, tuple[str, int]]:
    jar = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with opener.open(url) as page:  # the link, then the page itself
        assert b"<html" in page.read()
    cookie = next(iter(jar))
    found = re.match(r"http://([^:/]+):(\d+)/", url)
    assert found
    return f"{cookie.name}={cookie.value}", (found[1], int(found[2]))


def _cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def _over(pids: list[int], seconds: float) -> list[float]:
    """The share of a core that each process takes over so many seconds."""
    await asyncio.sleep(SETTLE_S)
    before, begun = [_cpu_s(pid) for pid in pids], time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - begun
    return [(_cpu_s(pid) - used) / took for pid, used in zip(pids, before, strict=True)]


async def _measure(seconds: float, rounds: int) -> tuple[Figures, Figures]:
    alone, looked_at = Figures(), Figures()
    with External(AGENTS, autostart=False, extra=NO_LIMITS) as daemon:
        pid = daemon.process.pid
        # A process of its own: beats that wait for our turn would come in cheaper heaps.
        words = [sys.executable, __file__, "--beat", str(daemon.socket)]
        beating = subprocess.Popen(words)  # noqa: ASYNC220 - it returns at once
        await asyncio.sleep(SETTLE_S)  # what starts with the first beats is of neither
        for _ in range(rounds):
            alone.shares += await _over([pid], seconds)
            alone.rss_bytes.append(procs.rss_bytes(pid))
            async with Lookers(daemon.socket) as lookers:
                server = lookers.server.pid
                share, server_share = await _over([pid, server], seconds)
                looked_at.shares.append(share)
                looked_at.server_shares.append(server_share)
                looked_at.rss_bytes.append(procs.rss_bytes(pid))
                looked_at.server_rss_bytes.append(procs.rss_bytes(server))
                lookers.note(looked_at, seconds + SETTLE_S)
        beating.kill()
        beating.wait()
    return alone, looked_at


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beat", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.beat is not None:
        beat(asked.beat)
    alone, looked_at = asyncio.run(_measure(asked.seconds, asked.rounds))
    before, after = statistics.median(alone.shares), statistics.median(looked_at.shares)
    # The first round pays for what is allocated once; growth with each look would show in the last.
    grown = max(looked_at.rss_bytes) - alone.rss_bytes[0]
    told = min(looked_at.told_a_second)
    streamed = statistics.median(looked_at.stream_bytes_a_second)
    server = statistics.median(looked_at.server_shares)
    server_rss = looked_at.server_rss_bytes[-1]
    print(f"{AGENTS} agents that beat once a second; one page and {STREAMS} streams open")
    print(f"  daemon, nobody looks      {_figures(before, alone.rss_bytes[-1])}")
    print(f"  daemon, looked at         {_figures(after, looked_at.rss_bytes[-1])}")
    print(f"  the server, agentd-http   {_figures(server, server_rss)}")
    rows = [
        ("more of a core", f"{100 * (after - before):.2f} % (< 5)", after - before < SHARE_MAX),
        ("more memory", f"{grown / MIB:.2f} MB (< 5)", grown < RSS_BYTES_MAX),
        ("each stream was told", f"{told:.2f} times a second (> 0.5)", told > TOLD_MIN),
    ]
    for what, figure, holds in rows:
        print(f"  {what:25} {figure:30} {'ok' if holds else 'MISSED'}")
    print(f"  {'one stream reads':25} {streamed / 1024:.0f} KiB/s")
    return 0 if all(holds for _, _, holds in rows) else 1


def _figures(share: float, rss_bytes: int) -> str:
    return f"{100 * share:5.2f} %  {rss_bytes / MIB:5.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
