"""The restart policy, as `agentd simulate` tells it: both sides of every bound."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import BEATING, QUIET, beats, tell

CRASH: dict[str, Any] = {"exit": {"code": 1}}


def test_the_first_restart_of_a_row_comes_at_once(tmp_path: Path) -> None:
    told = tell(tmp_path, QUIET, [{"t": 10, **CRASH}, {"t": 20, "end": True}])
    assert told.spawns() == [0, 10]
    assert told.reasons() == ["EXITED"]


def test_cooldown_is_counted_from_start_to_start(tmp_path: Path) -> None:
    trace = [{"t": 10, **CRASH}, {"t": 100, **CRASH}, {"t": 1000, "end": True}]
    assert tell(tmp_path, QUIET, trace).spawns() == [0, 10, 310]


@pytest.mark.parametrize(("second_s", "third_spawn_s"), [(309.999, 310), (310, 310), (500, 500)])
def test_a_failure_after_the_cooldown_restarts_at_once(
    tmp_path: Path, second_s: float, third_spawn_s: float
) -> None:
    trace = [{"t": 10, **CRASH}, {"t": second_s, **CRASH}, {"t": 1000, "end": True}]
    assert tell(tmp_path, QUIET, trace).spawns() == [0, 10, third_spawn_s]


def test_the_third_failure_of_a_row_escalates_once(tmp_path: Path) -> None:
    trace = [
        {"t": 10, **CRASH},
        {"t": 20, **CRASH},
        {"t": 320, **CRASH},
        {"t": 90_000, "end": True},
    ]
    told = tell(tmp_path, QUIET, trace)
    assert told.spawns() == [0, 10, 310]
    assert told.times("agent.escalated") == [320]
    assert [alert["about"] for alert in told.effects("alert")].count("agent.escalated") == 1


@pytest.mark.parametrize(("failed_s", "spawns"), [(909.999, [0, 10, 909.999]), (910, [0, 10, 910])])
def test_stable_after_starts_the_row_anew(
    tmp_path: Path, failed_s: float, spawns: list[float]
) -> None:
    """Restarted at 10, stable from 910 on: then there are three failures to go, not two."""
    trace = [{"t": 10, **CRASH}, {"t": failed_s, **CRASH}, {"t": failed_s + 1, **CRASH}]
    told = tell(tmp_path, QUIET, [*trace, {"t": 3000, "end": True}])
    assert told.spawns()[:3] == spawns
    if failed_s < 910:
        assert told.times("agent.escalated") == [failed_s + 1]
    else:
        assert told.times("agent.escalated") == []
        assert told.spawns()[3:] == [failed_s + 300]


def test_health_must_last_for_a_row_to_be_forgiven(tmp_path: Path) -> None:
    """Degraded in between: the fifteen minutes begin again when it is healthy."""
    trace = [{"t": 10, **CRASH}, *beats(10, 610), *beats(730, 1600)]
    told = tell(tmp_path, BEATING, [*trace, {"t": 1600, **CRASH}, {"t": 1601, **CRASH}])
    assert told.times("agent.degraded") == [700]
    assert told.times("agent.escalated") == [1601]


def test_a_restart_by_hand_counts_nothing(tmp_path: Path) -> None:
    restart = {"cmd": {"cmd": "restart", "args": {"select": ["a"]}}}
    trace = [{"t": t, **restart} for t in range(10, 100, 10)]
    told = tell(tmp_path, QUIET, [*trace, {"t": 200, **CRASH}, {"t": 300, "end": True}])
    assert told.reasons() == ["USER_RESTARTED"] * 9 + ["EXITED"]
    assert told.spawns()[-1] == 200  # still the first of its row
    assert told.events("agent.cooldown") == []


def test_a_start_by_hand_clears_an_escalation(tmp_path: Path) -> None:
    fails = [{"t": 10, **CRASH}, {"t": 320, **CRASH}, {"t": 330, **CRASH}]
    start = {"t": 400, "cmd": {"cmd": "start", "args": {"select": ["a"]}}}
    told = tell(tmp_path, QUIET, [*fails, start, {"t": 500, **CRASH}, {"t": 600, "end": True}])
    assert told.times("agent.escalated") == [330]
    assert told.spawns() == [0, 10, 320, 400, 500]


def test_backoff_lengthens_each_further_cooldown_up_to_its_cap(tmp_path: Path) -> None:
    config = (
        QUIET + 'restart = { cooldown = "100s", backoff = 2.0, cooldown_max = "350s", '
        'failures_max = 99, stable_after = "10h" }\n'
    )
    fails = [{"t": t, **CRASH} for t in (10, 20, 120, 320, 670, 1020)]
    told = tell(tmp_path, config, [*fails, {"t": 2000, "end": True}])
    assert told.spawns() == [0, 10, 110, 310, 660, 1010, 1360]


def test_a8_from_the_third_start_on_never_more_than_one_spawn_a_second(tmp_path: Path) -> None:
    config = QUIET + 'restart = { cooldown = "0s", failures_max = 99 }\n'
    fails = [{"t": n * 0.05, **CRASH} for n in range(1, 400)]
    spawns = tell(tmp_path, config, [*fails, {"t": 25, "end": True}]).spawns()
    assert spawns[:2] == [0, 0.05]
    gaps = [later - earlier for earlier, later in pairwise(spawns[1:])]
    assert gaps
    assert round(min(gaps), 3) == 1


@pytest.mark.parametrize(
    ("policy", "code", "spawns"),
    [
        ("never", 1, [0]),
        ("never", 0, [0]),
        ("on-failure", 0, [0]),
        ("on-failure", 1, [0, 10]),
        ("always", 0, [0, 10]),
        ("always", 1, [0, 10]),
    ],
)
def test_a1_the_policy_decides_what_follows_an_end(
    tmp_path: Path, policy: str, code: int, spawns: list[float]
) -> None:
    config = QUIET + f'restart.policy = "{policy}"\n'
    trace = [{"t": 10, "exit": {"code": code}}, {"t": 20, "end": True}]
    told = tell(tmp_path, config, trace)
    assert told.spawns() == spawns
    assert told.reasons() == ["COMPLETED" if code == 0 else "EXITED"]


def test_a9_a_spawn_that_fails_is_a_failure_like_any_other(tmp_path: Path) -> None:
    fails = {"t": 0, "world": {"spawn": "fail"}}
    told = tell(tmp_path, QUIET, [fails, {"t": 1000, "end": True}])
    assert told.reasons() == ["SPAWN_FAILED"] * 3
    assert told.spawns() == [0, 0, 300]
    assert told.times("agent.escalated") == [300]


def test_validation_comes_before_every_start_but_the_first(tmp_path: Path) -> None:
    config = QUIET + 'restart.validate = ["check"]\n'
    trace = [
        {"t": 10, **CRASH},
        {"t": 15, "world": {"validate": "fail"}},
        {"t": 20, **CRASH},
        {"t": 400, "end": True},
    ]
    told = tell(tmp_path, config, trace)
    assert [line["t"] for line in told.effects("validate")] == [10, 310]
    assert told.spawns() == [0, 10]
    assert told.reasons() == ["EXITED", "EXITED", "STATE_INVALID"]
    assert told.times("agent.escalated") == [310]


def test_a_reset_forgets_failures_and_cooldown(tmp_path: Path) -> None:
    reset = {"t": 30, "cmd": {"cmd": "reset", "args": {"select": ["a"]}}}
    fails = [{"t": 10, **CRASH}, {"t": 20, **CRASH}, {"t": 40, **CRASH}]
    told = tell(tmp_path, QUIET, [*fails, reset, {"t": 50, "end": True}])
    assert told.spawns() == [0, 10, 30, 40]


def test_on_escalate_runs_once(tmp_path: Path) -> None:
    config = QUIET + 'restart.on_escalate = ["tell"]\nrestart.failures_max = 1\n'
    told = tell(tmp_path, config, [{"t": 10, **CRASH}, {"t": 5000, "end": True}])
    (run,) = told.effects("run")
    assert (run["t"], run["agent"]) == (10, "a")
