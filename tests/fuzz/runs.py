"""Throw inputs at a target for as long as is asked, and keep what it could not bear."""

import gc
import hashlib
import os
import random
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Final

from tests.fuzz.target import Outcome, Target

# Seconds of CPU; nothing that a peer sends may take a part of it.
HANGS_S: Final = 30.0
# An input is suspected beyond that, and found where it costs so many times what others do.
SUSPECT_S: Final = 0.25
SLOWER_MAX: Final = 50
FINDS_MAX: Final = 20
SHRINK_STEPS_MAX: Final = 400


class TooSlowError(Exception):
    """An input took too long."""


@dataclass(frozen=True, slots=True)
class Find:
    """An input that broke something: where its dice stood, and what was raised."""

    target: str
    dice: str
    data: bytes
    told: str

    @property
    def name(self) -> str:
        return hashlib.sha256(self.data).hexdigest()[:12]


@dataclass(slots=True)
class Run:
    """What one run of one target has seen so far."""

    target: Target
    seed: str
    outcome: Outcome = field(default_factory=Counter)
    finds: list[Find] = field(default_factory=list)
    inputs: int = 0
    size_bytes: int = 0
    cpu_s: float = 0.0
    slowest_s: float = 0.0

    @property
    def lines(self) -> int:
        return self.outcome.total()

    def until(self, lines: int) -> Iterator[None]:
        """Go on until so many lines were tried or enough was found, a breath each input."""
        while self.lines < lines and len(self.finds) < FINDS_MAX:
            self.one(f"{self.seed}-{self.target.name}-{self.inputs}")
            yield

    def one(self, dice: str) -> None:
        """Make and check one input."""
        data = self.target.make(random.Random(dice))
        begun_s = process_time()
        try:
            with _cpu_bound():
                self.outcome += self.target.check(data)
        except Exception:  # noqa: BLE001 - whatever gets out is a find
            self.outcome["FOUND"] += 1
            self.finds.append(self._find(dice, data))
        took_s = process_time() - begun_s
        if took_s > SUSPECT_S and self._is_slow(data):
            told = f"{took_s:.2f} s of CPU for {len(data)} bytes"
            self.finds.append(Find(self.target.name, dice, data, told))
        self.inputs += 1
        self.size_bytes += len(data)
        self.cpu_s += took_s
        self.slowest_s = max(self.slowest_s, took_s)

    def _find(self, dice: str, data: bytes) -> Find:
        told = traceback.format_exc(limit=-4)
        return Find(self.target.name, dice, shrunk(self.target, data), told)

    def _is_slow(self, data: bytes) -> bool:
        """Judge by others of this target, of that size; a host that was busy is no find."""
        if not self.size_bytes:
            return False
        usual_s = self.cpu_s / self.inputs + self.cpu_s / self.size_bytes * len(data)
        took_s = min(_cost_s(self.target.check, data) for _ in range(3))
        return took_s > SLOWER_MAX * usual_s


def _cost_s(check: Callable[[bytes], Outcome], data: bytes) -> float:
    begun_s = process_time()
    try:
        check(data)
    except Exception:  # noqa: BLE001 - it is another's to judge
        return 0.0
    return process_time() - begun_s


@contextmanager
def _cpu_bound() -> Iterator[None]:
    """Raise `TooSlowError` into what takes for ever."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError(f"still at it after {HANGS_S:g} s of CPU")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, HANGS_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def shrunk(target: Target, data: bytes) -> bytes:
    """Return less of an input that still raises the same kind of thing."""
    wanted = _raised(target, data)
    if wanted is None:
        return data
    steps, size = 0, max(1, len(data) // 2)
    while steps < SHRINK_STEPS_MAX:
        at, smaller = 0, False
        while at < len(data) and steps < SHRINK_STEPS_MAX:
            less = data[:at] + data[at + size :]
            steps += 1
            if _raised(target, less) == wanted:
                data, smaller = less, True
            else:
                at += size
        if size == 1 and not smaller:
            break
        size = max(1, size // 2)
    return data


def _raised(target: Target, data: bytes) -> str | None:
    try:
        with _cpu_bound():
            target.check(data)
    except Exception as error:  # noqa: BLE001 - the kind is what is asked for
        return f"{type(error).__name__} {error}"[:60]
    return None


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted


def rss_bytes() -> int:
    """Return what this process holds, after what nobody uses any more is gone."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
