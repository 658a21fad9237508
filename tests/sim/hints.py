"""Which world found a planted bug last: where the search for it begins.

A hint and nothing more: worlds change, and a bug that its world no longer shows is searched
for from the first seed on. `python -m tests.sim.hints` writes them anew.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.sim.mutants import MUTANTS, planted
from tests.sim.swarm import Swarm
from tests.sim.world import Broken

FILE = Path(__file__).with_name("hints.json")
SEEDS_MAX = 400


def hint(name: str) -> int:
    """Return the seed to begin with."""
    known: dict[str, int] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return known.get(name, 0)


def finds(name: str, seed: int) -> bool:
    """Whether the world of this seed shows the bug; anything but `Broken` is an error."""
    with planted(name):
        try:
            Swarm(seed).run()
        except Broken:
            return True
    return False


def search(name: str) -> int | None:
    """Return the first seed that finds the bug, the hint before all others."""
    seeds = [hint(name), *range(SEEDS_MAX)]
    return next((seed for seed in seeds if finds(name, seed)), None)


def main() -> int:
    """Search for all of them, and write down what was found."""
    with ProcessPoolExecutor() as pool:
        found = dict(zip(MUTANTS, pool.map(search, MUTANTS), strict=True))
    missed = [name for name, seed in found.items() if seed is None]
    kept = {name: seed for name, seed in sorted(found.items()) if seed is not None}
    FILE.write_text(json.dumps(kept, indent=1) + "\n")
    sys.stdout.write(f"{len(kept)} found, not found: {missed}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
