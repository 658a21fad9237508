"""What an agent's judge is shown, and what it has said so far; figures without a decision."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from agentd.core.lines import Step

# However long the window in the config, so much is kept of an agent's steps.
STEPS_MAX: Final = 200
NOTE_CHARS_MAX: Final = 500
WORD_CHARS_MAX: Final = 200

Shown = dict[str, object]


@dataclass(frozen=True, slots=True)
class Window:
    """The steps that were shown with one question, counted from the start of a run."""

    first: int
    last: int

    def is_mostly(self, other: "Window") -> bool:
        """Whether more than half of the steps are those of the other window too."""
        shared = min(self.last, other.last) - max(self.first, other.first) + 1
        least = min(self.last - self.first, other.last - other.first) + 1
        return 2 * shared > least


@dataclass(slots=True)
class Judging:
    """Of one agent; what is about its run is forgotten with the run."""

    steps: deque[Shown] = field(default_factory=deque)
    seen: int = 0
    """Steps of this run."""
    asked_at: int | None = None
    """The step of the last question; None: the first one is still to come."""
    asked: Window | None = None
    """What is with the judge now."""
    against: list[Window] = field(default_factory=list)
    """Answers in a row that it is no closer."""
    drifting: bool = False
    """Drift was told, and no answer since then said otherwise."""
    failures: int = 0
    """Questions that got no answer, since agentd started."""
    failure_told_at_ms: int | None = None

    def begin(self) -> None:
        """A new run: nothing is known of it, and an answer about the old one comes too late."""
        self.steps.clear()
        self.seen = 0
        self.asked_at = self.asked = None
        self.against.clear()
        self.drifting = False

    def note(self, step: Step, window: int) -> None:
        """Keep a step, and forget the oldest beyond the window."""
        if self.steps.maxlen != min(window, STEPS_MAX):
            self.steps = deque(self.steps, maxlen=min(window, STEPS_MAX))
        self.seen += 1
        self.steps.append(_shown(step))

    def window(self) -> Window:
        """The steps that are kept now."""
        return Window(self.seen - len(self.steps) + 1, self.seen)


def _shown(step: Step) -> Shown:
    return {
        "step": _cut(step.step, WORD_CHARS_MAX),
        "tool": _cut(step.tool, WORD_CHARS_MAX),
        "ok": step.ok,
        "error": _cut(step.error, WORD_CHARS_MAX),
        "args_fp": _cut(step.args_fp, WORD_CHARS_MAX),
        "out_nfp": _cut(step.out_nfp, WORD_CHARS_MAX),
        "note": _cut(step.note, NOTE_CHARS_MAX),
    }


def _cut(text: str | None, chars_max: int) -> str | None:
    return text[:chars_max] if text is not None else None
