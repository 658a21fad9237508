"""What a heartbeat costs the agent that sends it from a thread of its own: CPU time and bytes.

    .venv/bin/python bench/beat_cost.py

It is the measure of `CPU_PER_BEAT_MS` and `IO_PER_BEAT_BYTES` in agentd/core/progress.py: an
agent that uses no more than its heartbeats do has done no work.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BEATS = 500
EVERY_S = 0.01
AGENT = "--agent"


def moved_bytes() -> int:
    """Bytes that this process has read and written, as the daemon counts them."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))


def beat() -> None:
    """The agent: its second thread beats, its first one waits."""
    import agentd  # noqa: PLC0415 - only here, as in an agent

    def beat_on() -> None:
        for _ in range(BEATS):
            agentd.heartbeat()
            time.sleep(EVERY_S)

    agentd.heartbeat(task="t")
    began_bytes, began_s = moved_bytes(), time.process_time()
    thread = threading.Thread(target=beat_on)
    thread.start()
    thread.join()
    used_ms = (time.process_time() - began_s) * 1000
    moved = moved_bytes() - began_bytes
    sys.stdout.write(f"a heartbeat: {used_ms / BEATS:.3f} ms CPU, {moved / BEATS:.0f} bytes\n")


def main() -> None:
    """Be the daemon's end of the socket, and start the agent."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(folder) / "s")
        listener.bind(path)
        listener.listen()
        env = {**os.environ, "AGENTD_SOCKET": path, "AGENTD_TOKEN": "t", "AGENTD_AGENT": "a"}
        agent = subprocess.Popen([sys.executable, __file__, AGENT], env=env)
        channel, _ = listener.accept()
        heard = 0
        while part := channel.recv(1 << 16):
            heard += part.count(b"\n")
        if agent.wait() or heard < BEATS:
            sys.exit(f"only {heard} of {BEATS} heartbeats were heard")


if __name__ == "__main__":
    beat() if AGENT in sys.argv else main()
