"""Declared polling: repeats are its nature, so it is judged by the time it takes, not by count."""

from dataclasses import dataclass
from typing import Final

from agentd.config.units import format_duration
from agentd.core.detectors.finding import Finding
from agentd.core.lines import Step

WARNING: Final = "loop.warning"
TOOLS_MAX: Final = 16


@dataclass(slots=True)
class Wait:
    """One tool is asked again and again, and its answer stays the same."""

    answer: str | None
    since_ms: int
    seen_ms: int
    count: int = 0
    said: bool = False


class PollDetector:
    """The waits of one agent; bounded."""

    __slots__ = ("_waits",)

    def __init__(self) -> None:
        self._waits: dict[str | None, Wait] = {}

    def clear(self) -> None:
        """Whatever was waited for is another matter now."""
        self._waits.clear()

    def observe(self, step: Step, bound_ms: int, now_ms: int) -> Finding | None:
        """Take one step that polls; a warning comes once a wait, beyond `bound_ms` of it.

        A wait ends with another answer, and where nobody asked for as long as the bound.
        """
        answer = step.out_nfp or step.out_fp
        wait = self._waits.get(step.tool)
        if wait is None or wait.answer != answer or now_ms - wait.seen_ms > bound_ms:
            self._waits.pop(step.tool, None)
            if len(self._waits) >= TOOLS_MAX:
                del self._waits[next(iter(self._waits))]
            wait = self._waits[step.tool] = Wait(answer, now_ms, now_ms)
        wait.seen_ms = now_ms
        wait.count += 1
        over_ms = now_ms - wait.since_ms
        if wait.said or over_ms <= bound_ms:
            return None
        wait.said = True
        tool = step.tool or "a step without a tool"
        over = format_duration(over_ms // 1_000 * 1_000)
        return Finding(
            WARNING,
            f"{tool}: polled {wait.count} times over {over}, and its answer has not changed",
            {
                "rule": "poll",
                "count": wait.count,
                "steps": wait.count,
                "tool": step.tool,
                "over_s": over_ms / 1_000,
            },
        )
