"""What the SDK costs an agent: its import, and a heartbeat with the daemon away, stopped, killed.

    .venv/bin/python bench/sdk.py        the figures
    make bench f=sdk                     the figures against their bars

The daemon is a stand-in that accepts and reads; the agent is a process of its own that beats
and times each beat, and then a loop that only waits as long as a beat takes: the control.
"""

import json
import os
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

FATES = ("absent", "stopped", "killed")


@dataclass
class Beats:
    """Microseconds: of heartbeats, and of the control loop."""

    median_us: float
    wall_p999_us: float
    control_p999_us: float
    cpu_p999_us: float
    cpu_us_max: float


def import_ms(rounds: int = 20) -> tuple[float, float]:
    """Return CPU in ms: of a bare Python, and of one that imports agentd and beats once."""
    env = {**os.environ, "AGENTD_SOCKET": "/nowhere/agentd.sock"}
    bare, ours = [], []
    for _ in range(rounds):
        bare.append(_cpu_ms("pass", env))
        ours.append(_cpu_ms("import agentd; agentd.heartbeat()", env))
    return min(bare), min(ours)


def _cpu_ms(code: str, env: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def beats(fate: str, count: int = 50_000) -> Beats:
    """Time an agent's heartbeats; `fate` befalls the daemon after the first."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "s"
        daemon = None if fate == "absent" else _run("daemon", str(path))
        agent = _run("agent", str(count), AGENTD_SOCKET=str(path), AGENTD_TOKEN="t")  # noqa: S106
        try:
            if daemon is not None and fate == "stopped":
                daemon.send_signal(signal.SIGSTOP)
            if daemon is not None and fate == "killed":
                daemon.kill()
                daemon.wait()
            out, _ = agent.communicate("\n")
        finally:
            for process in filter(None, (daemon, agent)):
                process.kill()
                process.communicate()
    return Beats(**json.loads(out))


def _run(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a part of this file, and return once it says that it is there."""
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def daemon(path: str) -> None:
    """Accept, and read what comes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    peers = [listener]
    while True:
        for peer in select.select(peers, [], [])[0]:
            if peer is listener:
                peers.append(listener.accept()[0])
            elif not peer.recv(1 << 16):
                peers.remove(peer)


def agent(count: int) -> None:
    """Beat so many times, and print what it took."""
    import agentd  # noqa: PLC0415 - in this process only

    def beat() -> None:
        agentd.heartbeat(tokens=900, task="ticket-918", progress=0.3)

    beat()
    print("ready", flush=True)
    sys.stdin.readline()
    cpu, wall, control = [], [], []
    for _ in range(count):
        cpu_ns, wall_ns = time.thread_time_ns(), time.perf_counter_ns()
        beat()
        wall.append(time.perf_counter_ns() - wall_ns)
        cpu.append(time.thread_time_ns() - cpu_ns)
    median_ns = statistics.median(wall)
    for _ in range(count):
        wall_ns = time.perf_counter_ns()
        while time.perf_counter_ns() - wall_ns < median_ns:
            pass
        control.append(time.perf_counter_ns() - wall_ns)
    last = int(count * 0.999)
    p999 = [sorted(column)[last] / 1e3 for column in (wall, control, cpu)]
    print(json.dumps(vars(Beats(median_ns / 1e3, *p999, max(cpu) / 1e3))))


def main() -> None:
    bare_ms, ours_ms = import_ms()
    print(f"import agentd and beat once: {ours_ms - bare_ms:.1f} ms above bare {bare_ms:.1f} ms")
    for fate in ("alive", *FATES):
        found = beats(fate)
        print(
            f"heartbeat, daemon {fate}: median {found.median_us:.1f} us, "
            f"p99.9 {found.wall_p999_us:.0f} us (control {found.control_p999_us:.0f}), "
            f"CPU p99.9 {found.cpu_p999_us:.0f} us, at most {found.cpu_us_max:.0f}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["daemon"]:
        daemon(sys.argv[2])
    elif sys.argv[1:2] == ["agent"]:
        agent(int(sys.argv[2]))
    else:
        main()
