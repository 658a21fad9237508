"""Score the loop detectors: false alarms on recorded runs, recall on loops put into them.

    python bench/score_loops.py [--records DIR] [--seed 1] [--loops 60] [--batch 25] [--check]

Each run is one agent of one `agentd simulate` trace; --batch 1 gives each a simulation of its
own. A false alarm is a run with at least one loop.warning or loop.detected; beside them stand the
runs with a drift.warning and with a tool.failing or retry.limit. A loop is found in time when
loop.detected comes within 10 steps of its first repeated step.
"""

import argparse
import bisect
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import simulation
from steps_traces import FAMILIES, Run, Step, add_records_option, config, good, inject, load, trace

WITHIN_STEPS = 10
SURE = ("exact", "reworded", "cycle2", "cycle3", "clock", "drift", "drift_clock")
SURE_SHARE_MIN = 0.99
INTERLEAVED_SHARE_MIN = 0.8
KINDS = {
    "loop.warning": "warned",
    "loop.detected": "stopped",
    "drift.warning": "drifting",
    "tool.failing": "failing",
    "retry.limit": "failing",
}


@dataclass
class Verdicts:
    """Steps of one run at which each verdict came."""

    warned: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    drifting: list[int] = field(default_factory=list)
    failing: list[int] = field(default_factory=list)


def judge(agentd: str, runs: list[list[Step]]) -> list[Verdicts]:
    """Simulate runs beside each other, one agent each."""
    names = [f"r{i}" for i in range(len(runs))]
    traces = {name: trace(steps, name) for name, steps in zip(names, runs, strict=True)}
    lines = sorted((line for one, _ in traces.values() for line in one), key=lambda x: x["t"])
    lines.append({"t": lines[-1]["t"] + 1, "end": True})
    found = {name: Verdicts() for name in names}
    for told in simulation.simulate(agentd, config(names), lines):
        kind = KINDS.get(told.get("event", ""))
        if kind is not None:
            times = traces[told["agent"]][1]
            step = bisect.bisect_right(times, told["t"] + 1e-6) - 1
            getattr(found[told["agent"]], kind).append(step)
    return list(found.values())


class Scorer:
    """Simulates in batches, some at a time."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.below: list[str] = []

    def judge_all(self, runs: list[list[Step]]) -> list[Verdicts]:
        size = self.args.batch
        batches = [runs[i : i + size] for i in range(0, len(runs), size)]
        with ThreadPoolExecutor(self.args.jobs) as pool:
            parts = list(pool.map(partial(judge, self.args.agentd), batches))
        return [one for part in parts for one in part]

    def negatives(self, what: str, runs: list[Run], most: int | None) -> None:
        """Count runs with a false alarm; `most` is the bar for loop.detected, if there is one."""
        found = self.judge_all([run["steps"] for run in runs])
        warned = sum(bool(one.warned) for one in found)
        stopped = sum(bool(one.stopped) for one in found)
        n = len(runs)
        drifting = sum(bool(one.drifting) for one in found)
        failing = sum(bool(one.failing) for one in found)
        counts = (warned, stopped, drifting, failing)
        print(f"{what:28}" + "".join(f" {f'{count}/{n}':>14}" for count in counts), flush=True)
        if most is not None and stopped > most:
            self.below.append(f"{what}: loop.detected in {stopped} of {n} runs, wanted {most}")

    def loops(self, family: str, base: list[Run], pool: list[Run]) -> None:
        """Put one family of loops into each run, and count how many are found, and how soon."""
        made = [inject(run, family, self.args.seed, pool) for run in base]
        found = self.judge_all([steps for steps, _ in made])
        delays, warned, n = [], 0, 0
        for (_, at), one in zip(made, found, strict=True):
            if one.stopped and max(one.stopped) < at:
                continue  # stopped before its loop: a false alarm, counted above
            n += 1
            warned += any(step >= at for step in one.warned)
            delays += [step - at + 1 for step in one.stopped if step >= at][:1]
        soon = sum(delay <= WITHIN_STEPS for delay in delays)
        span = f"{statistics.median(delays):.0f}/{max(delays)}" if delays else "-"
        shown = f"{family:28} {len(delays):4d}/{n:<4d} {soon:4d}/{n:<4d} {span:>14} {warned:4d}/{n}"
        print(shown, flush=True)
        if family in SURE and soon < SURE_SHARE_MIN * n:
            self.below.append(f"{family}: {soon} of {n} in time, wanted {SURE_SHARE_MIN:.0%}")
        if family == "interleaved" and len(delays) < INTERLEAVED_SHARE_MIN * n:
            share = f"{INTERLEAVED_SHARE_MIN:.0%}"
            self.below.append(f"{family}: {len(delays)} of {n} found, wanted {share}")
        if family == "grind" and delays:
            self.below.append(f"{family}: {len(delays)} of {n} stopped, and nothing repeats")


def main() -> int:
    """Simulate, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    simulation.add_options(parser)
    add_records_option(parser)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loops", type=int, default=60, help="runs that get each loop family")
    parser.add_argument("--batch", type=int, default=25, help="runs in one simulation")
    parser.add_argument("--only", choices=("negatives", "loops"))
    args = parser.parse_args()
    mini, tau = load("mini", args.records), load("tau", args.records)
    scorer = Scorer(args)
    if args.only != "loops":
        heads = ("loop.warning", "loop.detected", "drift.warning", "errors")
        print(f"{'runs with an alarm':28}" + "".join(f" {head:>14}" for head in heads))
        scorer.negatives("resolved", [run for run in mini if good(run)], 1)
        scorer.negatives("unresolved", [run for run in mini if not good(run)], None)
        scorer.negatives("tau-bench pass", [run for run in tau if good(run)], 0)
        scorer.negatives("tau-bench fail", [run for run in tau if not good(run)], None)
    if args.only != "negatives":
        base = [run for run in mini if good(run) and len(run["steps"]) >= 20][: args.loops]
        print(f"{'loops':28} {'found':>9} {'in time':>9} {'delay med/max':>14} {'warned':>8}")
        for family in FAMILIES:
            scorer.loops(family, base, mini)
    return simulation.verdict(scorer.below, check=args.check)


if __name__ == "__main__":
    sys.exit(main())
