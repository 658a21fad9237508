"""Tell the story of one simulated world: `python -m tests.sim [SEED]`; without one, draw it."""

import random
import sys

from tests.sim.swarm import Swarm
from tests.sim.world import Broken


def tell(line: str) -> None:
    """Print one line at once: a world that hangs has told its seed."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Print the seed first, then everything that happens; exit 1 where an invariant breaks."""
    words = sys.argv[1:]
    seed = int(words[0]) if words else random.SystemRandom().randrange(1 << 32)
    tell(f"seed {seed}")
    try:
        sometimes = Swarm(seed, tell).run()
    except Broken as broken:
        tell(f"BROKEN (seed {seed}): {broken}")
        return 1
    tell(", ".join(f"{name} x{times}" for name, times in sorted(sometimes.items())))
    tell(f"every invariant holds (seed {seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
