"""Heartbeats with nothing behind them: both sides of each bound, and every excuse."""

import pytest

from agentd.config.agent import HeartbeatConfig
from agentd.config.units import Milliseconds
from agentd.core import events as ev
from agentd.core.lines import ActionBegun, Call, Heartbeat, Line, Notify, Status, Step
from agentd.core.liveness import health_of
from agentd.core.progress import CPU_BASE_MS, IO_PER_BEAT_BYTES
from agentd.core.states import Health
from tests.core.fleet import Fleet, config, running

S = 1_000
LIMIT_MS = 1_800 * S
ASIDE = Heartbeat(off_thread=True)


def sample(fleet: Fleet, at_ms: int, cpu_ms: int | None = 0, io_bytes: int | None = 0) -> None:
    seen = ev.Sampled("a", fleet["a"].incarnation, 1, cpu_ms, io_bytes, 1, "futex_wait")
    fleet.tell(seen, at_ms)


def beating(fleet: Fleet, first_ms: int, last_ms: int, line: Line = ASIDE) -> None:
    """A beat every 30 s, each followed by a sample that shows nothing."""
    for at_ms in range(first_ms, last_ms + 1, 30 * S):
        fleet.beat("a", at_ms, line)
        sample(fleet, at_ms)


def health(fleet: Fleet) -> Health:
    return health_of(fleet["a"], fleet.now_ms)


def corpse(line: Line = ASIDE) -> Fleet:
    """Beating from 10 s on with no work behind it; the first sample begins the time."""
    fleet = running()
    beating(fleet, 10 * S, 10 * S + LIMIT_MS - 30 * S, line)
    fleet.beat("a", 10 * S + LIMIT_MS - S, line)
    return fleet


@pytest.mark.parametrize(
    ("after_ms", "expected"), [(-1, Health.HEALTHY), (0, Health.DEGRADED), (1, Health.DEGRADED)]
)
@pytest.mark.parametrize("line", [ASIDE, Heartbeat(status=Status.WORKING)])
def test_b3_beats_without_work_are_degraded_after_the_bound(
    after_ms: int, expected: Health, line: Line
) -> None:
    fleet = corpse(line)
    sample(fleet, 10 * S + LIMIT_MS + after_ms)
    assert health(fleet) is expected
    assert len(fleet.told("agent.degraded")) == (expected is Health.DEGRADED)


def test_b3_the_evidence_says_what_was_seen() -> None:
    fleet = corpse()
    sample(fleet, 10 * S + LIMIT_MS, cpu_ms=12, io_bytes=345)
    [record] = fleet.told("agent.degraded")
    for word in ("no progress for 30m", "60 heartbeats", "CPU 12 ms (0 %)", "345 bytes of I/O"):
        assert word in record.message, record.message
    for word in ("wait channel futex_wait", "a thread beats over a dead loop?", "30m9s ago"):
        assert word in record.message, record.message
    assert record.severity == "warning"
    assert record.data["heartbeats"] == 60
    assert record.data["off_thread"] is True
    assert record.data["cpu_ms"] == 12


def test_beats_of_the_loop_itself_are_not_called_a_threads() -> None:
    fleet = corpse(Heartbeat())
    sample(fleet, 10 * S + LIMIT_MS)
    [record] = fleet.told("agent.degraded")
    assert "thread" not in record.message
    assert record.data["off_thread"] is False


@pytest.mark.parametrize(("over", "expected"), [(0, Health.DEGRADED), (1, Health.HEALTHY)])
def test_what_beating_itself_costs_is_no_work(over: int, expected: Health) -> None:
    fleet = corpse()
    sample(fleet, 10 * S + LIMIT_MS, cpu_ms=CPU_BASE_MS + 60 + over)
    assert health(fleet) is expected


@pytest.mark.parametrize(("over", "expected"), [(0, Health.DEGRADED), (1, Health.HEALTHY)])
def test_a_line_in_the_log_at_each_beat_is_no_work(over: int, expected: Health) -> None:
    fleet = corpse()
    sample(fleet, 10 * S + LIMIT_MS, io_bytes=IO_PER_BEAT_BYTES * 61 + over)
    assert health(fleet) is expected


WORK: list[Line] = [
    Heartbeat(progress=0.5),
    Heartbeat(progress_fp="s1"),
    Heartbeat(task="t2"),
    Heartbeat(step="s2"),
    Heartbeat(tokens=900),
    Heartbeat(successes=1),
    Call("c1", start=False),
    Step(step="3", tool="web"),
    Notify(status="reading"),
    ActionBegun("k", "refund"),
]


@pytest.mark.parametrize("line", WORK, ids=lambda line: repr(line)[:40])
def test_whatever_shows_work_begins_the_time_anew(line: Line) -> None:
    fleet = corpse()
    fleet.beat("a", None, line)
    begun_ms = fleet.now_ms
    sample(fleet, 10 * S + LIMIT_MS)
    assert health(fleet) is Health.HEALTHY
    beating(fleet, begun_ms + 30 * S, begun_ms + LIMIT_MS - S)
    assert health(fleet) is Health.HEALTHY
    fleet.beat("a", begun_ms + LIMIT_MS, ASIDE)
    sample(fleet, begun_ms + LIMIT_MS)
    assert health(fleet) is Health.DEGRADED


@pytest.mark.parametrize("line", WORK[:6], ids=lambda line: repr(line)[:40])
def test_the_same_said_by_another_thread_is_no_progress(line: Heartbeat) -> None:
    fleet = corpse()
    line = Heartbeat(
        progress=line.progress, progress_fp=line.progress_fp, task=line.task, step=line.step,
        tokens=line.tokens, successes=line.successes, off_thread=True,
    )  # fmt: skip
    fleet.beat("a", None, line)
    sample(fleet, 10 * S + LIMIT_MS)
    assert health(fleet) is Health.DEGRADED


def test_the_same_figures_again_are_no_progress() -> None:
    fleet = running()
    same = Heartbeat(tokens=900, task="t", step="s", progress=0.5, progress_fp="f")
    fleet.beat("a", 5 * S, same)
    beating(fleet, 10 * S, 5 * S + LIMIT_MS, same)
    sample(fleet, 10 * S + LIMIT_MS)
    assert health(fleet) is Health.DEGRADED


EXCUSES: list[list[Line]] = [
    [Heartbeat(status=Status.IDLE)],
    [Heartbeat(status=Status.WAITING_HUMAN)],
    [Heartbeat(silence_ms=60 * S)],
    [Call("c", start=True, deadline_ms=60 * S)],
    [Heartbeat(status=Status.DRAINING)],
]


@pytest.mark.parametrize("lines", EXCUSES, ids=lambda lines: repr(lines)[:60])
def test_whoever_says_why_it_does_nothing_is_left_alone(lines: list[Line]) -> None:
    fleet = corpse()
    fleet.beat("a", None, *lines)
    sample(fleet, 10 * S + LIMIT_MS)
    assert health(fleet) is Health.HEALTHY


def test_after_an_excuse_the_time_begins_anew() -> None:
    fleet = corpse()
    fleet.beat("a", None, Heartbeat(status=Status.IDLE))
    beating(fleet, fleet.now_ms + 30 * S, fleet.now_ms + 60 * S, Heartbeat(status=Status.IDLE))
    worked_ms = fleet.now_ms + 30 * S
    beating(fleet, worked_ms, worked_ms + LIMIT_MS - S, Heartbeat(status=Status.WORKING))
    assert health(fleet) is Health.HEALTHY
    fleet.beat("a", worked_ms + LIMIT_MS)
    sample(fleet, worked_ms + LIMIT_MS)
    assert health(fleet) is Health.DEGRADED


def test_a_call_past_its_deadline_explains_nothing_more() -> None:
    fleet = running()
    fleet.beat("a", 5 * S, Call("c", start=True, deadline_ms=60 * S))
    beating(fleet, 10 * S, 65 * S + LIMIT_MS - S)
    assert health(fleet) is Health.HEALTHY
    sample(fleet, 65 * S + LIMIT_MS)
    assert health(fleet) is Health.DEGRADED


def test_without_a_sample_of_cpu_there_is_no_verdict() -> None:
    fleet = running()
    for at_ms in range(10 * S, 2 * LIMIT_MS, 30 * S):
        fleet.beat("a", at_ms, ASIDE)
        sample(fleet, at_ms, cpu_ms=None)
    assert not fleet.told("agent.degraded")


def test_work_ends_it_and_that_is_told() -> None:
    fleet = corpse()
    sample(fleet, 10 * S + LIMIT_MS)
    fleet.beat("a", fleet.now_ms + S, Heartbeat(task="the next"))
    assert health(fleet) is Health.HEALTHY
    assert len(fleet.told("agent.recovered")) == 1


def test_cpu_used_ends_it_too() -> None:
    fleet = corpse()
    sample(fleet, 10 * S + LIMIT_MS)
    sample(fleet, fleet.now_ms + 5 * S, cpu_ms=1_000)
    assert health(fleet) is Health.HEALTHY


def test_silence_still_leads_to_unreachable() -> None:
    fleet = corpse()
    sample(fleet, 10 * S + LIMIT_MS)
    fleet.pass_time(fleet.now_ms + 301 * S)
    assert len(fleet.told("agent.degraded")) == 1
    assert fleet.told("agent.unreachable")


@pytest.mark.parametrize(("paused", "expected"), [(False, Health.DEGRADED), (True, Health.HEALTHY)])
def test_time_paused_is_no_time_without_work(paused: bool, expected: Health) -> None:
    fleet = running()
    beating(fleet, 10 * S, 900 * S)
    if paused:
        fleet.ask("pause", "a")
        fleet.pass_time(fleet.now_ms + 600 * S)
        fleet.ask("resume", "a")
    beating(fleet, fleet.now_ms + S, 10 * S + LIMIT_MS)
    fleet.beat("a", 10 * S + LIMIT_MS, ASIDE)
    sample(fleet, 10 * S + LIMIT_MS)
    assert health(fleet) is expected


def test_our_own_stall_is_no_time_without_work() -> None:
    fleet = corpse()
    fleet.tell(ev.Gap(60 * S, "stall"))
    sample(fleet, 10 * S + LIMIT_MS)
    assert health(fleet) is Health.HEALTHY


def test_b2_one_that_spins_while_a_thread_beats_is_degraded_too() -> None:
    fleet = running()
    for at_ms in range(10 * S, 10 * S + LIMIT_MS + 1, 10 * S):
        fleet.beat("a", at_ms, ASIDE)
        sample(fleet, at_ms, cpu_ms=at_ms)
    [record] = fleet.told("agent.degraded")
    assert "(100 %)" in record.message
    assert fleet.now_ms - 10 * S == LIMIT_MS


@pytest.mark.parametrize(
    ("line", "share", "io_bytes"),
    [
        (Heartbeat(), 100, 0),  # the loop itself beats: it goes round
        (ASIDE, 45, 0),
        (ASIDE, 100, 10_000),  # it reads or writes something: that may be its work
    ],
)
def test_one_that_computes_is_not_said_to_spin(line: Line, share: int, io_bytes: int) -> None:
    fleet = running()
    for at_ms in range(10 * S, 10 * S + 2 * LIMIT_MS, 10 * S):
        fleet.beat("a", at_ms, line)
        sample(fleet, at_ms, cpu_ms=at_ms * share // 100, io_bytes=at_ms // S * io_bytes)
    assert not fleet.told("agent.degraded")


def external() -> Fleet:
    fleet = Fleet({"a": config(external=True)}).start()
    fleet.beat("a", S, Heartbeat())
    return fleet


def test_an_external_agent_is_judged_by_where_its_beats_come_from() -> None:
    fleet = external()
    for at_ms in range(31 * S, S + LIMIT_MS - S, 30 * S):
        fleet.beat("a", at_ms, ASIDE)
    fleet.pass_time(S + LIMIT_MS - 1)
    assert health(fleet) is Health.HEALTHY
    fleet.pass_time(S + LIMIT_MS)  # a deadline, not a line, tells
    [record] = fleet.told("agent.degraded")
    assert "thread" in record.message
    assert "CPU" not in record.message


def test_an_external_agent_whose_loop_beats_is_well() -> None:
    fleet = external()
    for at_ms in range(31 * S, 2 * LIMIT_MS, 30 * S):
        fleet.beat("a", at_ms, Heartbeat())
    assert health(fleet) is Health.HEALTHY


def test_the_bound_is_the_configs() -> None:
    fleet = running(heartbeat=HeartbeatConfig(no_progress_ms=Milliseconds(60 * S)))
    beating(fleet, 10 * S, 70 * S)
    assert health(fleet) is Health.DEGRADED


def test_a_new_incarnation_begins_with_nothing_against_it() -> None:
    fleet = corpse()
    fleet.end("a", fleet.now_ms, code=1)
    fleet.beat("a", fleet.now_ms + S, ASIDE)
    sample(fleet, 10 * S + LIMIT_MS + 10 * S)
    assert health(fleet) is Health.HEALTHY


def test_one_that_need_not_beat_and_does_is_asked_for_work_too() -> None:
    fleet = running(heartbeat=HeartbeatConfig(required=False))
    beating(fleet, 10 * S, 10 * S + LIMIT_MS)
    assert health(fleet) is Health.DEGRADED
    fleet.pass_time(3 * LIMIT_MS)  # it falls silent: that doesn't make it well again
    assert health(fleet) is Health.DEGRADED


@pytest.mark.parametrize(("last_ms", "expected"), [(-S, Health.HEALTHY), (0, Health.DEGRADED)])
def test_one_that_falls_silent_in_good_time_was_no_such_case(
    last_ms: int, expected: Health
) -> None:
    fleet = running(heartbeat=HeartbeatConfig(required=False))
    fleet.beat("a", 9 * S)
    sample(fleet, 10 * S)
    fleet.beat("a", 10 * S + LIMIT_MS - 90 * S + last_ms)
    sample(fleet, 10 * S + LIMIT_MS)
    assert health(fleet) is expected
