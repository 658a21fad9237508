"""The loop detector: each rule on both sides of its bounds, and the work it must not stop."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.detectors.loop import PARDON_MS, WINDOW_STEPS, LoopDetector
from agentd.core.lines import Step
from tests.core.steps import LONG, STEP_MS, fresh, step, told, watch

A, B, C = step("where is it", LONG + "a"), step("open it", LONG + "b"), step("go", LONG + "c")


def numbered(count: int, args: str, out: str) -> list[Step]:
    """Steps of which both texts hold the number of the step where they say {}."""
    return [step(args.format(i), out.format(i)) for i in range(count)]


def between(repeated: list[Step], others: int = 1) -> list[Step]:
    """Each step with so many fresh ones before it."""
    steps = []
    for number, each in enumerate(repeated):
        steps += [fresh(100 * number + i) for i in range(others)]
        steps.append(each)
    return steps


RULES = {
    # rule: the steps, when it is warned, when judged
    "streak": ([A] * 9, 3, 5),
    "streak: a changing clock": (numbered(9, "status", LONG + "took {} s"), 3, 5),
    "streak: a changing number": (numbered(9, "list --limit {}", LONG), 3, 5),
    "streak: short answers": ([step("ls", "")] * 9, 3, 5),
    "cycle: 2": ([A, B] * 9, 6, 8),
    "cycle: 3": ([A, B, C] * 9, 9, 12),
    "cycle: 4": ([A, B, C, fresh(1)] * 9, 12, 16),
    "cycle: 5": ([A, B, C, fresh(1), fresh(2)] * 9, 15, 20),
    "often: every 2nd step": (between([A] * 9), 8, 10),
    "often: every 4th step": (between([A] * 9, 3), 16, 20),
    "often: dense, with a clock": (
        [x for i in range(9) for x in (*numbered(2, "status", f"{LONG} {i} {{}}"), fresh(i))],
        5,
        7,
    ),
    "often: dense, with a clock, while others get new answers": (
        [
            x
            for i in range(9)
            for x in (
                *numbered(2, "status", f"{LONG} {i} {{}}"),
                step("cat a.py", fresh(i).out_fp or ""),
            )
        ],
        5,
        7,
    ),
    "same answer": ([step(f"look for {'x' * i}") for i in range(9)], 6, 8),
    "growing": ([step("go\n" * i, f"{LONG}\n" * i) for i in range(1, 9)], 4, 5),
}


@pytest.mark.parametrize("name", RULES)
def test_each_rule_warns_and_judges_at_its_bounds_and_once(name: str) -> None:
    steps, warned, judged = RULES[name]
    found = watch(steps)
    assert told(found) == [(warned, "warning"), (judged, "detected")]
    assert [finding.is_verdict for _, finding in found] == [False, True]
    assert {finding.data["rule"] for _, finding in found} == {name.partition(":")[0]}


def test_the_evidence_says_which_tool_what_how_often_and_over_how_long() -> None:
    finding = watch([A] * 5)[-1][1]
    expected = "search: the same call with the same answer 5 times in a row, within 32s"
    assert finding.message == expected
    assert finding.data == {
        "rule": "streak",
        "count": 5,
        "steps": 5,
        "tool": "search",
        "over_s": 32.0,
    }


ONE_BY_ONE = [step(f"edit {chr(97 + i)}.py", "ok") for i in range(20)]
HEALTHY: dict[str, list[Step]] = {
    "fresh steps": [fresh(i) for i in range(40)],
    "the same question, ever new answers": [step("next", fresh(i).out_fp) for i in range(40)],
    "pages of text": [step(f"page {i}", fresh(i).out_fp) for i in range(40)],
    "bulk edits, one after the other": ONE_BY_ONE,
    "numbered files, a short answer": numbered(40, "mkdir part-{}", "ok"),
    "numbered files, no answer": numbered(40, "sed -i s/a/b/ file{}.py", ""),
    "two short commands a number": [
        x for i in range(20) for x in (step(f"open {i}", "ok"), step(f"close {i}", "done"))
    ],
    "fix and retest, failing": between([step("pytest", "4 failed", ok=False)] * 12),
    "fix and retest, numbers fall": between(numbered(12, "pytest", LONG + "{} failed")),
    "fix and retest, other files change": [
        x
        for i in range(6)
        for x in (fresh(i), step("pytest", LONG), step("cat a.py", fresh(i + 50).out_fp))
    ],
    "retries that succeed": [
        x for i in range(9) for x in (*[step("get", "503", ok=False)] * 2, fresh(i))
    ],
    "errors only": [step("get", "503", ok=False)] * 30,
    "errors of two tools in turn": [
        step("get", "503", ok=False),
        step("put", "503", "write", ok=False),
    ]
    * 9,
    "now and then": between([A] * 9, 7),
    "a conversation that grows": [
        step("\n".join(f"said {chr(97 + j)}" for j in range(i)), fresh(i).out_fp or "")
        for i in range(1, 20)
    ],
    "questions and answers that grow by new lines": [
        step(*("\n".join(f"{said} {chr(97 + j)}" for j in range(i)) for said in ("ask", LONG)))
        for i in range(1, 20)
    ],
    "longer questions, shorter answers": [
        step("go\n" * i, f"{LONG}\n" * (20 - i)) for i in range(1, 20)
    ],
    "no answers told": [Step(tool="search", args_fp="a", args_nfp="a")] * 30,
}


@pytest.mark.parametrize("name", HEALTHY)
def test_work_is_no_loop(name: str) -> None:
    assert "detected" not in [event for _, event in told(watch(HEALTHY[name]))]


QUIET = sorted(
    set(HEALTHY) - {"fix and retest, other files change", "fix and retest, numbers fall"}
)


@pytest.mark.parametrize("name", QUIET)
def test_most_work_is_not_even_warned(name: str) -> None:
    assert watch(HEALTHY[name]) == []


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("seed", range(8))
def test_a_noisy_loop_is_found_within_two_windows(noise: float, seed: int) -> None:
    """Some steps of the loop are replaced by fresh ones, and its answers hold a clock."""
    random = Random(seed)  # noqa: S311 - a test
    steps = [
        fresh(i) if random.random() < noise else step("again", f"{LONG} at {i}")
        for i in range(2 * WINDOW_STEPS)
    ]
    assert "detected" in [event for _, event in told(watch(steps))]


def test_a_pattern_that_went_away_is_news_when_it_comes_back() -> None:
    pause = [fresh(i) for i in range(2 * WINDOW_STEPS)]
    events = [event for _, event in told(watch([A] * 6 + pause + [A] * 6))]
    assert events == ["warning", "detected"] * 2


def test_another_loop_is_another_matter() -> None:
    events = told(watch([A] * 30 + [B] * 30))
    assert [event for _, event in events] == ["warning", "detected"] * 2


def test_progress_before_each_verdict_holds_it_off() -> None:
    detector = LoopDetector()
    for number in range(1, 60):
        finding = detector.observe(A, number * STEP_MS)
        assert finding is None or not finding.is_verdict
        if number % 4 == 0:
            detector.clear()


def test_what_an_operator_let_go_on_is_not_spoken_of_for_an_hour() -> None:
    detector, at_ms = LoopDetector(), 5 * STEP_MS
    assert told(watch([A] * 5, detector))[-1] == (5, "detected")
    detector.pardon(at_ms)
    said = [detector.observe(A, at_ms + i * STEP_MS) for i in range(PARDON_MS // STEP_MS)]
    assert not any(said)
    later = [detector.observe(A, at_ms + PARDON_MS + i * STEP_MS) for i in range(6)]
    assert [finding.event for finding in later if finding] == ["loop.warning", "loop.detected"]


def test_a_pardon_is_for_that_pattern_only() -> None:
    detector = LoopDetector()
    watch([A] * 5, detector)
    detector.pardon(5 * STEP_MS)
    assert told(watch([B] * 5, detector)) == [(3, "warning"), (5, "detected")]


ANY_STEP = st.builds(
    lambda i, long, tool, ok: step(f"call {i}", LONG if long else f"out {i}", tool, ok=ok),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(["a", "b"]),
    st.sampled_from([True, True, True, False]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_STEP, max_size=80))
def test_a_verdict_comes_only_after_a_warning(steps: list[Step]) -> None:
    warned = False
    for _, finding in watch(steps):
        assert warned or not finding.is_verdict
        warned = True


@settings(max_examples=50, deadline=None)
@given(st.lists(ANY_STEP, max_size=60), st.integers(0, 10**12))
def test_when_it_is_does_not_matter(steps: list[Step], shift_ms: int) -> None:
    detector = LoopDetector()
    moved = [detector.observe(each, i * STEP_MS + shift_ms) for i, each in enumerate(steps, 1)]
    assert [finding for finding in moved if finding] == [finding for _, finding in watch(steps)]


def test_memory_is_bounded() -> None:
    """Ten thousand steps of everything leave no more behind than a window and its patterns."""
    random, detector = Random(7), LoopDetector()  # noqa: S311 - a test
    for number in range(10_000):
        kind = step(
            f"{random.randrange(40)} {chr(97 + random.randrange(20))}", tool=str(number % 40)
        )
        detector.observe(random.choice([kind, fresh(number), A, B]), number)
        if number % 100 == 0:
            detector.pardon(number)
    kept = [getattr(detector, name) for name in LoopDetector.__slots__]
    sizes = [
        len(value) for value in kept if isinstance(value, dict | list) or hasattr(value, "popleft")
    ]
    assert sizes
    assert max(sizes) <= 64
