"""Pieces of `make test-faults`, added up."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.catalogue import Fault, Run
from tests.faults.summary import added_up, summary
from tests.stopwatch import Stopwatch


def piece(path: Path, fault: str, *runs: Run) -> Path:
    documents = [asdict(Fault(fault, "", "", [], list(runs)))]
    path.write_text(json.dumps(documents, default=sorted))
    return path


def a_run(name: str, outcome: str, **measures: float) -> Run:
    return Run(name, "f.py", {"A1"}, outcome, seconds=2.0, measures=dict(measures))


def catalogue() -> dict[str, Fault]:
    return {name: Fault(name, "", "", []) for name in ("A1", "A2")}


def test_pieces_are_added_up_and_the_last_word_counts(tmp_path: Path) -> None:
    first = piece(tmp_path / "1", "A1", a_run("one", "failed"), a_run("two", "passed", lag_ms=7))
    second = piece(tmp_path / "2", "A1", a_run("one", "passed", lag_ms=90))
    faults = added_up(catalogue(), [first])
    assert [fault.verdict for fault in faults] == ["FAILED", "not shown"]
    assert "f.py::one" in summary(faults)
    again = added_up(catalogue(), [first, second])
    assert again[0].verdict == "ok"
    told = summary(again)
    assert "2 tests, 4 s: 2 passed" in told
    assert "at most 90 ms of the loop" in told
    assert "A2: not shown" in told


def test_what_was_left_out_is_not_called_ok() -> None:
    passed, skipped = a_run("core", "passed"), a_run("real", "skipped")
    skipped.why = "Skipped: needs root"
    fault = Fault("A1", "", "", [], [passed, skipped])
    assert fault.verdict == "in part: skipped: Skipped: needs root"
    assert "1 in part" in summary([fault])
    assert "A1: in part: skipped: Skipped: needs root" in summary([fault])
    fault.runs.append(a_run("other", "failed"))
    assert fault.verdict == "FAILED"


def test_a_time_that_others_took_is_not_called_ok() -> None:
    run = a_run("real", "passed")
    run.unjudged.append("3.1 s, 3.0 s of them without a core")
    fault = Fault("A1", "", "", [], [run])
    assert fault.verdict == "time not judged: the machine was busy"
    assert f"A1: {fault.verdict}" in summary([fault])


@pytest.mark.parametrize(
    ("starved_s", "is_within", "is_judged"),
    [
        (0.0, False, True),
        (0.9, False, True),
        (1.5, True, True),
        (1.61, True, False),  # 0.39 s are left of two: what that says of a bound is nothing
        (2.0, True, False),
    ],
)
def test_a_time_beyond_its_bound_is_judged_by_what_others_left_of_it(
    monkeypatch: pytest.MonkeyPatch, starved_s: float, is_within: bool, is_judged: bool
) -> None:
    monkeypatch.setattr("tests.stopwatch.unjudged", noted := [])
    monkeypatch.setattr(Stopwatch, "starved_s", starved_s)
    assert Stopwatch().within(1.0, took_s=2.0) == is_within
    assert bool(noted) != is_judged
    assert Stopwatch().within(1.0, took_s=0.5), "in time by the clock on the wall"
    assert len(noted) == (not is_judged)
