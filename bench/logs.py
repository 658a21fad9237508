"""Log throughput: the same writer under agentd and writing to a file itself, in turn."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import procs
from daemons import Agentd

LINES = 1_500_000
# Writes lines of 100 bytes as fast as it can, and leaves its own wall and CPU time in a file.
WRITER = f"""
import os, sys, time
line = b"x" * 99 + b"\\n"
block = line * 64
began = time.perf_counter()
for _ in range({LINES} // 64):
    os.write(1, block)
took = time.perf_counter() - began
times = os.times()
open(sys.argv[1], "w").write(f"{{took}} {{times.user + times.system}}")
"""


def bare(home: Path) -> tuple[float, float]:
    """Wall and CPU seconds of the writer into a plain file."""
    with (home / "bare.log").open("ab") as out:
        subprocess.run([sys.executable, home / "writer.py", home / "bare"], stdout=out, check=True)
    (home / "bare.log").unlink()
    return times(home / "bare")


def times(path: Path) -> tuple[float, float]:
    took, cpu = path.read_text().split()
    path.unlink()
    return float(took), float(cpu)


class Writing(Agentd):
    """A daemon whose one agent is the writer, started by hand."""

    def configure(self) -> None:
        super().configure()
        config = self.home / "agentd.toml"
        (self.home / "writer.py").write_text(WRITER)
        text = config.read_text().split("[agents.")[0]
        command = f'["{sys.executable}", "{self.home}/writer.py", "{self.home}/ours"]'
        config.write_text(f'{text}[agents.writer]\ncommand = {command}\nlogs.max_size = "1G"\n')


def compare(pairs: int) -> tuple[float, float]:
    """Returns the median of bare time over ours, and the daemon's CPU over the writer's."""
    ratios, daemon_cpu, writer_cpu = [], 0.0, 0.0
    with tempfile.TemporaryDirectory() as scratch, Writing(1, autostart=False) as daemon:
        home = Path(scratch)
        (home / "writer.py").write_text(WRITER)
        for _ in range(pairs):
            took, _ = bare(home)
            daemon.run(daemon.ctl("start", "writer", "--no-wait"))
            before = procs.own_cpu_s(daemon.process.pid)
            procs.until((daemon.home / "ours").exists, 60, 0.05)
            time.sleep(0.05)  # the file is written in one go right after it appears
            ours, cpu = times(daemon.home / "ours")
            daemon_cpu += procs.own_cpu_s(daemon.process.pid) - before
            writer_cpu += cpu
            ratios.append(took / ours)
            daemon.run(daemon.ctl("wait", "writer", "--for", "stopped"))
    return statistics.median(ratios), daemon_cpu / writer_cpu
