"""How many heartbeats the daemon takes in, and what they cost it."""

import json
import selectors
import socket
import subprocess
import time
from pathlib import Path

import procs
from daemons import Agentd

BEAT = {
    "status": "ok",
    "tokens": 900,
    "cost_usd": 0.01,
    "task": "ticket-918",
    "step": 17,
    "progress": 0.3,
    "success": True,
    "latency_ms": 230,
}
LINES_AT_ONCE = 100
NO_LIMITS = (
    "line_rate = 0\nconnections_max = 4000\nconnections_per_uid = 4000\n"
    "connections_per_agent = 4000\n"
)


class External(Agentd):
    """A daemon whose agents run elsewhere, each with a token of its own."""

    def configure(self) -> None:
        super().configure()
        config = self.home / "agentd.toml"
        text = [config.read_text().split("[agents.")[0]]
        for number in range(self.agents):
            token = self.home / f"token{number}"
            token.write_text(f"secret-of-agent-{number:08d}\n")
            token.chmod(0o600)
            text += [f"[agents.x{number}]", "external = true", f'token_file = "{token}"']
        config.write_text("\n".join(text) + "\n")

    def heartbeats(self) -> int:
        shown = json.loads(subprocess.check_output(self.status()))
        return int(shown["daemon"]["heartbeats"])


def connect(path: Path, agent: int) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.connect(str(path))
    hello = {"type": "hello", "token": f"secret-of-agent-{agent:08d}"}
    channel.sendall(json.dumps(hello).encode() + b"\n")
    channel.setblocking(False)
    return channel


def with_recorder(connections: int, count: int) -> float:
    """Beats for a second of the daemon's CPU, as a share of what they are without a recorder."""
    on, off = (flood(connections, count, f'recorder_max = "{size}"\n')[1:] for size in ("64M", "0"))
    return (on[1] / on[0]) / (off[1] / off[0])


def flood(connections: int, count: int, extra: str = "") -> tuple[float, float, int]:
    """Send `count` beats as fast as they are taken.

    Returns beats a second by the wall, the daemon's CPU seconds, and beats accepted.
    """
    agents = min(connections, 100)
    line = json.dumps(BEAT).encode() + b"\n"
    with External(agents, autostart=False, extra=NO_LIMITS + extra) as daemon:
        channels = [connect(daemon.socket, number % agents) for number in range(connections)]
        share = count // connections
        feeders = [Feeder(channel, line, share) for channel in channels]
        waiting = selectors.DefaultSelector()
        for feeder in feeders:
            waiting.register(feeder.channel, selectors.EVENT_WRITE, feeder)
        before, began = procs.own_cpu_s(daemon.process.pid), time.perf_counter()
        while waiting.get_map():
            for key, _ in waiting.select(10):
                if key.data.is_done():
                    waiting.unregister(key.fileobj)
                else:
                    key.data.feed()
        procs.until(lambda: daemon.heartbeats() >= share * connections, 60, 0.05)
        took = time.perf_counter() - began
        used = procs.own_cpu_s(daemon.process.pid) - before
        accepted = daemon.heartbeats()
        for channel in channels:
            channel.close()
    return accepted / took, used, accepted


class Feeder:
    """One connection that takes `count` lines, as many at a time as it has room for."""

    def __init__(self, channel: socket.socket, line: bytes, count: int) -> None:
        self.channel = channel
        self.line = line
        self.left = count
        self.pending = b""

    def is_done(self) -> bool:
        return not self.left and not self.pending

    def feed(self) -> None:
        if not self.pending:
            lines = min(self.left, LINES_AT_ONCE)
            self.left -= lines
            self.pending = self.line * lines
        try:
            sent = self.channel.send(self.pending)
        except BlockingIOError:
            return
        self.pending = self.pending[sent:]


def chorus(agents: int, seconds: float) -> float:
    """Let each of `agents` external agents beat once a second; the daemon's share of a core."""
    line = json.dumps(BEAT).encode() + b"\n"
    with External(agents, autostart=False, extra=NO_LIMITS) as daemon:
        channels = [connect(daemon.socket, number) for number in range(agents)]
        time.sleep(2)
        before, began = procs.own_cpu_s(daemon.process.pid), time.perf_counter()
        for beat in procs.forever():
            at = began + beat / agents  # spread evenly over each second
            if at > began + seconds:
                break
            while (wait := at - time.perf_counter()) > 0:
                time.sleep(wait)
            channels[beat % agents].send(line)
        took = time.perf_counter() - began
        used = procs.own_cpu_s(daemon.process.pid) - before
        for channel in channels:
            channel.close()
    return used / took
