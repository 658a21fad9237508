"""Time as a test may judge it: without what other work on this machine took."""

import time
from pathlib import Path
from typing import Final

_PRESSURE: Final = Path("/proc/pressure/cpu")


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


def _starved_s() -> float:
    """Return what the kernel has counted since its start; 0 where it doesn't count."""
    if not _PRESSURE.exists():
        return 0.0
    some = _PRESSURE.read_text(encoding="ascii").splitlines()[0]
    return int(some.rpartition("total=")[2]) / 1e6
