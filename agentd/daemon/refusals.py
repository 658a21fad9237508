"""What is refused for security's sake, told once at first and then no more than now and then."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

EVERY_MS: Final = 10_000
KINDS_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Refusal:
    """Somebody tried what it may not; `agent` is who it is, not who it claims to be."""

    kind: str
    """`agent`, `incarnation` or `token` (a false claim), or `command`."""
    message: str
    uid: int
    pid: int
    agent: str | None = None
    incarnation: int | None = None
    count: int = 1
    """How often since the last one of its kind was told."""


class Refusals:
    """Passes on the first refusal of a kind at once, and a flood of them every ten seconds."""

    def __init__(self, tell: Callable[[Refusal], None]) -> None:
        self._tell = tell
        self._told: OrderedDict[tuple[str, str | None, int], tuple[int, int]] = OrderedDict()

    def add(self, refusal: Refusal, now_ms: int) -> None:
        """Tell of it, or count it for the next time."""
        key = (refusal.kind, refusal.agent, refusal.uid)
        at_ms, silent = self._told.pop(key, (now_ms - EVERY_MS, 0))
        if now_ms - at_ms < EVERY_MS:
            self._told[key] = (at_ms, silent + 1)
            return
        self._told[key] = (now_ms, 0)
        if len(self._told) > KINDS_MAX:
            self._told.popitem(last=False)
        self._tell(replace(refusal, count=silent + 1))
