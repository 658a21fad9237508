"""Time as a test may judge it: without what other work on this machine took."""

import time
from pathlib import Path
from typing import Final

_PRESSURE: Final = Path("/proc/pressure/cpu")

UNJUDGED_SHARE: Final = 0.8
"""Of a time beyond its bound: so much of it taken by other work, and it says nothing at all."""

unjudged: Final[list[str]] = []
"""What wasn't judged in this process so far; the table of `make test-faults` tells it by test."""


class Stopwatch:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._starved_s = _starved_s()

    @property
    def wall_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began_s

    @property
    def starved_s(self) -> float:
        """Seconds since it began in which somebody here waited for a core."""
        return _starved_s() - self._starved_s

    @property
    def fair_s(self) -> float:
        """Seconds since it began in which everybody here who could run did."""
        return self.wall_s - self.starved_s

    def within(self, bound_s: float, took_s: float | None = None) -> bool:
        """Whether it took at most so long, in seconds, without what other work took meanwhile.

        What is judged is all of the time since it began, or `took_s` of it. True, too, where
        nearly all of that was taken by others: then it is noted as not judged.
        """
        took_s = self.wall_s if took_s is None else took_s
        starved_s = self.starved_s
        if took_s <= bound_s:
            return True
        if took_s - starved_s > bound_s:
            return False
        if starved_s > UNJUDGED_SHARE * took_s:
            unjudged.append(f"{took_s:.1f} s, {starved_s:.1f} s of them without a core")
        return True


def _starved_s() -> float:
    """Return what the kernel has counted since its start; 0 where it doesn't count."""
    if not _PRESSURE.exists():
        return 0.0
    some = _PRESSURE.read_text(encoding="ascii").splitlines()[0]
    return int(some.rpartition("total=")[2]) / 1e6
