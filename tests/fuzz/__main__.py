"""`make fuzz [LINES=n] [SEED=n] [TARGET=name] [MINUTES=n]`: the long run, with a table.

What is not done after so many minutes is left for the same command, which goes on there.
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Final

from tests.fuzz.record import Job, Record, Told, code_name
from tests.fuzz.runs import Find, Run, open_files, rss_bytes
from tests.fuzz.targets import TARGETS

FOUND: Final = Path(".fuzz")
# Some targets write files by the hundred thousand, which no disk should have to bear.
MEMORY: Final = Path("/dev/shm")
JOB_LINES_MAX: Final = 50_000
# Of each target, so that all cores have one and a piece of a run has some of each.
JOBS_MIN: Final = 8
# Caches of patterns and types fill up in the beginning; from then on it has to be flat.
WARM_PART: Final = 0.1
RSS_GROWTH_MAX_BYTES: Final = 48 << 20


def main() -> int:
    """Run; 0: nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--target", choices=sorted(TARGETS))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=None)
    asked = parser.parse_args()
    names = [asked.target] if asked.target else list(TARGETS)
    say(f"seed {asked.seed}, {asked.lines} lines, {asked.workers} processes")
    jobs = _jobs(names, asked.lines, asked.seed)
    what = f"{asked.target or 'all'}-{asked.lines}-{asked.seed}-{code_name()}"
    record = Record(FOUND / f"run-{what}.jsonl")
    record.read()
    begun_s = time.monotonic()
    end_s = begun_s + asked.minutes * 60 if asked.minutes else None
    # The processes of the pool end without a word: what they leave is taken away here.
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="agentd-fuzz-", dir=place) as scratch:
        before, tempfile.tempdir = tempfile.tempdir, scratch
        _work_off(record, jobs, asked.workers, end_s)
        tempfile.tempdir = before
    runs = [record.told[job] for job in jobs if job in record.told]
    found = sum(_tell(name, [run for run in runs if run["target"] == name]) for name in names)
    left = len(record.left(jobs))
    say(f"{_totals(runs)}, {found} finds, {left} of {len(jobs)} jobs left")
    return 1 if found else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _totals(runs: list[Told]) -> str:
    total = sum(sum(run["outcome"].values()) for run in runs)
    took_s = sum(run["took_s"] for run in runs)
    cpu_s = sum(run["cpu_s"] for run in runs)
    return (
        f"{total} lines in {took_s:.0f} s of one process ({total / max(took_s, 1e-9):.0f} a"
        f" second; checks took {cpu_s:.0f} s of CPU)"
    )


def _jobs(names: list[str], lines: int, seed: int) -> list[Job]:
    """Return all jobs, each of bounded size, the targets in turn so that a piece has of each."""
    weights = sum(TARGETS[name].weight for name in names)
    jobs: list[tuple[float, Job]] = []
    for name in names:
        left = -(-lines * TARGETS[name].weight // weights)
        each = min(JOB_LINES_MAX, -(-left // JOBS_MIN))
        count = -(-left // each)
        jobs += [(number / count, (name, each, f"{seed}-{number}")) for number in range(count)]
    return [job for _, job in sorted(jobs, key=lambda one: one[0])]


def _work_off(record: Record, jobs: list[Job], workers: int, end_s: float | None) -> None:
    """Run what is left in as many processes; none is begun after `end_s` (monotonic)."""
    left = record.left(jobs)
    begun_s = time.monotonic()
    context = multiprocessing.get_context("fork")
    running: dict[Future[Told], Job] = {}
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        while left or running:
            while left and len(running) < workers:
                job = left.pop(0)
                running[pool.submit(_share, *job)] = job
            for one in wait(running, return_when=FIRST_COMPLETED).done:
                record.add(running.pop(one), one.result())
            if end_s is not None and time.monotonic() > end_s:
                left = []
            done = sum(sum(one["outcome"].values()) for one in record.told.values())
            found = sum(len(one["finds"]) for one in record.told.values())
            passed_s = time.monotonic() - begun_s
            sys.stderr.write(f"{done} lines, {found} finds after {passed_s:.0f} s\n")


def _share(name: str, lines: int, seed: str) -> Told:
    """Run one job, in a process that has done others before."""
    run = Run(TARGETS[name], seed)
    warm_bytes, files, kept, begun_s = 0, open_files(), 0, time.monotonic()
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
        "took_s": time.monotonic() - begun_s,
        "cpu_s": run.cpu_s,
        "slowest_s": run.slowest_s,
        "grown_bytes": rss_bytes() - warm_bytes if warm_bytes else 0,
        "files": open_files() - files,
        "finds": [
            {"name": one.name, "dice": one.dice, "told": f"{one.data[:200]!r}\n{one.told}"}
            for one in run.finds
        ],
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
        place = f"{FOUND}/{name}-{find['name']}"
        sys.stdout.write(f"  FOUND {place} (dice {find['dice']}): {find['told']}\n")
    if grown > RSS_GROWTH_MAX_BYTES or files:
        sys.stdout.write("  FOUND memory or open files that are not given back\n")
        return len(finds) + 1
    return len(finds)


if __name__ == "__main__":
    sys.exit(main())
