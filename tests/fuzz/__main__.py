"""`make fuzz [LINES=n] [SEED=n] [TARGET=name]`: the long run, on all cores, with a table."""

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

from tests.fuzz.runs import Find, Run, open_files, rss_bytes
from tests.fuzz.targets import TARGETS

FOUND: Final = Path(".fuzz")
JOB_LINES_MAX: Final = 100_000
# Caches of patterns and types fill up in the beginning; from then on it has to be flat.
WARM_PART: Final = 0.1
RSS_GROWTH_MAX_BYTES: Final = 48 << 20

Told = dict[str, Any]


def main() -> int:
    """Run; 0: nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--target", choices=sorted(TARGETS))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    names = [asked.target] if asked.target else list(TARGETS)
    sys.stdout.write(f"seed {asked.seed}, {asked.lines} lines, {asked.workers} processes\n")
    sys.stdout.flush()
    begun_s = time.monotonic()
    runs = _all(names, asked.lines, asked.seed, asked.workers)
    took_s = time.monotonic() - begun_s
    found = sum(_tell(name, [run for run in runs if run["target"] == name]) for name in names)
    total = sum(sum(run["outcome"].values()) for run in runs)
    cpu_s = sum(run["cpu_s"] for run in runs)
    sys.stdout.write(
        f"{total} lines in {took_s:.0f} s ({total / took_s:.0f} a second, checks took "
        f"{cpu_s:.0f} s of CPU), {found} finds\n"
    )
    return 1 if found else 0


def _all(names: list[str], lines: int, seed: int, workers: int) -> list[Told]:
    """Run in as many processes, in jobs of bounded size; return what became of each."""
    weights = sum(TARGETS[name].weight for name in names)
    jobs: list[tuple[str, int, str]] = []
    for name in names:
        left = -(-lines * TARGETS[name].weight // weights)
        each = min(JOB_LINES_MAX, -(-left // workers))
        jobs += [(name, each, f"{seed}-{number}") for number in range(-(-left // each))]
    told: list[Told] = []
    begun_s = time.monotonic()
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for job in as_completed([pool.submit(_share, *job) for job in jobs]):
            told.append(job.result())
            done = sum(sum(one["outcome"].values()) for one in told)
            found = sum(len(one["finds"]) for one in told)
            passed_s = time.monotonic() - begun_s
            sys.stderr.write(f"{done} lines, {found} finds after {passed_s:.0f} s\n")
    return told


def _share(name: str, lines: int, seed: str) -> Told:
    """Run one job, in a process that has done others before."""
    run = Run(TARGETS[name], seed)
    warm_bytes, files, kept = 0, open_files(), 0
    for _ in run.until(lines):
        while kept < len(run.finds):
            _keep(run.finds[kept])
            kept += 1
        if not warm_bytes and run.lines > lines * WARM_PART:
            warm_bytes, files = rss_bytes(), open_files()
    return {
        "target": name,
        "outcome": dict(run.outcome),
        "inputs": run.inputs,
        "bytes": run.size_bytes,
        "cpu_s": run.cpu_s,
        "slowest_s": run.slowest_s,
        "grown_bytes": rss_bytes() - warm_bytes if warm_bytes else 0,
        "files": open_files() - files,
        "finds": run.finds,
    }


def _keep(find: Find) -> None:
    """Write down what was found, and how, as soon as it is."""
    FOUND.mkdir(exist_ok=True)
    (FOUND / f"{find.target}-{find.name}").write_bytes(find.data)
    told = f"dice {find.dice}\n{find.told}"
    (FOUND / f"{find.target}-{find.name}.txt").write_text(told, encoding="utf-8")


def _tell(name: str, runs: list[Told]) -> int:
    """Print what was seen of a target, keep what was found; return how much that was."""
    outcome: Counter[str] = Counter()
    for run in runs:
        outcome.update(run["outcome"])
    cpu_s = sum(run["cpu_s"] for run in runs)
    size = sum(run["bytes"] for run in runs)
    grown = max((run["grown_bytes"] for run in runs), default=0)
    files = max((run["files"] for run in runs), default=0)
    slowest_ms = max((run["slowest_s"] for run in runs), default=0) * 1000
    sys.stdout.write(
        f"{name}: {outcome.total()} in {sum(run['inputs'] for run in runs)} inputs,"
        f" {size >> 20} MiB, {outcome.total() / max(cpu_s, 1e-9):.0f} a second of CPU,"
        f" slowest input {slowest_ms:.0f} ms, memory +{grown >> 10} KiB, open files {files:+d}\n"
        f"  {json.dumps(dict(outcome.most_common()))}\n"
    )
    finds = [find for run in runs for find in run["finds"]]
    for find in finds:
        what = f"{find.data[:200]!r}\n{find.told}"
        sys.stdout.write(f"  FOUND {FOUND}/{name}-{find.name} (dice {find.dice}): {what}\n")
    if grown > RSS_GROWTH_MAX_BYTES or files:
        sys.stdout.write("  FOUND memory or open files that are not given back\n")
        return len(finds) + 1
    return len(finds)


if __name__ == "__main__":
    sys.exit(main())
