"""The judge as `agentd simulate` tells it: every option, both sides of every bound."""

from pathlib import Path
from typing import Any

import pytest

from agentd.simulate.trace import TraceError
from tests.simulate.telling import QUIET, Told, tell

JUDGED = QUIET + 'judge.command = ["judge"]\n'
AGAINST = {"closer": False, "confidence": 0.95, "reason": "it rereads one page"}


def steps(count: int, first_s: float = 1.0) -> list[dict[str, Any]]:
    """A step each second, each with another tool and outcome, so that nothing repeats."""
    return [
        {
            "t": first_s + number,
            "line": {
                "type": "step",
                "step": number + 1,
                "tool": f"tool{number}",
                "args_fp": f"a{number}",
                "out_nfp": f"o{number}",
                "note": f"page {number}",
            },
        }
        for number in range(count)
    ]


def world(judge: object, t: float = 0) -> dict[str, Any]:
    return {"t": t, "world": {"judge": judge}}


def run(folder: Path, config: str, judge: object, count: int) -> Told:
    return tell(folder, config, [world(judge), *steps(count), {"t": count + 10, "end": True}])


def test_it_is_asked_at_30_steps_and_every_10_from_then_on(tmp_path: Path) -> None:
    told = run(tmp_path, JUDGED, None, 55)
    assert [line["t"] for line in told.effects("judge")] == [30, 40, 50]
    assert not told.events("drift.warning")
    payload = told.effects("judge")[0]["payload"]
    assert [step["step"] for step in payload["steps"]] == [str(n) for n in range(11, 31)]
    assert payload["notes"][-1] == "page 29"


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        ("judge.after = 29", [29, 39, 49]),
        ("judge.every = 11", [30, 41, 52]),
        ("judge.max_per_day = 2", [30, 40]),
        ("judge.command = []", []),
    ],
)
def test_its_options_move_the_moments(tmp_path: Path, keys: str, asked: list[float]) -> None:
    config = QUIET + (keys if "command" in keys else f'judge.command = ["judge"]\n{keys}')
    told = run(tmp_path, config, None, 55)
    assert [line["t"] for line in told.effects("judge")] == asked


def test_drift_is_detected_when_it_is_confirmed(tmp_path: Path) -> None:
    told = run(tmp_path, JUDGED, AGAINST, 45)
    assert told.times("drift.warning") == [30]
    assert told.times("drift.detected") == [40]
    [event] = told.events("drift.detected")
    assert event["reason"] == "DRIFT_DETECTED"
    assert "it rereads one page" in event["message"]
    assert [alert["about"] for alert in told.effects("alert")] == ["drift.detected"]


@pytest.mark.parametrize(("confidence", "found"), [(0.9, [40]), (0.89, [])])
def test_only_a_sure_word_counts(tmp_path: Path, confidence: float, found: list[float]) -> None:
    told = run(tmp_path, JUDGED, {**AGAINST, "confidence": confidence}, 45)
    assert told.times("drift.detected") == found


@pytest.mark.parametrize(("confirm", "found"), [(1, [30]), (2, [40]), (3, [50])])
def test_so_many_words_in_a_row_are_needed(
    tmp_path: Path, confirm: int, found: list[float]
) -> None:
    told = run(tmp_path, f"{JUDGED}judge.confirm = {confirm}\n", AGAINST, 55)
    assert told.times("drift.detected") == found


@pytest.mark.parametrize(("window", "found"), [(20, [40]), (21, [50])])
def test_a_second_opinion_is_one_on_other_steps(
    tmp_path: Path, window: int, found: list[float]
) -> None:
    told = run(tmp_path, f"{JUDGED}judge.window = {window}\n", AGAINST, 55)
    assert told.times("drift.detected") == found


def test_a_judge_that_fails_is_no_verdict(tmp_path: Path) -> None:
    told = run(tmp_path, JUDGED, "fail", 200)
    assert not told.events("drift.warning")
    assert told.times("judge.failed") == [30]
    assert not told.effects("alert")


@pytest.mark.parametrize(
    ("action", "effects"),
    [("alert", []), ("pause", ["freeze"]), ("kill", ["kill_tree"]), ("restart", ["signal"])],
)
def test_what_is_done_about_drift_is_the_configs_word(
    tmp_path: Path, action: str, effects: list[str]
) -> None:
    told = run(tmp_path, f'{JUDGED}judge.on_drift = "{action}"\n', AGAINST, 41)
    done = [line["effect"] for line in told.lines if line.get("t") == 40 and "effect" in line]
    assert [effect for effect in done if effect in ("freeze", "kill_tree", "signal")] == effects


def test_what_the_judge_costs_is_the_agents(tmp_path: Path) -> None:
    config = JUDGED + 'budget.usd_per_run = 1.0\njudge.on_drift = "alert"\n'
    told = run(tmp_path, config, {"closer": True, "confidence": 1, "cost_usd": 0.6}, 45)
    assert told.times("budget.exceeded") == [40]


def test_nobody_is_asked_about_one_that_is_shutting_down(tmp_path: Path) -> None:
    draining = {"t": 5, "line": {"status": "draining"}}
    told = tell(tmp_path, JUDGED, [*steps(45), draining, {"t": 60, "end": True}])
    assert not told.effects("judge")


@pytest.mark.parametrize("bad", [{"closer": True}, {"closer": 1, "confidence": 1}, 7])
def test_a_judgement_that_is_none_is_refused(tmp_path: Path, bad: object) -> None:
    with pytest.raises(TraceError, match="judge is"):
        tell(tmp_path, JUDGED, [world(bad)])
