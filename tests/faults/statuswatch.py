"""A thread beside a test that asks the daemon for its status, and writes down how long it took."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.daemon.harness import Refused
from tests.faults.programs.starvation import CoreWatch

STATUS_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Asked:
    """One question for `status`; `took_ms` leaves out what was spent waiting for a core."""

    begun: float
    ended: float
    took_ms: float
    error: Exception | None = None


class StatusWatch(threading.Thread):
    """Asks at once, and then four times a second."""

    def __init__(self, ask: Callable[[], object], pid: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self._pid = pid
        self._over = threading.Event()
        self.asked: list[Asked] = []

    def run(self) -> None:
        over = False
        while not over:
            watch = CoreWatch(self._pid())
            error = None
            try:
                self._ask()
            except (OSError, Refused) as failed:
                error = failed
            took_ms, starved_ms = watch.took_ms()
            self.asked.append(Asked(watch.begun, time.monotonic(), took_ms - starved_ms, error))
            over = self._over.wait(STATUS_EVERY_S)

    def stop(self) -> None:
        self._over.set()
        self.join(10)
