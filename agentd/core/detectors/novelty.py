"""Novelty: the agent goes on, and nothing that it reads or writes is new any more.

Judged by the hashes of normalised lines that each step carries. It needs no loop: an agent
that goes round in a wide circle, too irregular for a rule, still sees only old lines. It is a
warning and never more, since reading up again what is known may be right.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from agentd.core.detectors.finding import Finding
from agentd.core.lines import Step

WARNING: Final = "drift.warning"

STEPS: Final = 12
"""The last steps that are looked at together."""
FRESH_SHARE_MAX: Final = 0.05
"""Of their lines this share or less is new. With 12 steps: 1 of 371 solved runs, 0 of 84
passes (docs/detectors.md)."""
FRESH_SHARE_AGAIN: Final = 0.10
"""Above it, what was told is over; the next time is news."""
LINES_MIN: Final = 24
"""Two a step, or a share of them says nothing."""
LINES_REMEMBERED: Final = 2_048
"""Beyond so many, those that came first are let go, half of them at once."""


class NoveltyDetector:
    """The lines of one incarnation; some 250 KB an agent at most."""

    __slots__ = ("_fresh", "_lines", "_said", "_seen", "_steps")

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}
        """A set that knows which came first."""
        self.clear()

    def clear(self) -> None:
        """Judge afresh (a new task, progress); what was seen stays seen."""
        self._steps: deque[tuple[int, int]] = deque()
        """Of each step: its lines, and how many of them were new."""
        self._lines = self._fresh = 0
        self._said = False

    def forget(self) -> None:
        """A new incarnation has seen nothing."""
        self._seen.clear()
        self.clear()

    def observe(self, step: Step) -> Finding | None:
        """Take one step; one without lines tells nothing, and is left out."""
        if not step.lines:
            return None
        fresh = self._remember(step.lines)
        steps = self._steps
        steps.append((len(step.lines), fresh))
        self._lines += len(step.lines)
        self._fresh += fresh
        if len(steps) > STEPS:
            lines, old_fresh = steps.popleft()
            self._lines -= lines
            self._fresh -= old_fresh
        if len(steps) < STEPS or self._lines < LINES_MIN:
            return None
        share = self._fresh / self._lines
        if share > FRESH_SHARE_AGAIN:
            self._said = False
        if share > FRESH_SHARE_MAX or self._said:
            return None
        self._said = True
        return Finding(
            WARNING,
            f"of {self._lines} lines in the last {STEPS} steps, {self._fresh} were new: "
            "it may be going round in a circle",
            {"steps": STEPS, "lines": self._lines, "fresh": self._fresh},
        )

    def _remember(self, lines: Iterable[str]) -> int:
        """How many of these lines were never seen, as far as memory goes."""
        seen = self._seen
        known = len(seen)
        seen.update(dict.fromkeys(lines))
        fresh = len(seen) - known
        if len(seen) > LINES_REMEMBERED:
            self._seen = dict.fromkeys(islice(seen, LINES_REMEMBERED // 2, None))
        return fresh
