"""A look before the axe: who waits for it, what overtakes it, what is kept of it."""

from collections.abc import Iterable

import pytest

from agentd.config.agent import AgentConfig, HeartbeatConfig, RestartConfig
from agentd.config.units import Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.diagnosis import DIAGNOSIS_MS_MAX, LINE_CHARS_MAX
from agentd.core.lines import Call, Heartbeat, Hello, Step
from agentd.core.states import Intent, State, StopReason
from tests.core.fleet import Fleet, config, running, seen

# running() beats at 1 s; unreachable above 300 s of silence.
SILENT_MS = 301_001
WHERE = "in do_handshake (api_client.py:47), socket to 10.0.0.7:443, CPU 0 %"


def looked_at(made: Iterable[do.Effect], kind: str = "stall") -> list[do.Diagnose]:
    return [one for one in made if isinstance(one, do.Diagnose) and one.kind == kind]


def silent(**keys: object) -> tuple[Fleet, do.Diagnose]:
    """An agent that has just become unreachable, and the look that nobody has answered yet."""
    fleet = running(**keys)
    fleet.sees_at_once = False
    fleet.pass_time(SILENT_MS)
    (asked,) = looked_at(effect for _, effect in fleet.effects)
    return fleet, asked


def signals(fleet: Fleet) -> list[do.Effect]:
    return [effect for _, effect in fleet.effects if isinstance(effect, do.Signal | do.KillTree)]


def kept(fleet: Fleet) -> list[do.SaveEvidence]:
    return [effect for _, effect in fleet.effects if isinstance(effect, do.SaveEvidence)]


def test_nothing_is_told_and_nobody_is_signalled_before_the_look_is_over() -> None:
    fleet, asked = silent()
    assert (asked.agent, asked.incarnation, asked.asked_at_ms) == ("a", 1, SILENT_MS)
    fleet.pass_time(SILENT_MS + DIAGNOSIS_MS_MAX - 1)
    assert not fleet.told("agent.unreachable")
    assert not signals(fleet)
    fleet.tell(seen(asked, WHERE))
    (told,) = fleet.told("agent.unreachable")
    assert told.message.startswith(f"stuck 5m3s {WHERE}; silent for ")
    assert fleet.state_of("a") is State.STOPPING


def test_where_it_is_stuck_is_the_reason_that_its_end_is_given() -> None:
    fleet, asked = silent()
    fleet.tell(seen(asked, WHERE))
    fleet.end("a", signal=15)
    (told,) = fleet.told("agent.exited")
    assert told.reason == StopReason.TIMEOUT
    assert told.message == f"TIMEOUT: stuck 5m {WHERE}; signal 15 (SIGTERM) after 0s"


def test_the_evidence_of_a_verdict_is_told_once_and_kept_whole() -> None:
    fleet, asked = silent(restart=RestartConfig(failures_max=1))
    fleet.tell(seen(asked, WHERE))
    fleet.end("a", signal=15)
    evidence = "silent for 5m (a heartbeat is expected every"
    said = [one.event for one in fleet.told() if evidence in one.message]
    assert said == ["agent.unreachable"]
    (escalated,) = fleet.told("agent.escalated")
    assert escalated.message.endswith(f": TIMEOUT, stuck 5m {WHERE}; signal 15 (SIGTERM) after 0s")
    last = fleet["a"].durable.last_exit
    assert last is not None
    assert evidence in last.evidence


@pytest.mark.parametrize(
    ("where", "sampled"),
    [
        (WHERE, ["wait channel futex_wait"]),
        ("in read (wait channel wait_woken), socket to 10.0.0.7:443, CPU 0 %", []),
        ("", ["CPU 0 %, wait channel futex_wait"]),
    ],
)
def test_what_the_look_has_shown_is_not_said_again(where: str, sampled: list[str]) -> None:
    fleet = running()
    for at_ms in (2_000, 3_000):
        sample = ev.Sampled("a", 1, 1 << 20, cpu_ms=0, io_bytes=0, wait_channel="futex_wait")
        fleet.tell(sample, at_ms)
    fleet.sees_at_once = False
    fleet.pass_time(SILENT_MS)
    (asked,) = looked_at(effect for _, effect in fleet.effects)
    fleet.tell(seen(asked, where))
    (told,) = fleet.told("agent.unreachable")
    silence = "silent for 5m (a heartbeat is expected every 30s)"
    stuck = [f"stuck 5m {where}"] if where else []
    assert told.message.split("; ") == [*stuck, silence, *sampled]


@pytest.mark.parametrize("answer", [True, False])
def test_a_look_that_shows_nothing_and_one_that_is_lost_hold_the_verdict_up_no_longer(
    *, answer: bool
) -> None:
    fleet, asked = silent()
    if answer:
        fleet.tell(seen(asked))
    else:
        fleet.pass_time(SILENT_MS + DIAGNOSIS_MS_MAX)
    (told,) = fleet.told("agent.unreachable")
    assert told.message.startswith("silent for 5m")
    assert fleet.state_of("a") is State.STOPPING


@pytest.mark.parametrize("sign", [Heartbeat(), Step(step="17"), Call(call="c1", start=False)])
def test_a_sign_of_life_meanwhile_is_the_end_of_it(sign: Heartbeat | Step | Call) -> None:
    fleet, asked = silent()
    fleet.beat("a", SILENT_MS + 1_000, sign)
    assert not fleet.told("agent.unreachable")
    assert fleet.told("agent.recovered")
    fleet.tell(seen(asked, WHERE))
    fleet.pass_time(SILENT_MS + 2 * DIAGNOSIS_MS_MAX)
    assert not fleet.told("agent.unreachable")
    assert not signals(fleet)


def test_an_answer_about_an_earlier_look_says_nothing_of_this_one() -> None:
    fleet, first = silent()
    fleet.beat("a", SILENT_MS + 1_000)
    again_ms = SILENT_MS + 1_000 + 300_001
    fleet.pass_time(again_ms)
    fleet.tell(seen(first, WHERE))
    assert not fleet.told("agent.unreachable")
    fleet.tell(seen(looked_at(effect for _, effect in fleet.effects)[-1], "in spin (a.py:3)"))
    (told,) = fleet.told("agent.unreachable")
    assert "in spin (a.py:3)" in told.message


@pytest.mark.parametrize(
    ("cmd", "state", "intent"),
    [
        ("stop", State.STOPPING, Intent.STOPPED),
        ("kill", State.STOPPING, Intent.KILLED),
        ("pause", State.PAUSED, Intent.PAUSED),
        ("restart", State.STOPPING, Intent.UP),
    ],
)
def test_an_operators_word_meanwhile_wins(cmd: str, state: State, intent: Intent) -> None:
    fleet, asked = silent()
    fleet.ask(cmd, "a", at_ms=SILENT_MS + 500)
    fleet.tell(seen(asked, WHERE))
    fleet.pass_time(SILENT_MS + DIAGNOSIS_MS_MAX)
    assert not fleet.told("agent.unreachable")
    assert (fleet.state_of("a"), fleet["a"].intent) == (state, intent)


def test_one_that_ends_meanwhile_is_told_of_as_ended() -> None:
    fleet, asked = silent()
    fleet.end("a", SILENT_MS + 500, code=3)
    fleet.tell(seen(asked, WHERE))
    assert not fleet.told("agent.unreachable")
    (told,) = fleet.told("agent.exited")
    assert told.reason == StopReason.EXITED


def test_a_new_daemon_looks_again() -> None:
    fleet, _ = silent()
    durable = fleet["a"].snapshot()
    later = Fleet({"a": config()})
    later.sees_at_once = False
    later.now_ms = SILENT_MS
    later.start({"a": ev.Fate(durable, alive=True, pid=1001)})
    later.pass_time(3 * SILENT_MS)
    assert looked_at(effect for _, effect in later.effects)


def test_an_external_agent_cannot_be_looked_at_and_is_not_waited_for() -> None:
    fleet = Fleet({"a": AgentConfig(external=True)}).start()
    fleet.sees_at_once = False
    fleet.beat("a", 1_000)
    fleet.pass_time(SILENT_MS)
    assert fleet.told("agent.unreachable")
    assert not looked_at(effect for _, effect in fleet.effects)


def test_evidence_is_kept_with_the_incident_that_the_verdict_is_part_of() -> None:
    fleet, asked = silent()
    fleet.tell(seen(asked, WHERE, wchan="wait_woken"))
    (evidence,) = kept(fleet)
    (told,) = fleet.told("agent.unreachable")
    assert told.incident is not None
    assert (evidence.incident, evidence.agent, evidence.kind) == (told.incident, "a", "stall")
    assert evidence.evidence["wchan"] == "wait_woken"
    assert evidence.evidence["open_call"] == []


def test_a_lost_look_keeps_what_the_core_knows_of_its_work() -> None:
    fleet = running()
    fleet.sees_at_once = False
    fleet.beat("a", 2_000, Step(step="17", tool="fetch"), Heartbeat(task="order-17"))
    fleet.pass_time(2_000 + 300_001 + DIAGNOSIS_MS_MAX)
    (evidence,) = kept(fleet)
    assert evidence.evidence["last_said"] == {"task": "order-17", "step": "17", "tool": "fetch"}


def test_evidence_without_an_incident_is_dropped() -> None:
    fleet = running()
    fleet.tell(ev.Diagnosed("a", 1, "death", evidence={"log_tail": ["bye"]}))
    assert not kept(fleet)


def test_a_failed_end_is_looked_into_and_delays_nothing() -> None:
    fleet = running()
    fleet.sees_at_once = False
    made = fleet.end("a", 2_000, code=3)
    (asked,) = looked_at(made, "death")
    assert asked.incarnation == 1
    exit_seen = asked.context["exit"]
    assert isinstance(exit_seen, dict)
    assert (exit_seen["code"], exit_seen["reason"]) == (3, "EXITED")
    assert fleet.starts_of("a") == [0, 2_000]
    # Before the next run begins, so that its output is not taken for the last one's.
    order = [type(one).__name__ for one in made if isinstance(one, do.Diagnose | do.Spawn)]
    assert order == ["Diagnose", "Spawn"]
    fleet.tell(seen(asked, log_tail=["Traceback", "ValueError"]))
    (evidence,) = kept(fleet)
    assert evidence.kind == "death"
    assert evidence.evidence["log_tail"] == ["Traceback", "ValueError"]


def test_an_end_that_is_no_failure_is_not_looked_into() -> None:
    fleet = running()
    assert not looked_at(fleet.end("a", 2_000, code=0), "death")


def test_a_beating_corpse_is_looked_at_before_it_is_told_of() -> None:
    beat = HeartbeatConfig(no_progress_ms=Milliseconds(60_000))
    fleet = running(heartbeat=beat)
    fleet.sees_at_once = False
    asked: list[do.Diagnose] = []
    for at_ms in range(11_000, 200_000, 10_000):
        fleet.beat("a", at_ms, Heartbeat(off_thread=True))
        asked += looked_at(fleet.tell(ev.Sampled("a", 1, 1 << 20, cpu_ms=10, io_bytes=0)))
        if asked:
            break
    assert not fleet.told("agent.degraded")
    fleet.tell(seen(asked[0], WHERE))
    (told,) = fleet.told("agent.degraded")
    assert told.message.startswith("stuck 1m")
    assert f"{WHERE}; no progress for " in told.message
    assert kept(fleet)[0].kind == "stall"


def test_a_corpse_that_works_again_meanwhile_is_not_told_of() -> None:
    beat = HeartbeatConfig(no_progress_ms=Milliseconds(60_000))
    fleet = running(heartbeat=beat)
    fleet.sees_at_once = False
    while not looked_at(effect for _, effect in fleet.effects):
        fleet.beat("a", fleet.now_ms + 10_000, Heartbeat(off_thread=True))
        fleet.tell(ev.Sampled("a", 1, 1 << 20, cpu_ms=10, io_bytes=0))
    fleet.beat("a", fleet.now_ms + 1_000, Heartbeat(task="the next"))
    fleet.pass_time(fleet.now_ms + DIAGNOSIS_MS_MAX)
    assert not fleet.told("agent.degraded")
    assert fleet["a"].healthy_since_ms is not None


# -- a start that takes too long ---------------------------------------------

LATE_MS = 60_000


def starting(**keys: object) -> tuple[Fleet, do.Diagnose]:
    """An agent that doesn't become ready in time, and the look that nobody has answered yet."""
    fleet = Fleet({"a": config(startup_timeout_ms=Milliseconds(LATE_MS), **keys)})
    fleet.sees_at_once = False
    fleet.start()
    fleet.pass_time(LATE_MS)
    (asked,) = looked_at(effect for _, effect in fleet.effects)
    return fleet, asked


def test_a_start_that_takes_too_long_is_looked_at_before_it_is_ended() -> None:
    fleet, asked = starting()
    assert (asked.incarnation, asked.asked_at_ms) == (1, LATE_MS)
    assert fleet.core.next_deadline_ms() == LATE_MS + DIAGNOSIS_MS_MAX, "and nobody spins"
    fleet.pass_time(LATE_MS + DIAGNOSIS_MS_MAX - 1)
    assert not signals(fleet)
    fleet.tell(seen(asked, WHERE, wchan="wait_woken"))
    assert signals(fleet)
    assert fleet["a"].durable.stop_evidence == f"stuck {WHERE}; never became ready within 1m"
    fleet.end("a", signal=15)
    (told,) = fleet.told("agent.exited")
    assert told.message == f"STARTUP_TIMEOUT: stuck {WHERE}; signal 15 (SIGTERM) after 0s"
    (evidence,) = kept(fleet)
    assert (evidence.incident, evidence.kind) == (told.incident, "stall")
    assert evidence.evidence["wchan"] == "wait_woken"


@pytest.mark.parametrize("answer", [True, False])
def test_a_start_is_ended_without_a_word_on_where_it_is_stuck_too(*, answer: bool) -> None:
    fleet, asked = starting()
    if answer:
        fleet.tell(seen(asked))
    else:
        fleet.pass_time(LATE_MS + DIAGNOSIS_MS_MAX)
    assert len(signals(fleet)) == 1
    assert fleet["a"].durable.stop_evidence == "never became ready within 1m"


def test_a_start_that_comes_true_meanwhile_goes_on() -> None:
    fleet, asked = starting()
    fleet.beat("a", LATE_MS + 500)
    assert fleet.state_of("a") is State.RUNNING
    fleet.tell(seen(asked, WHERE))
    fleet.pass_time(LATE_MS + 2 * DIAGNOSIS_MS_MAX)
    assert not signals(fleet)


def test_time_that_nobody_watched_is_not_a_start_that_takes_too_long() -> None:
    fleet, asked = starting()
    fleet.tell(ev.Gap(10_000, "suspend"), LATE_MS + 500)
    fleet.tell(seen(asked, WHERE))
    fleet.pass_time(LATE_MS + 9_999)
    assert not signals(fleet)
    fleet.pass_time(LATE_MS + 10_500 + DIAGNOSIS_MS_MAX)
    assert len(signals(fleet)) == 1


@pytest.mark.parametrize(
    ("cmd", "state"),
    [("stop", State.STOPPING), ("kill", State.STOPPING), ("pause", State.PAUSED)],
)
def test_an_operators_word_on_a_late_start_wins(cmd: str, state: State) -> None:
    fleet, asked = starting()
    fleet.ask(cmd, "a", at_ms=LATE_MS + 500)
    fleet.tell(seen(asked, WHERE))
    fleet.pass_time(LATE_MS + DIAGNOSIS_MS_MAX)
    assert fleet.state_of("a") is state
    assert fleet["a"].durable.stop_reason is not StopReason.STARTUP_TIMEOUT


def test_a_start_that_ends_meanwhile_is_told_of_as_ended() -> None:
    fleet, asked = starting()
    fleet.end("a", LATE_MS + 500, code=3)
    fleet.tell(seen(asked, WHERE))
    (told,) = fleet.told("agent.exited")
    assert told.reason == StopReason.EXITED


# -- bounds ------------------------------------------------------------------


def test_a_line_is_bounded_whatever_was_seen() -> None:
    fleet, asked = silent()
    fleet.tell(seen(asked, "in " + "x" * 10_000))
    (told,) = fleet.told("agent.unreachable")
    assert len(told.message) < LINE_CHARS_MAX + 300


def test_the_signal_that_shows_stacks_is_the_agents_own_word_and_lasts_one_run() -> None:
    fleet = running()
    fleet.sees_at_once = False
    fleet.beat("a", 2_000, Hello("python/1.0", 10))
    fleet.beat("a", 3_000, Hello(None, None))
    assert fleet["a"].telemetry.sdk == "python/1.0"
    fleet.pass_time(3_000 + 300_001)
    (asked,) = looked_at(effect for _, effect in fleet.effects)
    assert asked.stack_signal == 10
    fleet.end("a", code=1)
    assert fleet["a"].telemetry.stack_signal == 0
