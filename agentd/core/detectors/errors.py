"""Repeated errors: a tool that keeps failing, or the very same call retried in vain.

Not a loop: the agent is told each time that it failed, and what is wrong may lie outside of
it. One success of the tool ends the row; what other tools do does not.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from agentd.config.units import format_duration
from agentd.core.detectors.finding import Finding
from agentd.core.lines import Call, Step

FAILING: Final = "tool.failing"
RETRIES: Final = "retry.limit"

WARN_AT: Final = 5
"""Failures of one class in a row. None of 371 solved runs and 84 passes comes to it: the
longest row is 4, of the very same call 3 (docs/detectors.md)."""
ACT_AT: Final = 8
HEARD_MS: Final = 2_000
"""A verdict comes three tries after the warning, and not before the agent can have heard it:
of ten fetches side by side, all may fail at once."""
CALLS_ACT_AT: Final = 20
CALLS_HEARD_MS: Final = 60_000
"""A call of a model or of a service costs little while it fails, and an outage ends by itself:
with the usual backoff up to a minute, twenty attempts are a quarter of an hour."""
TOOLS_MAX: Final = 16
CLASSES_MAX: Final = 8
CLASS_CHARS: Final = 80
CALL: Final = "call "
"""What the rows of calls are named with, to tell them from tools."""
_CHANGING = re.compile(r"[0-9a-f]{8,}|\d{4,}", re.IGNORECASE)


def error_class(error: str | None) -> str:
    """What kind of error it is: ids and times are left out, codes of three digits stay."""
    return _CHANGING.sub("#", error[:CLASS_CHARS]) if error else "no reason given"


@dataclass(slots=True)
class Row:
    """Failures of one class with no success between."""

    tool: str
    kind: str
    begun_at_ms: int
    count: int = 0
    call: Hashable = None
    """The latest call, and how many of the row's last failures were just that."""
    same: int = 0
    warned_at_ms: int | None = None
    judged: bool = False

    def is_news(self, act_at: int, heard_ms: int, now_ms: int) -> bool:
        """Whether a bound was crossed just now; the second only after the first was heard of."""
        if self.warned_at_ms is None:
            if self.count < WARN_AT:
                return False
            self.warned_at_ms = now_ms
            return True
        if self.judged or self.count < act_at or now_ms - self.warned_at_ms < heard_ms:
            return False
        self.judged = True
        return True

    def finding(self, event: str, told: str, now_ms: int) -> Finding:
        """A warning the first time, a verdict the second."""
        over = format_duration((now_ms - self.begun_at_ms) // 1_000 * 1_000)
        data = {"tool": self.tool, "error": self.kind, "count": self.count}
        return Finding(event, f"{told}, within {over}", data, is_verdict=self.judged)


class ErrorDetector:
    """The failing tools and calls of one incarnation; a few KB at most."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {}

    def clear(self) -> None:
        """Nothing has failed: a new incarnation, a new task, an operator's word."""
        self._rows.clear()

    def forget_calls(self) -> None:
        """What calls have failed so far is explained; tools are another matter."""
        for name in [name for name in self._rows if name.startswith(CALL)]:
            del self._rows[name]

    def observe(self, step: Step, now_ms: int) -> Finding | None:
        """Take one step; a warning comes at `WARN_AT`, a verdict at `ACT_AT`."""
        tool = step.tool or "a step without a tool"
        if step.ok:
            if self._rows:
                self._rows.pop(tool, None)
            return None
        kind = error_class(step.error)
        row = self._row(tool, kind, now_ms)
        call = step.args_nfp or step.args_fp
        row.same = row.same + 1 if call is not None and call == row.call else 1
        row.call = call
        if not row.is_news(ACT_AT, HEARD_MS, now_ms):
            return None
        if row.same >= WARN_AT:
            told = f"{tool}: the same call was tried {row.same} times in a row and failed"
            return row.finding(RETRIES, f"{told} with {kind}", now_ms)
        told = f"{tool}: failed {row.count} times with {kind}, no success between"
        return row.finding(FAILING, told, now_ms)

    def observe_call(self, call: Call, now_ms: int) -> Finding | None:
        """Take the end of a call to a model or a service, and its number of attempts."""
        if call.start:
            return None
        name = " ".join(part for part in (call.op, call.provider, call.model) if part) or "a call"
        if call.ok is not False:
            if self._rows:
                self._rows.pop(CALL + name, None)
            return None
        kind = error_class(call.error)
        row = self._row(CALL + name, kind, now_ms)
        # An agent that reports only the last of its attempts has made the others, too.
        row.count = max(row.count, call.attempt)
        if not row.is_news(CALLS_ACT_AT, CALLS_HEARD_MS, now_ms):
            return None
        told = f"{name}: {row.count} attempts failed with {kind}, none succeeded between"
        return row.finding(RETRIES, told, now_ms)

    def _row(self, name: str, kind: str, now_ms: int) -> Row:
        """The row that this failure belongs to, with it counted."""
        kinds = self._rows.setdefault(name, {})
        if len(self._rows) > TOOLS_MAX:
            del self._rows[next(iter(self._rows))]
        row = kinds.get(kind)
        if row is None:
            if len(kinds) >= CLASSES_MAX:
                del kinds[next(iter(kinds))]
            row = kinds[kind] = Row(name, kind, now_ms)
        row.count += 1
        return row
