"""What has been reported since the last heartbeat, to leave with the next one."""

from __future__ import annotations

from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LATENCIES_MAX: Final = 64
FOLD_AT: Final = 64


class Report:
    """One call of `report`, checked."""

    __slots__ = ("cost_usd", "failures", "latencies_ms", "successes")

    def __init__(
        self, successes: int, failures: int, latencies_ms: list[float], cost_usd: float | None
    ) -> None:
        self.successes = successes
        self.failures = failures
        self.latencies_ms = latencies_ms
        self.cost_usd = cost_usd

    def add(self, other: Report) -> None:
        """Add another one; of the latencies the newest are kept, `LATENCIES_MAX` of them."""
        self.successes += other.successes
        self.failures += other.failures
        self.latencies_ms = (self.latencies_ms + other.latencies_ms)[-LATENCIES_MAX:]
        if other.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + other.cost_usd


class Tally:
    """Sums of any number of reports, from any thread; nobody ever waits for its lock."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._waiting: list[Report] = []
        self._sum: Report | None = None

    def add(self, report: Report) -> None:
        """Note a report."""
        self._waiting.append(report)
        if len(self._waiting) >= FOLD_AT and self._lock.acquire(False):
            try:
                self._fold()
            finally:
                self._lock.release()

    def take(self) -> Report | None:
        """Return the sum and begin anew; None: nothing to tell, or somebody is just adding."""
        if (self._sum is None and not self._waiting) or not self._lock.acquire(False):
            return None
        try:
            self._fold()
            taken, self._sum = self._sum, None
            return taken
        finally:
            self._lock.release()

    def _fold(self) -> None:
        while self._waiting:
            report = self._waiting.pop(0)
            if self._sum is None:
                self._sum = report
            else:
                self._sum.add(report)
