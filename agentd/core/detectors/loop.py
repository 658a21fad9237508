"""Loop: the same calls with the same answers, again and again, over fingerprints alone.

Answers are compared as well as arguments: asking the same twice is common, being told the
same five times is not. Each rule has two bounds, a warning and a verdict, and the verdict
never comes before the warning of the same pattern has been given.

| rule | what is seen | warned | verdict |
|---|---|---|---|
| streak | the same call with the same answer, in a row | 3 | 5 |
| cycle | a row of 2 to 5 steps, over and over | x 3 | x 4 |
| often | the same exchange within 24 steps, other work between | 4 | 5 |
| same answer | one tool answers ever new arguments with the very same long text | 6 | 8 |
| growing | arguments and answer grow in each call and hold no new line | 3 | 4 |

The bounds are those of the design, measured with `bench/score_loops.py`; docs/detectors.md
has the figures, and what is not seen. Some things are less strict than the bare rules, for
the sake of agents that work:

- arguments that differ in their numbers alone are the same only where the answer is long:
  `mkdir part-1`, `mkdir part-2`, each answered `ok`, is work;
- an answer that differs in its numbers may be progress between edits (`4 failed`, then
  `3 failed`): with other work between, it counts only where it comes densely, and while other
  questions get new answers, the very same exchange may be had eight times.

A failed step is no loop: `errors.py` counts those. In a cycle it may be one of several.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from agentd.config.units import format_duration
from agentd.core.detectors.finding import Finding
from agentd.core.lines import Step

WARNING: Final = "loop.warning"
DETECTED: Final = "loop.detected"
# What was said of a pattern, in rising order.
NOTHING: Final = 0
WARNED: Final = 1
VERDICT: Final = 2
EVENTS: Final = {WARNED: WARNING, VERDICT: DETECTED}

WINDOW_STEPS: Final = 24
STREAK: Final = (3, 5)
CYCLE_TIMES: Final = (3, 4)
CYCLE_PERIODS: Final = (2, 3, 4, 5)
OFTEN: Final = (4, 5)
OFTEN_DENSE_STEPS: Final = 7
"""Five in so few steps are a loop whatever else is done: of edit and test, tests are half."""
OFTEN_CHANGING: Final = (4, 9)
"""While other questions are answered differently than before, as between edit and test: more
than every third step of the window."""
SAME_ANSWER: Final = (6, 8)
GROWING: Final = (3, 4)
LONG_ANSWER_CHARS: Final = 80
"""A shorter answer (`ok`, nothing) says too little to be compared by."""
LINES_CAP: Final = 64
"""A step names at most so many lines; at the cap, what is new may have been cut off."""
TOOLS_MAX: Final = 16
PATTERNS_MAX: Final = 64
PARDON_MS: Final = 3_600_000
"""How long a pattern that an operator let go on is not spoken of again; as long as the
longest silence that an agent may announce by default."""

Exchange = tuple[str | None, ...]
"""Tool, arguments and answer, as fingerprints."""


@dataclass(slots=True)
class Entry:
    """One step of the window."""

    exchange: Exchange
    raw: Exchange
    ok: bool
    at_ms: int


@dataclass(slots=True)
class Answers:
    """A tool's latest answer, and how many calls in a row got just that."""

    out_fp: str | None = None
    args_fp: str | None = None
    count: int = 0
    varied: bool = False
    begun_at_ms: int = 0
    seen_at: int = 0
    """Number of the step."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A rule that fits at this step: `count` against its two bounds."""

    rule: str
    count: int
    bounds: tuple[int, int]
    members: Sequence[Exchange]
    """What repeats; tells one pattern from another."""
    steps: int
    since_ms: int


class LoopDetector:
    """The steps of one incarnation; some 10 KB an agent that sends steps, bounded."""

    __slots__ = (
        "_answers",
        "_counts",
        "_differed_at",
        "_grown",
        "_grown_since_ms",
        "_last",
        "_number",
        "_pardoned_ms",
        "_repeats",
        "_replies",
        "_runs",
        "_standing",
        "_streak",
        "_window",
    )

    def __init__(self) -> None:
        self._number = 0
        self._standing: dict[Exchange, tuple[int, int]] = {}
        """What was said of what repeats, and at which step it was last seen."""
        self._pardoned_ms: dict[Exchange, int] = {}
        self.clear()

    def clear(self) -> None:
        """Begin anew: its progress rose, it has a new task, or it is a new incarnation."""
        self._window: deque[Entry] = deque()
        self._counts: dict[Exchange, int] = {}
        """Of the window."""
        self._runs = [0] * (CYCLE_PERIODS[-1] + 1)
        """Of each period: so many steps in a row were what came that many steps before."""
        self._repeats = False
        """Whether the last step was in the window before; else all runs are 0."""
        self._streak = 0
        self._replies: dict[Exchange, tuple[str, int]] = {}
        """The last answer to each question, and at which step it came."""
        self._differed_at = -WINDOW_STEPS
        """The last step at which a repeated question was answered differently."""
        self._answers: dict[str | None, Answers] = {}
        self._last: Step | None = None
        self._grown = 0
        self._grown_since_ms = 0
        self._standing.clear()

    def pardon(self, now_ms: int) -> None:
        """An operator let it go on: what stands now is not spoken of for `PARDON_MS`."""
        for member in self._standing:
            self._pardoned_ms[member] = now_ms + PARDON_MS
        while len(self._pardoned_ms) > PATTERNS_MAX:
            del self._pardoned_ms[next(iter(self._pardoned_ms))]
        self.clear()

    def observe(self, step: Step, now_ms: int) -> Finding | None:
        """Take one step; a warning or a verdict comes once while its pattern stands.

        A step that does not tell its answer can't be compared, and ends every row.
        """
        answer = step.out_nfp or step.out_fp
        if answer is None:
            self._streak = self._grown = 0
            self._runs = [0] * len(self._runs)
            self._last = None
            return None
        self._number += 1
        args_fp, args_nfp = step.args_fp or step.args_nfp, step.args_nfp or step.args_fp
        is_long = step.out_len >= LONG_ANSWER_CHARS
        exchange = (step.tool, args_nfp if is_long else args_fp, answer)
        raw = (step.tool, args_fp, step.out_fp or answer)
        self._note_reply((step.tool, args_nfp), answer)
        found: list[Pattern] = []
        self._row(Entry(exchange, raw, step.ok, now_ms), found)
        if step.ok:
            if self._repeats and self._counts[exchange] >= OFTEN[0]:
                self._often(exchange, raw, found)
            if is_long:
                self._same_answer(step, exchange, now_ms, found)
        self._growing(step, now_ms, found)
        return self._say(found, step, now_ms) if found else None

    def _note_reply(self, question: Exchange, answer: str) -> None:
        before = self._replies.pop(question, None)
        if before is not None and before[0] != answer and before[1] > self._number - WINDOW_STEPS:
            self._differed_at = self._number
        self._replies[question] = (answer, self._number)
        if len(self._replies) > WINDOW_STEPS:
            del self._replies[next(iter(self._replies))]

    def _row(self, entry: Entry, found: list[Pattern]) -> None:
        """Streaks and cycles; and the step enters the window."""
        window, counts, exchange = self._window, self._counts, entry.exchange
        known = counts.get(exchange, 0)
        if known:
            self._continue(entry)
        else:
            self._streak = int(entry.ok)
            if self._repeats:
                self._repeats = False
                self._runs = [0] * len(self._runs)
        counts[exchange] = known + 1
        window.append(entry)
        if len(window) > WINDOW_STEPS:
            old = window.popleft().exchange
            counts[old] -= 1
            if not counts[old]:
                del counts[old]
        if self._streak >= STREAK[0]:
            found.append(self._pattern("streak", self._streak, STREAK, [exchange], self._streak))
        elif self._repeats:
            self._cycle(found)

    def _continue(self, entry: Entry) -> None:
        """The step has been seen in the window before: see what it continues."""
        window, exchange = self._window, entry.exchange
        is_same = window[-1].ok and window[-1].exchange == exchange
        self._streak = (self._streak + 1 if is_same else 1) if entry.ok else 0
        self._repeats = True
        for period in CYCLE_PERIODS:
            if len(window) >= period and window[-period].exchange == exchange:
                self._runs[period] += 1
            else:
                self._runs[period] = 0

    def _cycle(self, found: list[Pattern]) -> None:
        """The shortest period counts: a streak has all of them, and a b a b has four, too."""
        for period in CYCLE_PERIODS:
            times = self._runs[period] // period + 1
            if times < CYCLE_TIMES[0]:
                continue
            members = list(islice(reversed(self._window), period))
            if any(member.ok for member in members) and any(
                member.exchange != members[0].exchange for member in members
            ):
                exchanges = [member.exchange for member in reversed(members)]
                steps = times * period
                found.append(self._pattern("cycle", times, CYCLE_TIMES, exchanges, steps))
            return

    def _often(self, exchange: Exchange, raw: Exchange, found: list[Pattern]) -> None:
        """The same exchange with other work between.

        What comes densely counts. So does the very same, the more so while no question is
        answered differently than before; then, what differs in its arguments' numbers, too.
        """
        same = [entry for entry in self._window if entry.ok and entry.exchange == exchange]
        recent = islice(reversed(self._window), OFTEN_DENSE_STEPS)
        dense = sum(entry.ok and entry.exchange == exchange for entry in recent)
        count, bounds = sum(entry.raw == raw for entry in same), OFTEN
        if self._differed_at > self._number - WINDOW_STEPS:
            bounds = OFTEN_CHANGING
        elif all(entry.raw[-1] == raw[-1] for entry in same):
            count = len(same)
        count = max(count, dense)
        if dense >= OFTEN[1]:
            bounds = OFTEN
        if count >= bounds[0]:
            found.append(self._pattern("often", count, bounds, [exchange], len(self._window)))

    def _same_answer(
        self, step: Step, exchange: Exchange, now_ms: int, found: list[Pattern]
    ) -> None:
        """One tool, ever new arguments, and each time the very same long text."""
        last = self._answers.get(step.tool)
        if last is None:
            if len(self._answers) >= TOOLS_MAX:
                del self._answers[next(iter(self._answers))]
            last = self._answers[step.tool] = Answers()
        gone = self._number - WINDOW_STEPS
        if last.out_fp != step.out_fp or step.out_fp is None or last.seen_at <= gone:
            last.out_fp, last.args_fp, last.begun_at_ms = step.out_fp, exchange[1], now_ms
            last.count, last.varied = 0, False
        last.count += 1
        last.varied = last.varied or last.args_fp != exchange[1]
        last.seen_at = self._number
        if last.varied and last.count >= SAME_ANSWER[0]:
            member = ("same answer", step.tool, step.out_fp)
            found.append(
                Pattern(
                    "same answer", last.count, SAME_ANSWER, [member], last.count, last.begun_at_ms
                )
            )

    def _growing(self, step: Step, now_ms: int, found: list[Pattern]) -> None:
        """Arguments and answer grow in each call, and no line of them is new."""
        last, self._last = self._last, step
        if (
            last is not None
            and step.ok
            and step.tool == last.tool
            and step.args_len > last.args_len
            and step.out_len > last.out_len
            and 0 < len(step.lines) < LINES_CAP
            and set(step.lines) <= set(last.lines)
        ):
            if not self._grown:
                self._grown_since_ms = now_ms
            self._grown += 1
            if self._grown >= GROWING[0]:
                since_ms, members = self._grown_since_ms, [("growing", step.tool)]
                found.append(
                    Pattern("growing", self._grown, GROWING, members, self._grown + 1, since_ms)
                )
        else:
            self._grown = 0

    def _pattern(
        self,
        rule: str,
        count: int,
        bounds: tuple[int, int],
        members: Sequence[Exchange],
        steps: int,
    ) -> Pattern:
        """A pattern of the last `steps` steps."""
        window = self._window
        first = window[max(0, len(window) - steps)]
        return Pattern(rule, count, bounds, members, steps, first.at_ms)

    def _say(self, found: Sequence[Pattern], step: Step, now_ms: int) -> Finding | None:
        """Choose what is news: a verdict before a warning, and nothing twice."""
        allowed = [pattern for pattern in found if not self._is_pardoned(pattern, now_ms)]
        levels = [self._level(pattern) for pattern in allowed]
        news: tuple[Pattern, int] | None = None
        for pattern, (level, is_news) in zip(allowed, levels, strict=True):
            self._note_said(pattern, level)
            if is_news and (news is None or level > news[1]):
                news = (pattern, level)
        return _told(*news, step, now_ms) if news is not None else None

    def _is_pardoned(self, pattern: Pattern, now_ms: int) -> bool:
        return any(self._pardoned_ms.get(member, now_ms) > now_ms for member in pattern.members)

    def _level(self, pattern: Pattern) -> tuple[int, bool]:
        """How far the pattern has come, and whether that was not said of it before.

        A verdict wants a warning of everything that repeats, from a step before this one.
        """
        said = [self._said_of(member) for member in pattern.members]
        if pattern.count >= pattern.bounds[1] and min(said) >= WARNED:
            return VERDICT, max(said) < VERDICT
        return WARNED, min(said) < WARNED

    def _said_of(self, member: Exchange) -> int:
        level, seen_at = self._standing.get(member, (NOTHING, 0))
        return level if seen_at > self._number - WINDOW_STEPS else NOTHING

    def _note_said(self, pattern: Pattern, level: int) -> None:
        for member in pattern.members:
            said = max(level, self._said_of(member))
            self._standing.pop(member, None)
            self._standing[member] = (said, self._number)
        while len(self._standing) > PATTERNS_MAX:
            del self._standing[next(iter(self._standing))]


def _told(pattern: Pattern, level: int, step: Step, now_ms: int) -> Finding:
    data = {
        "rule": pattern.rule,
        "count": pattern.count,
        "steps": pattern.steps,
        "tool": step.tool,
        "over_s": (now_ms - pattern.since_ms) / 1_000,
    }
    evidence = _evidence(pattern, step, now_ms)
    return Finding(EVENTS[level], evidence, data, is_verdict=level == VERDICT)


def _evidence(pattern: Pattern, step: Step, now_ms: int) -> str:
    """One line: which tool, what, how many times, over how long."""
    tool, count = step.tool or "a step without a tool", pattern.count
    over = format_duration((now_ms - pattern.since_ms) // 1_000 * 1_000)
    match pattern.rule:
        case "streak":
            what = f"the same call with the same answer {count} times in a row"
        case "cycle":
            what = f"the last of {len(pattern.members)} calls that came in turn {count} times"
        case "often":
            what = f"the same call with the same answer {count} times in {pattern.steps} steps"
        case "same answer":
            what = f"{count} calls with changing arguments, all answered by the very same text"
        case _:
            what = f"{count} calls in a row, each longer than the one before, and nothing new"
    return f"{tool}: {what}, within {over}"
