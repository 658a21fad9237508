"""Seeds of tests that draw what they do: shown, given again, and the same each time in CI."""

import os
import random
from typing import Final

_IN_CI: Final = 20_261_121


def seed() -> int:
    """Return AGENTD_SEED, in CI always the same, else a new one; print it, to be drawn again."""
    given = os.environ.get("AGENTD_SEED")
    if given:
        drawn = int(given)
    elif "CI" in os.environ:
        drawn = _IN_CI
    else:
        drawn = random.randrange(1 << 32)  # noqa: S311 - dice, not secrets
    print(f"AGENTD_SEED={drawn}")  # noqa: T201 - shown when it fails
    return drawn
