"""The judge: when it is asked, what it is shown, and when its word is acted on."""

import pytest
from msgspec import structs

from agentd.config.agent import HeartbeatConfig, JudgeConfig
from agentd.config.schema import Config
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.accounts import Periods, Span
from agentd.core.drift import STEPS_MAX, Window
from agentd.core.lines import Heartbeat, Status, Step
from agentd.core.states import Intent, State
from tests.core.fleet import Fleet, running

DAY_MS = 86_400_000


def judged(**keys: object) -> Fleet:
    silent = HeartbeatConfig(required=False)
    return running(heartbeat=silent, judge=JudgeConfig(command=["judge"], **keys))  # type: ignore[arg-type]


def steps(fleet: Fleet, count: int) -> list[do.Judge]:
    """So many steps, each something new; returns the questions asked."""
    asked: list[do.Judge] = []
    for _ in range(count):
        number = str(fleet["a"].judging.seen + 1)
        step = Step(number, f"note {number}", "web", f"a{number}", out_nfp=f"o{number}")
        made = fleet.beat("a", fleet.now_ms + 1_000, step, Heartbeat(step=number))
        asked += [one for one in made if isinstance(one, do.Judge)]
    return asked


def say(fleet: Fleet, **word: object) -> list[do.Effect]:
    return fleet.tell(ev.Judged("a", fleet["a"].incarnation, **word))  # type: ignore[arg-type]


def against(fleet: Fleet, confidence: float = 0.95) -> list[do.Effect]:
    return say(fleet, confidence=confidence, reason="it rereads one page")


def test_nobody_is_asked_without_a_command() -> None:
    fleet = running()
    assert steps(fleet, 100) == []
    assert not fleet["a"].judging.steps


@pytest.mark.parametrize(("after", "every", "asked_at"), [(30, 10, [30, 40, 50]), (0, 25, [1, 26])])
def test_it_is_asked_after_so_many_steps_and_then_every_so_many(
    after: int, every: int, asked_at: list[int]
) -> None:
    fleet = judged(after=after, every=every)
    seen: list[int] = []
    for number in range(1, 51):
        if steps(fleet, 1):
            seen.append(number)
            say(fleet, closer=True, confidence=1.0)
    assert seen == asked_at


def test_a_shorter_distance_between_questions_holds_at_once() -> None:
    fleet = judged(after=5, every=1_000)
    assert len(steps(fleet, 5)) == 1
    say(fleet, closer=True, confidence=1.0)
    judge = JudgeConfig(command=["judge"], after=5, every=5)
    changed = structs.replace(fleet["a"].config, judge=judge)
    fleet.tell(ev.Configured(Config(agents={"a": changed}), applied=frozenset({"a"})))
    assert steps(fleet, 4) == []
    assert len(steps(fleet, 1)) == 1


def test_it_is_shown_the_window_and_what_the_agent_says_of_itself() -> None:
    fleet = judged(after=30, window=20)
    fleet.beat("a", None, Heartbeat(goal="sell", task="t1", progress=0.25))
    [question] = steps(fleet, 30)
    shown = question.payload
    assert (shown["agent"], shown["goal"], shown["task"], shown["progress"]) == (
        *("a", "sell", "t1", 0.25),
    )
    assert isinstance(shown["steps"], list)
    assert len(shown["steps"]) == 20
    assert shown["steps"][0]["step"] == "11"
    assert shown["steps"][-1] == {
        "step": "30", "tool": "web", "ok": True, "error": None,
        "args_fp": "a30", "out_nfp": "o30", "note": "note 30",
    }  # fmt: skip
    assert shown["notes"] == [f"note {number}" for number in range(11, 31)]


def test_only_one_question_is_open_and_the_next_comes_when_it_is_answered() -> None:
    fleet = judged(after=1, every=1)
    assert len(steps(fleet, 5)) == 1
    say(fleet, closer=True, confidence=1.0)
    assert len(steps(fleet, 1)) == 1


def test_drift_is_detected_when_confirmed_on_other_steps() -> None:
    fleet = judged(after=30, every=10, window=20)
    steps(fleet, 30)
    made = against(fleet)
    [steer] = [one for one in made if isinstance(one, do.Control)]
    assert (steer.action, steer.reason) == ("steer", "DRIFT_DETECTED")
    assert "rereads one page" in str(steer.data["message"])
    assert len(fleet.told("drift.warning")) == 1
    assert not any(isinstance(one, do.Alert) for one in made)
    steps(fleet, 10)
    made = against(fleet)
    [record] = fleet.told("drift.detected")
    assert (record.reason, record.severity) == ("DRIFT_DETECTED", "warning")
    assert "2 times in a row" in record.message
    assert record.data["steps"] == [11, 40]
    assert [one.record.event for one in made if isinstance(one, do.Alert)] == ["drift.detected"]


@pytest.mark.parametrize(("confidence", "found"), [(0.9, 1), (0.899, 0)])
def test_only_a_sure_word_counts(confidence: float, found: int) -> None:
    fleet = judged(after=30, every=10, window=20, confidence=0.9)
    steps(fleet, 30)
    against(fleet)
    steps(fleet, 10)
    against(fleet, confidence)
    assert len(fleet.told("drift.detected")) == found


@pytest.mark.parametrize("word", [{"closer": True, "confidence": 0.5}, {"confidence": 0.1}])
def test_any_other_word_between_begins_the_row_anew(word: dict[str, object]) -> None:
    fleet = judged(after=30, every=20, window=20)
    for _ in range(4):
        steps(fleet, 30 if not fleet["a"].judging.seen else 20)
        against(fleet)
        steps(fleet, 20)
        say(fleet, **word)
    assert not fleet.told("drift.detected")


@pytest.mark.parametrize(("every", "found"), [(9, 0), (10, 1)])
def test_the_same_steps_seen_again_are_no_second_opinion(every: int, found: int) -> None:
    fleet = judged(after=30, every=every, window=20)
    steps(fleet, 30)
    against(fleet)
    steps(fleet, every)
    against(fleet)
    assert len(fleet.told("drift.detected")) == found
    if not found:
        steps(fleet, every)
        against(fleet)
        assert fleet.told("drift.detected")


def test_windows_overlap_by_the_smaller_one() -> None:
    assert Window(1, 20).is_mostly(Window(10, 29))
    assert not Window(1, 20).is_mostly(Window(11, 30))
    assert Window(1, 30).is_mostly(Window(25, 34)) is True
    assert not Window(1, 20).is_mostly(Window(21, 40))


@pytest.mark.parametrize(
    ("action", "intent", "state"),
    [
        ("alert", Intent.UP, State.RUNNING),
        ("pause", Intent.PAUSED, State.PAUSED),
        ("kill", Intent.KILLED, State.STOPPING),
        ("restart", Intent.UP, State.STOPPING),
    ],
)
def test_what_is_done_about_drift_is_the_configs_word(
    action: str, intent: Intent, state: State
) -> None:
    fleet = judged(after=1, confirm=1, on_drift=action)
    steps(fleet, 1)
    against(fleet)
    assert (fleet["a"].intent, fleet["a"].state) == (intent, state)


def test_drift_that_goes_on_is_told_once_and_again_after_it_was_closer() -> None:
    fleet = judged(after=1, every=20, window=20)
    for _ in range(6):
        steps(fleet, 20)
        against(fleet)
    assert len(fleet.told("drift.detected")) == 1
    steps(fleet, 20)
    say(fleet, closer=True, confidence=0.99)
    for _ in range(2):
        steps(fleet, 20)
        against(fleet)
    assert len(fleet.told("drift.detected")) == 2


def test_a_judge_that_fails_gives_no_verdict_and_is_told_hourly() -> None:
    fleet = judged(after=1, every=1, confirm=1)
    for _ in range(3):
        steps(fleet, 1)
        say(fleet, error="exited with code 1")
    assert not fleet.told("drift.detected", "drift.warning")
    [record] = fleet.told("judge.failed")
    assert "exited with code 1" in record.message
    fleet.beat("a", fleet.now_ms + 3_600_000)
    steps(fleet, 1)
    say(fleet, error="exited with code 1")
    assert [one.data["failures"] for one in fleet.told("judge.failed")] == [1, 4]


def test_a_failure_between_does_not_forget_the_first_word() -> None:
    fleet = judged(after=30, every=10, window=20)
    steps(fleet, 30)
    against(fleet)
    steps(fleet, 10)
    say(fleet, error="took longer than 60 s")
    steps(fleet, 10)
    against(fleet)
    assert fleet.told("drift.detected")


def test_what_it_costs_is_the_agents_even_if_it_comes_late() -> None:
    fleet = judged(after=1, every=1)
    steps(fleet, 1)
    incarnation = fleet["a"].incarnation
    say(fleet, closer=True, confidence=1.0, cost_micros=1_500)
    steps(fleet, 1)
    fleet.end("a", code=1)
    fleet.tell(ev.Judged("a", incarnation, confidence=1.0, cost_micros=500))
    assert fleet["a"].durable.cost_micros == 2_000
    assert not fleet.told("drift.warning")


def test_its_cost_is_not_part_of_what_a_heartbeat_says_of_its_own_cycle() -> None:
    fleet = judged(after=1)
    steps(fleet, 1)
    say(fleet, closer=True, confidence=1.0, cost_micros=1_500)
    fleet.beat("a", None, Heartbeat(cost_micros=1_000))
    assert fleet["a"].durable.cost_micros == 2_500


def day(number: int) -> ev.PeriodsBegan:
    span = Span(number * DAY_MS, (number + 1) * DAY_MS)
    return ev.PeriodsBegan(Periods(span, span, span))


def test_it_is_asked_so_often_a_civil_day_at_most() -> None:
    fleet = judged(after=1, every=1, max_per_day=3)
    fleet.tell(day(10))
    asked = 0
    for _ in range(6):
        asked += len(steps(fleet, 1))
        say(fleet, closer=True, confidence=1.0)
    assert asked == 3
    assert (fleet["a"].durable.judged, fleet["a"].durable.judged_day_ms) == (3, 10 * DAY_MS)
    fleet.tell(day(11))
    assert len(steps(fleet, 1)) == 1


def test_nobody_is_asked_while_it_drains_and_an_answer_then_says_nothing() -> None:
    fleet = judged(after=2, every=1, confirm=1)
    steps(fleet, 2)
    fleet.beat("a", None, Heartbeat(status=Status.DRAINING))
    against(fleet)
    fleet.beat("a", None, Step("x"))
    assert not fleet.told("drift.detected")
    assert fleet["a"].judging.asked is None


def test_nobody_is_asked_about_a_paused_agent() -> None:
    fleet = judged(after=1, every=1, confirm=1)
    steps(fleet, 1)
    fleet.ask("pause", "a")
    against(fleet)
    made = fleet.beat("a", None, Step("late"))
    assert not [one for one in made if isinstance(one, do.Judge)]
    assert not fleet.told("drift.detected")


def test_a_new_run_is_judged_from_its_own_steps() -> None:
    fleet = judged(after=2, confirm=1)
    steps(fleet, 2)
    fleet.end("a", code=1)
    fleet.beat("a", fleet.now_ms + 1_000)
    assert against(fleet) == []
    assert len(steps(fleet, 1)) == 0
    assert len(steps(fleet, 1)) == 1


def test_what_is_kept_of_the_steps_is_bounded() -> None:
    fleet = judged(after=10_000, window=1_000_000)
    for _ in range(STEPS_MAX + 10):
        fleet.beat("a", None, Step("s" * 9_999, "n" * 9_999, "t" * 9_999))
    kept = fleet["a"].judging.steps
    assert len(kept) == STEPS_MAX
    assert all(len(str(step)) < 2_000 for step in kept)


def test_what_it_costs_is_kept_soon() -> None:
    fleet = judged(after=1)
    steps(fleet, 1)
    fleet.pass_time(fleet.now_ms + 10_000)
    say(fleet, closer=True, confidence=1.0, cost_micros=1_500)
    fleet.pass_time(fleet.now_ms + 4_000)
    kept = [one for _, one in fleet.effects if isinstance(one, do.Persist)]
    assert kept[-1].durable.cost_micros == 1_500
