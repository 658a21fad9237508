"""Pieces of `make test-faults`, added up."""

import json
from dataclasses import asdict
from pathlib import Path

from tests.faults.catalogue import Fault, Run
from tests.faults.summary import added_up, summary


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
