"""The ladder: a warning steers, a verdict acts as the config says, and excuses are heard."""

import pytest

from agentd.config.agent import LoopConfig
from agentd.core import effects as do
from agentd.core.draining import DRAINING_MS_MAX
from agentd.core.lines import Call, Heartbeat, Status, Step
from agentd.core.states import Intent, State
from tests.core.fleet import Fleet, config, kinds, running
from tests.core.steps import LONG, STEP_MS, fresh, step

A, B = step("where is it"), step("open it", LONG + "b")
LOOPS = ("loop.warning", "loop.detected")


def looping(on_loop: str = "pause", **keys: object) -> Fleet:
    poll_tools = keys.pop("poll_tools", [])
    loop = LoopConfig(on_loop=on_loop, poll_tools=poll_tools)  # type: ignore[arg-type]
    return running(loop=loop, **keys)


def say(fleet: Fleet, *lines: Step | Heartbeat | Call) -> list[do.Effect]:
    """Each line 8 s after the one before."""
    made: list[do.Effect] = []
    for line in lines:
        made += fleet.beat("a", fleet.now_ms + STEP_MS, line)
    return made


def events(fleet: Fleet, *names: str) -> list[str]:
    return [record.event for record in fleet.told(*(names or LOOPS))]


def test_a_loop_is_warned_of_then_judged_then_paused() -> None:
    fleet = looping()
    made = say(fleet, A, A, A)
    (steer,) = [effect for effect in made if isinstance(effect, do.Control)]
    assert (steer.action, steer.reason) == ("steer", "LOOP_DETECTED")
    assert steer.data["rule"] == "streak"
    assert "3 times in a row" in str(steer.data["message"])
    assert fleet.state_of("a") is State.RUNNING
    made = say(fleet, A, A)
    assert "Freeze" in kinds(made)
    assert fleet.state_of("a") is State.PAUSED
    warning, verdict = fleet.told(*LOOPS)
    assert (warning.severity, warning.reason) == ("warning", None)
    assert (verdict.severity, verdict.reason) == ("critical", "LOOP_DETECTED")
    assert fleet["a"].durable.evidence == verdict.message


@pytest.mark.parametrize(
    ("on_loop", "intent", "deed"),
    [
        ("alert", Intent.UP, None),
        ("pause", Intent.PAUSED, "Freeze"),
        ("kill", Intent.KILLED, "KillTree"),
        ("restart", Intent.UP, "Signal"),
    ],
)
def test_what_follows_a_verdict_is_the_configs_word(
    on_loop: str, intent: Intent, deed: str | None
) -> None:
    fleet = looping(on_loop)
    assert {"Freeze", "KillTree", "Signal"}.isdisjoint(kinds(say(fleet, A, A, A, A)))
    made = kinds(say(fleet, A))
    assert fleet["a"].intent is intent
    assert (deed in made) if deed else {"Freeze", "KillTree", "Signal"}.isdisjoint(made)


def test_off_judges_nothing() -> None:
    fleet = looping("off")
    say(fleet, *[A] * 30, *[step("get", "no", ok=False)] * 30)
    assert {record.event for record in fleet.told()}.isdisjoint(
        {*LOOPS, "tool.failing", "retry.limit", "drift.warning"}
    )


def test_a_loop_that_goes_on_is_told_once() -> None:
    fleet = looping("alert")
    say(fleet, *[A] * 200)
    assert events(fleet) == ["loop.warning", "loop.detected"]


def test_lines_that_were_under_way_when_it_was_paused_change_nothing() -> None:
    fleet = looping()
    say(fleet, *[A] * 20, *[B] * 20)
    assert events(fleet, *LOOPS, "agent.paused") == [
        "loop.warning",
        "loop.detected",
        "agent.paused",
    ]


def test_an_external_agent_is_only_told_of() -> None:
    keys = LoopConfig(on_loop="kill")
    fleet = Fleet({"a": config(external=True, loop=keys, token_file="t")}).start()  # noqa: S106 - a path
    fleet.beat("a", 1_000)
    say(fleet, *[A] * 9)
    assert events(fleet) == ["loop.warning", "loop.detected"]
    assert fleet["a"].intent is Intent.UP


def test_a_resume_lets_the_pattern_go_on() -> None:
    fleet = looping()
    say(fleet, *[A] * 5)
    fleet.ask("resume", "a", at_ms=fleet.now_ms + STEP_MS)
    say(fleet, *[A] * 50)
    assert fleet.state_of("a") is State.RUNNING
    say(fleet, *[B] * 5)
    assert fleet.state_of("a") is State.PAUSED


def test_a_new_incarnation_begins_anew() -> None:
    fleet = looping()
    say(fleet, *[A] * 4)
    fleet.end("a", code=1)
    say(fleet, Heartbeat(), *[A] * 4)
    assert events(fleet) == ["loop.warning"] * 2
    assert fleet.state_of("a") is State.RUNNING


def test_a_new_incarnation_has_read_nothing_yet() -> None:
    fleet = looping()
    say(fleet, *[fresh(number) for number in range(20)])
    fleet.end("a", code=1)
    say(fleet, Heartbeat(), *[fresh(number) for number in range(20)])
    assert events(fleet, "drift.warning") == []


@pytest.mark.parametrize(
    "excuse",
    [
        [Heartbeat(progress=share / 100) for share in range(20)],
        [Heartbeat(task=f"t{number}") for number in range(20)],
        [Heartbeat(progress_fp=f"state {number}") for number in range(20)],
    ],
    ids=["progress that rises", "a new task", "a state never seen"],
)
def test_work_that_goes_on_is_no_loop(excuse: list[Heartbeat]) -> None:
    fleet = looping()
    for beat in excuse:
        say(fleet, A, A, A, A, beat)
    assert "loop.detected" not in events(fleet)


@pytest.mark.parametrize(
    "claims",
    [
        [Heartbeat(successes=1)] * 9,
        [Heartbeat(progress=0.5)] * 9,
        [Heartbeat(progress=(9 - number) / 10) for number in range(9)],
        [Heartbeat(task="ab"[number % 2]) for number in range(9)],
        [Heartbeat(progress_fp="ab"[number % 2]) for number in range(9)],
        [Heartbeat(progress=number / 10, off_thread=True) for number in range(9)],
    ],
    ids=["success", "the same progress", "falling", "tasks in turn", "states in turn", "a thread"],
)
def test_c16_a_claim_is_no_evidence(claims: list[Heartbeat]) -> None:
    fleet = looping()
    for claim in claims:
        say(fleet, claim, A)
    assert events(fleet) == ["loop.warning", "loop.detected"]


def test_b14_shutting_down_holds_verdicts_off_for_a_bounded_time() -> None:
    fleet = looping()
    say(fleet, A, A, Heartbeat(status=Status.DRAINING), *[A] * 8)
    assert events(fleet) == []
    while fleet.now_ms < DRAINING_MS_MAX:
        say(fleet, Heartbeat(status=Status.DRAINING), A)
    assert events(fleet) == []
    say(fleet, *[A] * 10)
    assert events(fleet) == ["loop.warning", "loop.detected"]


def test_declared_polling_counts_by_time_not_as_a_loop() -> None:
    fleet = looping(poll_tools=["wait_for_*"])
    poll = step("job 7", "running", "wait_for_job")
    say(fleet, *[poll] * 400)
    assert events(fleet) == []
    say(fleet, *[poll] * 100)
    (warning,) = fleet.told(*LOOPS)
    assert warning.data["rule"] == "poll"
    assert fleet.state_of("a") is State.RUNNING


def test_who_is_idle_may_look_for_work_all_night() -> None:
    fleet = looping(poll_tools=["inbox"])
    say(fleet, Heartbeat(status=Status.IDLE), *[step("new?", "none", "inbox")] * 3_000)
    assert events(fleet) == []


def test_a_poll_between_the_steps_of_a_loop_does_not_hide_it() -> None:
    fleet = looping(poll_tools=["wait"])
    for _ in range(5):
        say(fleet, A, step("job", "running", "wait"))
    assert events(fleet) == ["loop.warning", "loop.detected"]


def test_a_failing_tool_is_steered_then_stopped_with_its_own_reason() -> None:
    fleet = looping()
    made = say(fleet, *[step(f"get {chr(97 + i)}", "no", ok=False) for i in range(7)])
    assert [e.reason for e in made if isinstance(e, do.Control)] == ["TOOL_FAILURE"]
    say(fleet, step("get z", "no", ok=False))
    assert fleet["a"].durable.reason == "TOOL_FAILURE"
    assert fleet.state_of("a") is State.PAUSED


def test_a_call_retried_in_vain_is_stopped_with_its_own_reason() -> None:
    fleet = looping()
    say(fleet, *[Call("c", start=False, attempt=i, ok=False, error="429") for i in range(1, 21)])
    assert fleet["a"].durable.reason == "RETRY_LIMIT_REACHED"
    assert events(fleet, "retry.limit") == ["retry.limit"] * 2


def test_nothing_fails_while_its_provider_asks_it_to_wait() -> None:
    fleet = looping()
    say(fleet, Heartbeat(status=Status.ERROR, retry_after_ms=3_600_000))
    assert fleet.state_of("a") is State.PARKED
    say(fleet, *[step("get", "no", ok=False)] * 20, *[Call("c", start=False, ok=False)] * 30)
    assert events(fleet, "tool.failing", "retry.limit") == []


def test_who_comes_back_when_its_provider_said_retries_nothing_in_vain() -> None:
    fleet = looping()
    refused = Call("c", start=False, op="chat", ok=False, error="RateLimitError")
    for _ in range(40):
        say(fleet, refused, Heartbeat(status=Status.ERROR, retry_after_ms=30_000))
        fleet.pass_time(fleet.now_ms + 30_000)
    assert fleet.state_of("a") is State.RUNNING
    assert events(fleet, "retry.limit") == []


def test_nothing_new_is_a_warning_and_never_a_stop() -> None:
    fleet = looping("kill")
    order = [0, 1, 2, 3, 4, 5, 6, 0, 3, 5, 1, 6, 2, 4, 6, 0, 5, 2, 3, 1, 4]
    say(fleet, *[fresh(number) for number in order])
    assert events(fleet, *LOOPS, "drift.warning") == ["drift.warning"]
    assert fleet["a"].intent is Intent.UP
