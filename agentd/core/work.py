"""What an agent's work looks like from its steps: the detectors' state of one incarnation."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from agentd.core.detectors.errors import ErrorDetector
from agentd.core.detectors.loop import LoopDetector
from agentd.core.detectors.novelty import NoveltyDetector
from agentd.core.detectors.poll import PollDetector
from agentd.core.lines import Heartbeat

TASKS_KEPT: Final = 16
STATES_KEPT: Final = 64


@dataclass(slots=True)
class Work:
    """Nothing of it lasts beyond the daemon: a pattern that goes on is soon seen again."""

    loop: LoopDetector = field(default_factory=LoopDetector)
    novelty: NoveltyDetector = field(default_factory=NoveltyDetector)
    errors: ErrorDetector = field(default_factory=ErrorDetector)
    polls: PollDetector = field(default_factory=PollDetector)
    task: str | None = None
    progress: float | None = None
    """The highest of this task."""
    progress_fp: str | None = None
    tasks: deque[str] = field(default_factory=lambda: deque(maxlen=TASKS_KEPT))
    states: deque[str] = field(default_factory=lambda: deque(maxlen=STATES_KEPT))

    def begin(self) -> None:
        """A new incarnation: nothing is known of it, and what an operator let pass stays so."""
        self.clear()
        self.novelty.forget()
        self.task = self.progress = self.progress_fp = None
        self.tasks.clear()
        self.states.clear()

    def clear(self) -> None:
        """What repeated itself so far is over."""
        self.loop.clear()
        self.novelty.clear()
        self.errors.clear()
        self.polls.clear()

    def pardon(self, now_ms: int) -> None:
        """An operator let it go on: what stands now is its own affair for a while."""
        self.loop.pardon(now_ms)
        self.clear()

    def note(self, beat: Heartbeat) -> None:
        """Progress that rises, a state or a task not seen before: the work goes on.

        A claim of success is none of these, and a beat from beside the work loop knows
        nothing of it.
        """
        if beat.off_thread:
            return
        task, progress, state = beat.task, beat.progress, beat.progress_fp
        if task is not None and task != self.task:
            self.task = task
            if task not in self.tasks:
                self.tasks.append(task)
                self.progress = None
                self.clear()
        if progress is not None and (self.progress is None or progress > self.progress):
            self.progress = progress
            self.clear()
        if state is not None and state != self.progress_fp:
            self.progress_fp = state
            if state not in self.states:
                self.states.append(state)
                self.clear()
