"""An agent that beats and measures itself; it prints one JSON object.

    python -m tests.sdk.beating times BEATS     thread CPU and wall time of each heartbeat
    python -m tests.sdk.beating leak BEATS      memory before and after
    python -m tests.sdk.beating marked BEATS    beats between two marks on stderr, for strace

Reads a line from stdin after its first beat, so that the daemon can be stopped or killed.
"""

import gc
import json
import os
import statistics
import sys
import time
from pathlib import Path

import agentd

# Everything after so many beats has long been allocated: a growth is a leak.
WARM_BEATS = 20_000


def beat() -> None:
    agentd.heartbeat(tokens=900, task="ticket-918", progress=0.3)


def times(beats: int) -> dict[str, float]:
    """Return µs: CPU and wall time of beats, and wall time of a loop that only counts."""
    cpu, wall = [], []
    for _ in range(beats):
        cpu_ns, wall_ns = time.thread_time_ns(), time.perf_counter_ns()
        beat()
        wall.append(time.perf_counter_ns() - wall_ns)
        cpu.append(time.thread_time_ns() - cpu_ns)
    median_ns = statistics.median(wall)
    control = []
    for _ in range(beats):
        wall_ns = time.perf_counter_ns()
        while time.perf_counter_ns() - wall_ns < median_ns:
            pass
        control.append(time.perf_counter_ns() - wall_ns)
    last = int(beats * 0.999)
    return {
        "median_us": median_ns / 1e3,
        "cpu_median_us": statistics.median(cpu) / 1e3,
        "cpu_p999_us": sorted(cpu)[last] / 1e3,
        "wall_p999_us": sorted(wall)[last] / 1e3,
        "control_p999_us": sorted(control)[last] / 1e3,
    }


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
        "SC_PAGESIZE"
    )


def leak(beats: int) -> dict[str, float]:
    for _ in range(WARM_BEATS):
        agentd.heartbeat(tokens=900)
    gc.collect()
    before, objects = rss_bytes(), len(gc.get_objects())
    for _ in range(beats):
        agentd.heartbeat(tokens=900)
    gc.collect()
    return {"grown_bytes": rss_bytes() - before, "objects": len(gc.get_objects()) - objects}


def marked(beats: int) -> dict[str, float]:
    os.write(2, b"<beats>")
    # Long enough for some attempts to find the daemon again.
    until_s = time.monotonic() + 1.0
    while beats > 0 or time.monotonic() < until_s:
        beat()
        beats -= 1
    os.write(2, b"</beats>")
    return {}


def main() -> None:
    what, beats = sys.argv[1], int(sys.argv[2])
    beat()
    print("beating", flush=True)  # noqa: T201 - its user reads it
    sys.stdin.readline()
    measure = {"times": times, "leak": leak, "marked": marked}[what]
    print(json.dumps(measure(beats)), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
