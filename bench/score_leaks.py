"""Score the memory-leak warnings on the runs of leak_traces.py, through `agentd simulate`.

    python bench/score_leaks.py [--seeds 5] [--first-seed 0] [--families L1,N3] [--check]

Two tiers: page (the first memory.leak or memory.pressure, which wakes a person) and quiet
(the first memory.suspect); beside them a plain line at 80 % of the limit.
  detected  leaking runs whose first alarm lies between the onset and the limit
  lead      from that alarm to the limit: median and worst
  false     first alarms that are false, and how many of them per leak-free agent-day
Needs numpy.
"""

import argparse
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import simulation
from leak_traces import Label, chosen, make, simulate_config, simulate_lines

LEAD_MIN_MINUTES = {"L3_fast": 10, "L5_staircase": 25}
LEAD_MIN_MINUTES_ELSEWHERE = 30
FOUND_MIN = 0.98
FALSE_A_DAY_MAX = {"page": 0.05, "quiet": 0.2}
LEAD_SHARE_MIN = 0.8
TIERS = {"quiet": ("memory.suspect",), "page": ("memory.leak", "memory.pressure")}
PLAIN = "80 %"
COLUMNS = ("page", "quiet", PLAIN)
DAY_S = 86_400


@dataclass
class Run:
    """One simulated run: the first alarm of each column, in s, and what is true of it."""

    family: str
    label: Label
    end_s: float
    first_s: dict[str, float | None]
    took_s: float


@dataclass
class Score:
    """The figures of one column over some runs."""

    leaks: int = 0
    hits: int = 0
    false: int = 0
    days: float = 0.0
    leads_s: list[float] = field(default_factory=list)

    def add(self, at_s: float | None, label: Label, end_s: float) -> None:
        """Count one run by the first alarm of it."""
        if not label.leak:
            self.days += (end_s if at_s is None else at_s) / DAY_S
            self.false += at_s is not None
            return
        onset_s = float(label.onset_s)
        if label.t_limit_s == "" and (at_s is None or at_s >= onset_s):
            return  # the limit lies beyond the end: an alarm is neither late nor false
        self.leaks += 1
        self.days += min(onset_s, onset_s if at_s is None else at_s) / DAY_S
        if at_s is not None and at_s < onset_s:
            self.false += 1
        elif at_s is not None and at_s < float(label.t_limit_s):
            self.hits += 1
            self.leads_s.append(float(label.t_limit_s) - at_s)

    @property
    def false_a_day(self) -> float:
        return self.false / self.days if self.days else 0.0

    def row(self) -> str:
        lead = f"{'-':>7} {'-':>7}"
        if self.leads_s:
            median_h, worst_h = statistics.median(self.leads_s) / 3600, min(self.leads_s) / 3600
            lead = f"{median_h:7.2f} {worst_h:7.2f}"
        rate = f"{self.false_a_day:6.2f}" if self.days > 0.05 else f"{'-':>6}"
        return f"{self.hits:4d}/{self.leaks:<4d} {lead} {self.false:5d} {rate}"


def run(agentd: str, name: str, seed: int, hours: float, dt: float) -> Run:
    """Simulate one run and note its first alarms."""
    t, rss, tasks, label = make(name, seed, hours, dt)
    begun = time.monotonic()
    lines = simulate_lines(t, rss, tasks, label)
    told = simulation.simulate(agentd, simulate_config(label), lines)
    took_s = time.monotonic() - begun
    first_s: dict[str, float | None] = {
        tier: next((line["t"] for line in told if line.get("event") in events), None)
        for tier, events in TIERS.items()
    }
    over = (rss > 0.8 * label.limit_kib).nonzero()[0]
    first_s[PLAIN] = float(t[over[0]]) if len(over) else None
    return Run(name, label, float(t[-1]), first_s, took_s)


def table(runs: list[Run]) -> dict[str, dict[str, Score]]:
    """Scores by family, and `TOTAL`, by column."""
    names = [*dict.fromkeys(one.family for one in runs), "TOTAL"]
    scores = {name: {column: Score() for column in COLUMNS} for name in names}
    for one in runs:
        for column in COLUMNS:
            for name in (one.family, "TOTAL"):
                scores[name][column].add(one.first_s[column], one.label, one.end_s)
    return scores


def missed(scores: dict[str, dict[str, Score]]) -> list[str]:
    """Say in one line each which bars are missed."""
    below = []
    total = scores["TOTAL"]
    page = total["page"]
    if page.hits < FOUND_MIN * page.leaks:
        below.append(f"page: detected {page.hits} of {page.leaks}, wanted {FOUND_MIN:.0%}")
    for name in scores.keys() - {"TOTAL"}:
        below += missed_by_family(name, scores[name]["page"], scores[name][PLAIN])
    for tier, most in FALSE_A_DAY_MAX.items():
        if total[tier].false_a_day > most:
            below.append(f"{tier}: {total[tier].false_a_day:.3f} false a day, wanted {most}")
    return sorted(below)


def missed_by_family(name: str, page: Score, plain: Score) -> list[str]:
    """Compare one leaking family with its bars and with the plain line."""
    below = []
    least = LEAD_MIN_MINUTES.get(name, LEAD_MIN_MINUTES_ELSEWHERE)
    if page.leads_s and min(page.leads_s) < 60 * least:
        below.append(f"{name}: worst lead {min(page.leads_s) / 60:.1f} min, wanted {least}")
    if page.hits < plain.hits:
        below.append(f"{name}: detected {page.hits}, the 80 % line {plain.hits}")
    if page.leads_s and plain.leads_s:
        ours_h, plain_h = (statistics.median(one.leads_s) / 3600 for one in (page, plain))
        if ours_h < LEAD_SHARE_MIN * plain_h:
            below.append(f"{name}: median lead {ours_h:.2f} h, the 80 % line {plain_h:.2f} h")
    return below


def show(runs: list[Run], scores: dict[str, dict[str, Score]], hours: float) -> None:
    """Print the table for people."""
    heads = (
        f"{c + ': detected':14} {'med h':>5} {'worst':>7} {'false':>5} {'/day':>6}" for c in COLUMNS
    )
    print(f"{'':22} " + "   ".join(heads))
    for name, columns in scores.items():
        print(f"{name:22} " + "   ".join(f"{columns[c].row():>39}" for c in COLUMNS))
    took_s = [one.took_s for one in runs]
    median_s = statistics.median(took_s)
    print(f"slowest run {max(took_s):.2f} s, median {median_s:.2f} s, for {hours:g} h")


def main() -> int:
    """Simulate, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    simulation.add_options(parser)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--dt", type=float, default=30.0, help="seconds between samples")
    parser.add_argument("--families", default="", help="comma-separated; L1,N3 are enough")
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    with ThreadPoolExecutor(args.jobs) as pool:
        begun = [
            pool.submit(run, args.agentd, name, seed, args.hours, args.dt)
            for name in chosen(args.families)
            for seed in seeds
        ]
        runs = [one.result() for one in begun]
    scores = table(runs)
    show(runs, scores, args.hours)
    return simulation.verdict(missed(scores), check=args.check)


if __name__ == "__main__":
    sys.exit(main())
