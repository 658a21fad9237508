"""`make soak MINUTES=n [SEED=n]`: faults by chance on fifty agents, quiet, then the invariants.

The order of faults and what each draws follow from the seed; when each comes also depends on
how long those before it took. Faults that end the daemon come in the first part of the run,
so that in the rest one and the same process shows whether it grows. Exits 1 with what was
broken, each with the faults before it.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.daemon import harness
from tests.faults.guard import SEGMENT, Fleet
from tests.soak import on_agents, on_daemon, on_outside
from tests.soak.figures import WARM_UP_S, kept_told, latencies, sizes, table, totals
from tests.soak.kinds import KINDS, Kind, decks
from tests.soak.looks import Looker
from tests.soak.soak import DAEMON, DEFAULTS, Injected, Missed, Soak, say, steady
from tests.soak.verdicts import judge

KEPT = Path(".soak")
"""What a soak leaves that was broken: its store, recordings and logs."""
MODULES = (on_agents, on_daemon, on_outside)
SEEDS = 1 << 32
ENDING_SHARE = 0.4
"""The part of a run in which the daemon is killed and executed anew."""
QUIET_S = 60.0
SHORT = 5.0
"""Minutes below which faults come thick and fast, and the quiet is short."""
WAIT_S = 90.0
"""How long anything may take that is waited for: fifty agents, and a machine that others use."""
GAP_S = (0.5, 4.0)
ALL_WITHIN_MIN = 30.0
"""In a run of so many minutes a fault of each kind must have taken place."""
TOLD_EVERY_S = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    harness.WAIT_S = WAIT_S
    # A soak that is told to end takes its daemon, its agents and its disk with it.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    seed = arguments.seed if arguments.seed is not None else random.randrange(SEEDS)  # noqa: S311 - dice
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        broken = run(root, arguments.minutes, seed)
    return 1 if broken else 0


def run(root: Path, minutes: float, seed: int) -> list[str]:
    """One soak; what was found broken."""
    say(f"soak of {minutes:g} minutes, seed {seed}: make soak MINUTES={minutes:g} SEED={seed}")
    idle = idle_files(root)
    home = root / "soak"
    home.mkdir(mode=0o755)
    soak = Soak(home, say=say)
    looker = Looker(soak)
    whole = False
    try:
        soak.begin()
        soak.fleet.idle_files = idle
        inject_all(soak, looker, minutes, seed)
        quiet(soak, looker, QUIET_S if minutes >= SHORT else 8.0, seed)
        report(soak, looker, minutes)
        whole = True
    finally:
        soak.close(None if whole and not soak.broken else KEPT / str(seed))
    say(f"{len(soak.broken)} broken, seed {seed}" + "".join(f"\n  {one}" for one in soak.broken))
    return soak.broken


def idle_files(root: Path) -> Counter[str]:
    """The open files of such a daemon with nothing but the bystander to look after, by kind."""
    home = root / "idle"
    home.mkdir(mode=0o755)
    fleet = Fleet(home)
    fleet.configure(daemon=DAEMON, extra=DEFAULTS)
    try:
        fleet.start()
        fleet.stop_watching()
        seen: list[Counter[str]] = []

        def settled() -> bool:
            seen.append(fleet.open_files())
            is_all = seen[-1]["statm"] == 1 and seen[-1][SEGMENT] == 1
            return is_all and len(seen) > 10 and seen[-1] == seen[-10]

        fleet.until_true(settled)
        return seen[-1]
    finally:
        fleet.close()


def inject_all(soak: Soak, looker: Looker, minutes: float, seed: int) -> None:
    """Faults until the time is over, those that end the daemon in the first part."""
    fit = [one for one in KINDS.values() if soak.has_disk or not one.needs_disk]
    for one in KINDS.values():
        if one not in fit:
            say(f"left out: {one.name}: no disk of its own to fill: {soak.tmpfs_refused}")
    say("left out: jumps of the wall clock (I1): there is one clock for the whole machine")
    scale = min(1.0, minutes / SHORT)
    lasting = [one for one in fit if not one.ends_daemon]
    ends = minutes * 60
    for phase, kinds, until_s in (
        ("every kind of fault", fit, ends * ENDING_SHARE),
        ("the daemon lives on", lasting, ends),
    ):
        say(f"{soak.now_s:7.1f} s  {phase}")
        deck = decks(seed + len(kinds), kinds)
        told_s, counts_s = soak.now_s, soak.now_s + WARM_UP_S
        while soak.now_s < until_s:
            kind, draw = next(deck)
            rng = random.Random(draw)  # noqa: S311 - dice, not secrets
            rest(soak, looker, rng.uniform(*GAP_S) * scale)
            inject(soak, looker, kind, rng)
            if soak.now_s - told_s > TOLD_EVERY_S:
                told_s = soak.now_s
                say(kept_told(looker.samples[-1]))
            if soak.now_s > counts_s and kinds is lasting:
                counts_s = ends
                looker.count()
    verify_kinds(soak, fit, minutes)


def verify_kinds(soak: Soak, fit: list[Kind], minutes: float) -> None:
    """A fault that never took place shows nothing."""
    missing = [one.name for one in fit if not soak.took_place[one.name]]
    if missing and minutes >= ALL_WITHIN_MIN:
        soak.broke(f"kinds that never took place: {missing}")


def inject(soak: Soak, looker: Looker, kind: Kind, rng: random.Random) -> None:
    """One fault, and a look right after it."""
    at_s = soak.now_s
    soak.injected.append(Injected(at_s, kind.name))
    seen: str = Missed("trouble")
    with soak.checked(kind.name):
        seen = kind.inject(soak, rng)
    soak.seen[kind.name][seen] += 1
    soak.took_place[kind.name] += not isinstance(seen, Missed)
    looker.life += kind.ends_daemon
    say(f"{at_s:7.1f} s  {kind.name}: {seen} ({soak.now_s - at_s:.1f} s)")
    soak.ensure_alive()
    looker.look()


def rest(soak: Soak, looker: Looker, seconds: float) -> None:
    """Let time pass, looking about once a second and ending what is due."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        soak.mend()
        if left > 1.0:
            looker.look()


def quiet(soak: Soak, looker: Looker, seconds: float, seed: int) -> None:
    """End all faults, have most of them run, leave some as they are, and wait."""
    say(f"{soak.now_s:7.1f} s  quiet for {seconds:g} s")
    soak.mend(everything=True)
    rng = random.Random(seed)  # noqa: S311 - dice, not secrets
    soak.injected.append(Injected(soak.now_s, "quiet"))
    shown = {one["name"]: one for one in soak.fleet.ask("status")["agents"]}
    escalated = [name for name in steady(soak.citizens) if shown[name]["state"] == "escalated"]
    soak.revive(sorted({*escalated, *(n for n in soak.ordinary() if rng.random() < 0.6)}))
    rest(soak, looker, seconds)
    looker.look()


def report(soak: Soak, looker: Looker, minutes: float) -> None:
    """The invariants, and the figures; each is printed whatever became of the others."""
    soak.load.look(soak.fleet.pid)
    looker.count()
    table(soak)
    totals(soak)
    say(soak.load.told())
    sizes(soak, looker)
    latencies(soak)
    judge(soak, looker)
    kinds = sum(map(bool, soak.took_place.values()))
    faults = soak.took_place.total()
    missed = sum(map(Counter.total, soak.seen.values())) - faults
    say(f"{faults} faults of {kinds} kinds in {minutes:g} minutes; {missed} more met nobody")


if __name__ == "__main__":
    sys.exit(main())
