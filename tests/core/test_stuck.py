"""Novelty, repeated errors and polling: both sides of each bound, and what must not matter."""

from collections.abc import Iterable

import pytest

from agentd.core.detectors.errors import ErrorDetector, error_class
from agentd.core.detectors.finding import Finding
from agentd.core.detectors.novelty import LINES_REMEMBERED, NoveltyDetector
from agentd.core.detectors.poll import PollDetector
from agentd.core.lines import Call, Step
from tests.core.steps import LONG, STEP_MS, fresh, step

HOUR_MS = 3_600_000


def reading(*lines: str) -> Step:
    return Step(tool="read", args_fp="a", out_fp="b", lines=lines)


def stale(steps: Iterable[Step], detector: NoveltyDetector | None = None) -> list[int]:
    """The numbers of the steps, from 1, at which the warning comes."""
    detector = detector or NoveltyDetector()
    return [number for number, each in enumerate(steps, 1) if detector.observe(each)]


PAGES = [reading(*(f"{page}:{line}" for line in range(10))) for page in range(60)]


@pytest.mark.parametrize(("fresh_lines", "warned"), [(6, [24]), (7, [])])
def test_twelve_steps_with_hardly_a_new_line_are_warned_of_once(
    fresh_lines: int, warned: list[int]
) -> None:
    """Of 120 lines, 6 are 5 %, and 7 are more."""
    again = [reading(*(f"{page}:{line}" for line in range(10))) for page in range(12)]
    new = [reading(*(f"new {i}" for i in range(fresh_lines)), *("0:0", "0:1", "0:2", "0:3"))]
    new[0] = reading(*new[0].lines[:10])
    assert len(new[0].lines) == 10
    steps = PAGES[:12] + new + again[:11]
    assert stale(steps) == warned
    assert stale(steps + again * 3)[:1] == (warned or [25])


def test_new_lines_are_work_however_often_old_ones_come_with_them() -> None:
    steps = [reading("prompt", "hint", "banner", f"page {i}") for i in range(60)]
    assert stale(steps) == []


def test_what_went_on_and_got_stuck_again_is_news() -> None:
    old = PAGES[:12]
    assert len(stale([*old, *old, *PAGES[12:24], *old])) == 2


def test_steps_without_lines_and_hardly_any_lines_say_nothing() -> None:
    assert stale([Step(tool="read")] * 60) == []
    assert stale([reading("ok")] * 60) == []


def test_a_new_incarnation_has_seen_nothing_and_a_new_task_is_judged_afresh() -> None:
    detector = NoveltyDetector()
    assert stale([*PAGES[:12], *PAGES[:11]], detector) == []
    detector.clear()
    assert stale(PAGES[:12], detector) == [12]
    detector.forget()
    assert stale(PAGES[:13], detector) == []


def test_the_memory_for_lines_is_bounded() -> None:
    detector = NoveltyDetector()
    stale((reading(*(f"{i} {j}" for j in range(64))) for i in range(500)), detector)
    remembered = [
        detector.observe(reading(*(f"{i} {j}" for j in range(64)))) for i in range(480, 500)
    ]
    assert any(remembered)
    kept = [getattr(detector, name) for name in NoveltyDetector.__slots__]
    assert max(len(each) for each in kept if isinstance(each, dict)) <= LINES_REMEMBERED


def failed(args: str = "get", error: str = "HTTP 503", tool: str = "web") -> Step:
    each = step(args, "no", tool, ok=False)
    each.error = error
    return each


def errors(steps: Iterable[Step], every_ms: int = STEP_MS) -> list[tuple[int, Finding]]:
    detector = ErrorDetector()
    said = (
        (number, detector.observe(each, number * every_ms)) for number, each in enumerate(steps, 1)
    )
    return [(number, finding) for number, finding in said if finding is not None]


def summary(found: Iterable[tuple[int, Finding]]) -> list[tuple[int, str, bool]]:
    return [(number, finding.event, finding.is_verdict) for number, finding in found]


OTHER = [failed(f"get {chr(97 + i)}") for i in range(30)]


def test_a_tool_that_fails_five_times_is_warned_of_and_judged_at_eight() -> None:
    expected = [(5, "tool.failing", False), (8, "tool.failing", True)]
    assert summary(errors(OTHER)) == expected


def test_the_very_same_call_that_fails_is_a_retry() -> None:
    found = errors([failed()] * 30)
    assert summary(found) == [(5, "retry.limit", False), (8, "retry.limit", True)]
    assert found[-1][1].message == (
        "web: the same call was tried 8 times in a row and failed with HTTP 503, within 56s"
    )


@pytest.mark.parametrize(
    "steps",
    [
        [x for i in range(9) for x in (*[failed()] * 4, step(f"get {i}", tool="web"))],
        [failed(error=f"HTTP 50{i % 8}") for i in range(32)],
        [x for tool in "abcdefg" for x in [failed(tool=tool)] * 4],
        [fresh(i) for i in range(40)],
    ],
    ids=["a success between", "eight kinds of error", "each tool four times", "no errors"],
)
def test_fewer_than_five_of_a_kind_without_success_are_nothing(steps: list[Step]) -> None:
    assert errors(steps) == []


def test_the_success_of_another_tool_changes_nothing() -> None:
    steps = [x for i in range(8) for x in (OTHER[i], step(f"note {i}", tool="files"))]
    assert summary(errors(steps)) == [(9, "tool.failing", False), (15, "tool.failing", True)]


def test_what_fails_all_at_once_is_not_judged_before_the_agent_can_have_heard() -> None:
    assert summary(errors(OTHER, every_ms=10)) == [(5, "tool.failing", False)]


def test_after_a_success_the_row_begins_anew() -> None:
    found = errors([*OTHER[:6], step("get", tool="web"), *OTHER[:6]])
    assert summary(found) == [(5, "tool.failing", False), (12, "tool.failing", False)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("timeout at 1732160000", "timeout at 1732163600", True),
        ("request 3f2a9c1d77b0 failed", "request 90aa13bc55ff failed", True),
        ("HTTP 429", "HTTP 500", False),
        ("exit 1", "exit 2", False),
        (None, "", True),
    ],
)
def test_ids_and_times_do_not_make_another_kind_of_error(
    one: str | None, other: str | None, same: bool
) -> None:
    assert (error_class(one) == error_class(other)) is same


def ended(attempt: int = 1, *, ok: bool | None = False) -> Call:
    return Call(
        "c1", start=False, op="chat", provider="openai", attempt=attempt, ok=ok, error="429"
    )


def calls(ends: Iterable[Call], every_ms: int = 30_000) -> list[tuple[int, str, bool]]:
    detector = ErrorDetector()
    said = (
        (number, detector.observe_call(each, number * every_ms))
        for number, each in enumerate(ends, 1)
    )
    return summary((number, finding) for number, finding in said if finding is not None)


def test_attempts_of_a_call_are_warned_of_at_five_and_judged_at_twenty() -> None:
    expected = [(5, "retry.limit", False), (20, "retry.limit", True)]
    assert calls(ended(attempt) for attempt in range(1, 40)) == expected
    assert calls(ended() for _ in range(40)) == expected  # an agent that does not count them


def test_attempts_that_were_not_told_one_by_one_count_by_their_number() -> None:
    assert calls([ended(attempt=6)]) == [(1, "retry.limit", False)]


def test_retries_that_succeed_are_nothing() -> None:
    assert calls([ended(1), ended(2), ended(3), ended(4), ended(5, ok=True)] * 9) == []


def test_calls_side_by_side_that_fail_at_once_are_no_retries_to_stop_for() -> None:
    assert calls((ended() for _ in range(50)), every_ms=100) == [(5, "retry.limit", False)]


def test_failing_tools_and_kinds_are_kept_within_bounds() -> None:
    detector = ErrorDetector()
    for i in range(5_000):
        detector.observe(failed(tool=f"t{i // 99}", error=f"e {i % 99}"), i)
    (rows,) = (getattr(detector, name) for name in ErrorDetector.__slots__)
    assert len(rows) <= 16
    assert max(map(len, rows.values())) <= 8


def waiting(answers: Iterable[str], every_ms: int = 60_000) -> list[int]:
    detector = PollDetector()
    return [
        number
        for number, answer in enumerate(answers)
        if detector.observe(step("job 7", answer, "wait_for_job"), HOUR_MS, number * every_ms)
    ]


def test_a_wait_is_judged_by_its_time_and_told_once() -> None:
    assert waiting([LONG] * 600) == [61]
    assert waiting([LONG] * 600, every_ms=100) == []


def test_another_answer_is_another_wait() -> None:
    assert waiting(["queued"] * 50 + ["running"] * 50) == []
    assert waiting(["queued"] * 50 + ["running"] * 100) == [111]


def test_who_asks_only_now_and_then_does_not_wait() -> None:
    assert waiting([LONG] * 50, every_ms=HOUR_MS + 1) == []
