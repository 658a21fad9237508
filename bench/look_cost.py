"""What a look at a stalled agent costs: agentd, py-spy, and an agent that was only slow.

    .venv/bin/python bench/look_cost.py

The agent counts as fast as it can in short turns; it is looked at over and over, and its rate is
compared with that of the seconds between. Figures are in docs/diagnosis.md.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from agentd.daemon import procfs
from agentd.daemon.stacks import find_reader, read_stacks
from agentd.daemon.stall import Findings, Stalled, examine

LOOKS = 20
SPAN_S = 1.0
AGENT = """
import sys, time
def work(turns):
    for turn in range(turns):
        sum(range(2_000))
while True:
    work(20)
    sys.stdout.write("x")
    sys.stdout.flush()
    time.sleep(0.001)
"""


def cpu_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main() -> None:
    out = Path("/dev/shm/look_cost") if Path("/dev/shm").is_dir() else Path("/tmp/look_cost")  # noqa: S108 - a scratch file
    with out.open("wb") as file:
        agent = subprocess.Popen([sys.executable, "-c", AGENT], stdout=file)
    time.sleep(1)
    stat = procfs.stat_of(agent.pid)
    assert stat is not None

    def rate(deed_s: float) -> float:
        before, began_s = out.stat().st_size, time.monotonic()
        time.sleep(deed_s)
        return (out.stat().st_size - before) / (time.monotonic() - began_s)

    reader, start_time = find_reader(), stat.start_time
    stalled = Stalled(
        agent.pid, start_time, {agent.pid: start_time}, None, None, (), reader, 0, lambda: False
    )
    own_s, children_s = cpu_s(resource.RUSAGE_SELF), cpu_s(resource.RUSAGE_CHILDREN)
    alone, looked_at, took_s = [], [], 0.0
    for _ in range(LOOKS):  # by turns, for the host has other work that comes and goes
        alone.append(rate(SPAN_S))
        before, began_s = out.stat().st_size, time.monotonic()
        examine(stalled, time.monotonic() + 2.5, Findings())
        look_s = time.monotonic() - began_s
        looked_at.append((out.stat().st_size - before) / look_s)
        took_s += look_s
    own_s = cpu_s(resource.RUSAGE_SELF) - own_s
    children_s = cpu_s(resource.RUSAGE_CHILDREN) - children_s
    began_s = time.monotonic()
    for _ in range(LOOKS):
        read_stacks(reader, agent.pid, 1.0)
    dump_ms = 1000 * (time.monotonic() - began_s) / LOOKS
    quiet, during = median(alone), median(looked_at)
    print(f"a look: {took_s / LOOKS:.2f} s, agentd {1000 * own_s / LOOKS:.1f} ms of CPU,", end=" ")
    print(f"py-spy {1000 * children_s / LOOKS:.1f} ms of CPU, {dump_ms:.0f} ms for the stack")
    print(f"the agent: {quiet:.0f} turns/s alone, {during:.0f} while it is looked at,", end=" ")
    print(f"{100 * during / quiet:.0f} %")
    agent.kill()
    agent.wait()
    out.unlink()


main()
