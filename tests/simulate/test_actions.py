"""Actions in flight and checkpoints, as `agentd simulate` tells them."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import QUIET, Told, tell

HOLDING = f"{QUIET}restart.hold_unfinished = true\n"
CRASH: dict[str, Any] = {"exit": {"signal": 9}}
END = {"t": 90_000, "end": True}


def _intent(t: float, key: str = "refund:1", **more: object) -> dict[str, Any]:
    line = {"type": "intent", "id": f"i{t}", "key": key, "action": "stripe.refund", **more}
    return {"t": t, "line": line}


def _done(t: float, key: str = "refund:1", *, ok: bool = True) -> dict[str, Any]:
    return {"t": t, "line": {"type": "done", "key": key, "ok": ok}}


def _put(t: float, state: object) -> dict[str, Any]:
    return {"t": t, "line": {"type": "checkpoint.put", "id": f"p{t}", "state": state}}


def _get(t: float) -> dict[str, Any]:
    return {"t": t, "line": {"type": "checkpoint.get", "id": "get"}}


def _cmd(t: float, cmd: str, **args: object) -> dict[str, Any]:
    return {"t": t, "cmd": {"cmd": cmd, "args": {"select": ["a"], **args}}}


def _daemon(down_s: float, up_s: float) -> list[dict[str, Any]]:
    return [{"t": down_s, "daemon": "crash"}, {"t": up_s, "daemon": "start"}]


def _answers(told: Told, name: str) -> list[dict[str, Any]]:
    return [
        line["answer"] for line in told.lines if "answer" in line and line["answer"]["id"] == name
    ]


def _found(told: Told) -> tuple[object, list[str]]:
    result = _answers(told, "get")[-1]["result"]
    return result["state"], [action["key"] for action in result["unfinished"]]


@pytest.mark.parametrize("ok", [True, False])
def test_what_has_ended_is_no_longer_in_flight(tmp_path: Path, ok: bool) -> None:
    told = tell(tmp_path, HOLDING, [_intent(10), _done(11, ok=ok), {"t": 20, **CRASH}, _get(30)])
    assert told.events("action.unfinished") == []
    assert told.spawns() == [0, 20]
    assert _found(told) == (None, [])


@pytest.mark.parametrize(
    ("idempotent", "severity", "spawns"), [(False, "critical", [0]), (True, "warning", [0, 20])]
)
def test_hold_unfinished_holds_what_must_not_be_repeated_and_nothing_else(
    tmp_path: Path,
    idempotent: bool,
    severity: str,
    spawns: list[float],
) -> None:
    told = tell(tmp_path, HOLDING, [_intent(10, idempotent=idempotent), {"t": 20, **CRASH}, END])
    assert [event["severity"] for event in told.events("action.unfinished")] == [severity]
    assert told.spawns() == spawns
    assert told.times("agent.held") == ([] if idempotent else [20])


def test_without_it_the_next_run_comes_at_once_and_is_told(tmp_path: Path) -> None:
    told = tell(tmp_path, QUIET, [_put(5, {"n": 1}), _intent(10), {"t": 20, **CRASH}, _get(30)])
    assert told.spawns() == [0, 20]
    assert _found(told) == ({"n": 1}, ["refund:1"])


@pytest.mark.parametrize("cmd", ["unhold", "start"])
def test_a_human_lets_it_go_and_it_holds_no_second_time(tmp_path: Path, cmd: str) -> None:
    trace = [_intent(10), {"t": 20, **CRASH}, _cmd(500, cmd), {"t": 5_000, **CRASH}, END]
    told = tell(tmp_path, HOLDING, trace)
    assert told.spawns() == [0, 500, 5_000]
    assert told.times("agent.held") == [20]


def test_a_hold_outlives_the_daemon_and_so_does_what_was_kept(tmp_path: Path) -> None:
    trace = [
        _put(5, "s"), _intent(10), {"t": 20, **CRASH}, *_daemon(30, 40), _cmd(100, "unhold"),
        *_daemon(200, 210), _get(300),
    ]  # fmt: skip
    told = tell(tmp_path, HOLDING, trace)
    assert told.spawns() == [0, 100]
    assert _found(told) == ("s", ["refund:1"])


def test_an_agent_that_dies_without_a_daemon_is_held_by_the_next(tmp_path: Path) -> None:
    trace = [_intent(10), {"t": 20, "daemon": "crash"}, {"t": 25, **CRASH}]
    told = tell(tmp_path, HOLDING, [*trace, {"t": 30, "daemon": "start"}, END])
    assert told.spawns() == [0]
    assert told.times("agent.held") == [30]


@pytest.mark.parametrize(
    ("end", "again"),
    [
        ([_cmd(20, "kill")], _cmd(30, "resume")),
        ([_cmd(20, "start", fresh=True)], None),
        ([{"t": 20, "exit": {"code": 0}}], _cmd(30, "start")),
    ],
    ids=["kill", "start --fresh", "completion"],
)
def test_with_its_execution_what_was_kept_becomes_history(
    tmp_path: Path, end: list[dict[str, Any]], again: dict[str, Any] | None
) -> None:
    trace = [_put(5, "s"), _intent(10), *end, *([again] if again else []), _get(100)]
    told = tell(tmp_path, QUIET, trace)
    assert len(told.spawns()) == 2
    assert _found(told) == (None, [])
    discarded = [one for one in told.events("action.unfinished") if "discarded" in one["message"]]
    assert [one["data"]["checkpoint"] for one in discarded] == [1]
    assert [one["severity"] for one in discarded] == ["info"]


def test_the_sixty_fifth_action_is_refused(tmp_path: Path) -> None:
    trace = [_intent(number, f"k{number}") for number in range(1, 66)]
    told = tell(tmp_path, QUIET, trace)
    answers = [line["answer"] for line in told.lines if "answer" in line]
    assert [answer["ok"] for answer in answers] == [True] * 64 + [False]
    assert answers[-1]["error"]["code"] == "too_busy"
