"""Whether agentd counts heartbeats as the agents do: what a kill may cost, and no more.

Agents count what they sent, and what agentd has answered: a byte each, in files of their own.
What it has answered it has counted. A kill may cost what was counted in the last seconds before
it (docs/operations.md); what was on disk by then it never costs, and nothing is counted twice.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

UNSAVED_S: Final = 5.0
"""What was counted may be so old, and not on disk yet; the daemon's waits for a core left out."""
LATE_MAX: Final = 5
"""Answers that an agent hasn't read yet, of a second at most."""

Counts = dict[str, int]


@dataclass(slots=True)
class Beats:
    """The heartbeats of a fleet, over all kills."""

    home: Path
    names: list[str]
    _looks: list[tuple[float, Counts]] = field(default_factory=list)
    """What was answered since the kill before, at moments of the daemon's own time."""
    _floor: Counts = field(default_factory=dict)
    """What was answered up to the kill before: kept or lost by then."""
    _behind: Counts = field(default_factory=dict)
    """How much less than was answered agentd showed after the kill before."""
    _may_lose: Counts = field(default_factory=dict)

    def sent(self) -> Counts:
        return {name: self._size(name, "sent") for name in self.names}

    def answered(self) -> Counts:
        return {name: self._size(name, "answered") for name in self.names}

    def look(self, daemon: int) -> None:
        """Remember how many were answered by now; to be called often, with the daemon's pid."""
        self._looks.append((own_time_s(daemon), self.answered()))

    def saved(self, daemon: int) -> Counts | None:
        """What must be on disk by now of all that came since the kill before; None: nothing."""
        until_s = own_time_s(daemon) - UNSAVED_S
        return next((one for at_s, one in reversed(self._looks) if at_s <= until_s), None)

    def would_tell(self, daemon: int) -> bool:
        """Whether so many must be on disk by now that their loss would be found."""
        saved = self.saved(daemon) or {}
        return any(saved[n] - self._floor.get(n, 0) > 2 * LATE_MAX for n in saved)

    def killed(self, saved: Counts | None) -> None:
        """Reckon what the kill just now may cost; `saved` was asked for right before it."""
        saved, sent = saved or {}, self.sent()
        floor = {n: max(saved.get(n, 0), self._floor.get(n, 0)) for n in self.names}
        self._may_lose = {name: sent[name] - floor[name] + LATE_MAX for name in self.names}
        self._floor = self.answered()
        self._looks.clear()

    def judged(self, answered: Counts, shown: Counts) -> Iterator[tuple[str, str]]:
        """What is wrong with what agentd shows, of whom: nothing, if all is well.

        `answered` was looked at before that, and what was sent is looked at after it.
        """
        sent = self.sent()
        for name in self.names:
            behind = answered[name] - shown[name]
            if shown[name] > sent[name]:
                yield name, f"{shown[name]} heartbeats counted, {sent[name]} sent"
            if behind > self._behind.get(name, 0) + self._may_lose.get(name, 0):
                told = f"{behind} of {answered[name]} heartbeats are not counted"
                yield name, f"{told}, {self._behind.get(name, 0)} before the kill"

    def settled(self, shown: Counts) -> None:
        """Remember how far agentd was behind; a while later, when its answers have been read."""
        answered = self.answered()
        self._behind = {name: max(0, answered[name] - shown[name]) for name in self.names}

    def _size(self, name: str, what: str) -> int:
        path = self.home / "beats" / f"{name}.{what}"
        return path.stat().st_size if path.exists() else 0


def own_time_s(pid: int) -> float:
    """Seconds of the monotonic clock, less all that its threads waited for a core so far."""
    waited_ns = 0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):  # it has ended
            waited_ns += int((task / "schedstat").read_text().split()[1])
    return time.monotonic() - waited_ns / 1e9
