"""Fresh worlds for as long as there is time: `python -m tests.sim.nightly MINUTES`.

Seeds come from the system, so that no two nights are alike. Each failure is printed with the
command that tells its story. The exit code is 1 where there was any, and where so many worlds
missed a branch that one of them must have taken; fewer prove nothing by that.
"""

import os
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from random import SystemRandom

from tests.sim.reach import SELDOM, arrow, wanted
from tests.sim.swarm import Swarm

MINUTES = 10.0
SEEDS_MAX = 1 << 32
WORLDS_AT_ONCE = 10
"""So many worlds are one errand: a process that is asked for each would be asked too often."""
SHOWN_MAX = 40
WORLDS_ENOUGH = 10_000
"""So many worlds should take every branch, the seldom ones too: see docs/architecture.md."""
Told = tuple[Counter[str], dict[int, str]]


def run(seeds: list[int]) -> Told:
    """Run some worlds; what they reached, and by seed what broke."""
    sometimes: Counter[str] = Counter()
    broken: dict[int, str] = {}
    for seed in seeds:
        try:
            sometimes += Swarm(seed).run()
        except Exception as error:  # noqa: BLE001 - a bug in one world, told with its seed
            broken[seed] = f"{type(error).__name__}: {error}"
    return sometimes, broken


def _night(minutes: float) -> tuple[int, Counter[str], dict[int, str]]:
    """Let all cores work until the time is over."""
    drawn, until_s = SystemRandom(), time.monotonic() + minutes * 60
    cores = os.cpu_count() or 1
    worlds, sometimes, broken = 0, Counter[str](), dict[int, str]()
    with ProcessPoolExecutor(cores) as pool:
        afoot: set[Future[Told]] = set()
        while afoot or time.monotonic() < until_s:
            while len(afoot) < 2 * cores and time.monotonic() < until_s:
                seeds = [drawn.randrange(SEEDS_MAX) for _ in range(WORLDS_AT_ONCE)]
                afoot.add(pool.submit(run, seeds))
            done, afoot = wait(afoot, return_when=FIRST_COMPLETED)
            for each in done:
                reached, failed = each.result()
                sometimes += reached
                worlds += WORLDS_AT_ONCE
                for seed, told in failed.items():
                    _say(f"BROKEN {told[:500]}\n  make sim SEED={seed}")
                broken |= failed
    return worlds, sometimes, broken


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def verdict(worlds: int, missed: list[str], broken: dict[int, str]) -> int:
    """Return the exit code of a night."""
    return 1 if broken or (missed and worlds >= WORLDS_ENOUGH) else 0


def main() -> int:
    """Run for the minutes that are asked for, and sum up."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    worlds, sometimes, broken = _night(minutes)
    names = [*wanted(), *(arrow(*each) for each in SELDOM)]
    reached = [name for name in names if sometimes[name]]
    missed = [name for name in names if not sometimes[name]]
    _say(f"{worlds} worlds, {sometimes['steps']} steps, {len(broken)} broken")
    _say(f"{len(reached)} of {len(names)} branches reached")
    if missed:
        _say(f"not reached: {', '.join(missed[:SHOWN_MAX])}")
    rarest = sorted(reached, key=lambda name: sometimes[name])[:SHOWN_MAX]
    _say("rarest: " + ", ".join(f"{name} x{sometimes[name]}" for name in rarest))
    return verdict(worlds, missed, broken)


if __name__ == "__main__":
    sys.exit(main())
