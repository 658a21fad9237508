"""Pause and resume as `agentd simulate` tells them, in both modes."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import BEATING, QUIET, beats, tell

CHECKPOINT = f'{QUIET}pause.mode = "checkpoint"\npause.checkpoint_timeout = "20s"\n'
CRASH: dict[str, Any] = {"exit": {"code": 1}}
END = {"t": 90_000, "end": True}


def _cmd(t: float, cmd: str, **args: object) -> dict[str, Any]:
    return {"t": t, "cmd": {"cmd": cmd, "args": {"select": ["a"], **args}}}


def _put(t: float, state: object) -> dict[str, Any]:
    return {"t": t, "line": {"type": "checkpoint.put", "id": f"p{t}", "state": state}}


def _get(t: float) -> dict[str, Any]:
    return {"t": t, "line": {"type": "checkpoint.get", "id": "get"}}


def test_freeze_stops_it_where_it_stands_and_thaws_it(tmp_path: Path) -> None:
    told = tell(tmp_path, QUIET, [_cmd(10, "pause"), _cmd(500, "resume"), END])
    assert [one["t"] for one in told.effects("freeze")] == [10]
    assert [one["t"] for one in told.effects("thaw")] == [500]
    assert told.spawns() == [0]


def test_checkpoint_mode_lets_it_commit_and_exit_and_starts_it_from_there(tmp_path: Path) -> None:
    trace = [
        _cmd(10, "pause"), _put(12, {"n": 7}), {"t": 15, "exit": {"code": 0}},
        _cmd(500, "resume"), _get(510),
    ]  # fmt: skip
    told = tell(tmp_path, CHECKPOINT, trace)
    assert told.effects("freeze") == told.effects("signal") == told.effects("alert") == []
    assert told.reasons() == ["USER_PAUSED"]
    assert told.spawns() == [0, 500]
    assert told.lines[-1]["answer"]["result"]["state"] == {"n": 7}


@pytest.mark.parametrize(("ends_at", "signals"), [(29.9, []), (60, [30])])
def test_both_sides_of_checkpoint_timeout(
    tmp_path: Path, ends_at: float, signals: list[float]
) -> None:
    trace = [_cmd(10, "pause"), {"t": ends_at, "exit": {"code": 0}}, END]
    told = tell(tmp_path, CHECKPOINT, trace)
    assert [one["t"] for one in told.effects("signal")] == signals


def test_one_that_is_deaf_to_everything_is_killed_in_the_end(tmp_path: Path) -> None:
    deaf = {"t": 0, "world": {"deaf_to_sigterm": True}}
    told = tell(tmp_path, CHECKPOINT, [deaf, _cmd(10, "pause"), END])
    assert [one["t"] for one in told.effects("signal")] == [30]
    assert [one["t"] for one in told.effects("kill_tree")] == [60]
    assert told.spawns() == [0]
    assert told.effects("alert") == []


def test_a_pause_is_no_failure_and_takes_no_place_in_the_row(tmp_path: Path) -> None:
    """Three ends of pauses, then a crash: its restart is the first of a row, at once."""
    trace: list[dict[str, Any]] = []
    for begun in (10, 110, 210):
        trace += [_cmd(begun, "pause"), {"t": begun + 5, **CRASH}, _cmd(begun + 50, "resume")]
    told = tell(tmp_path, CHECKPOINT, [*trace, {"t": 300, **CRASH}, END])
    assert told.spawns() == [0, 60, 160, 260, 300]


@pytest.mark.parametrize("refuses", [False, True])
def test_validate_runs_before_a_resume_and_may_refuse_it(tmp_path: Path, *, refuses: bool) -> None:
    config = f'{CHECKPOINT}restart.validate = ["check"]\nrestart.policy = "never"\n'
    world = {"t": 1, "world": {"validate": "fail" if refuses else "ok"}}
    trace = [world, _cmd(10, "pause"), {"t": 15, "exit": {"code": 0}}, _cmd(50, "resume"), END]
    told = tell(tmp_path, config, trace)
    assert [one["t"] for one in told.effects("validate")] == [50]
    assert told.spawns() == ([0] if refuses else [0, 50])
    assert told.reasons() == ["USER_PAUSED", *(["STATE_INVALID"] if refuses else [])]


def test_a_daemon_that_dies_while_it_pauses_has_whole_patience_again(tmp_path: Path) -> None:
    down = [{"t": 20, "daemon": "crash"}, {"t": 25, "daemon": "start"}]
    told = tell(tmp_path, CHECKPOINT, [_cmd(10, "pause"), *down, END])
    assert [one["t"] for one in told.effects("signal")] == [45]
    assert told.reasons() == ["USER_PAUSED"]
    assert told.spawns() == [0]


@pytest.mark.parametrize("mode", ["freeze", "checkpoint"])
def test_a_paused_agent_is_paused_for_ever(tmp_path: Path, mode: str) -> None:
    config = f'{BEATING}pause.mode = "{mode}"\n'
    down = [{"t": 500, "daemon": "crash"}, {"t": 600, "daemon": "start"}]
    ends = [{"t": 105, "exit": {"code": 0}}] if mode == "checkpoint" else []
    told = tell(tmp_path, config, [*beats(0, 90), _cmd(100, "pause"), *ends, *down, END])
    assert told.spawns() == [0]
    assert told.events("agent.unreachable") == []
    assert told.effects("alert") == []


@pytest.mark.parametrize(("silent_s", "unreachable"), [(300, False), (301, True)])
def test_frozen_time_is_nobodys_silence(
    tmp_path: Path, silent_s: int, *, unreachable: bool
) -> None:
    """60 s of silence before the pause, the rest after it."""
    trace = [*beats(0, 60), _cmd(120, "pause"), _cmd(5_120, "resume")]
    told = tell(tmp_path, BEATING, [*trace, {"t": 5_060 + silent_s, "end": True}])
    assert bool(told.events("agent.unreachable")) is unreachable


def test_kill_pause_and_stop_are_three_things(tmp_path: Path) -> None:
    """A kill ends the execution at once, a pause keeps it, a stop waits for the agent."""
    for cmd, effect, again in (
        ("kill", "kill_tree", "resume"),
        ("pause", "freeze", "resume"),
        ("stop", "signal", "start"),
    ):
        told = tell(tmp_path, QUIET, [_put(5, 1), _cmd(10, cmd), _cmd(50, again), _get(60)])
        assert [one["t"] for one in told.effects(effect)] == [10], cmd
        state = told.lines[-1]["answer"]["result"]["state"]
        assert state == (None if cmd == "kill" else 1), cmd
        assert told.effects("alert") == [], cmd
