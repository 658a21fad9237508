"""A long run in pieces comes to what it would have come to at once."""

import sys
from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzz
from tests.fuzz.record import Record

LINES = 400
SEED = 5


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "run.jsonl")


def test_what_is_done_is_not_done_again_and_is_added_up(record: Record) -> None:
    jobs = fuzz._jobs(["units", "notify"], LINES, SEED)
    at_once = [fuzz._share(*job) for job in jobs]
    for job, told in zip(jobs[:3], at_once, strict=False):
        record.add(job, told)
    again = Record(record.path)
    again.read()
    assert again.left(jobs) == jobs[3:]
    fuzz._work_off(again, jobs, workers=1, end_s=None)
    whole = Record(record.path)
    whole.read()
    assert not whole.left(jobs)
    outcomes = [whole.told[job]["outcome"] for job in jobs]
    assert outcomes == [told["outcome"] for told in at_once]
    assert sum(sum(one.values()) for one in outcomes) >= LINES


def test_a_piece_that_is_over_begins_no_job(record: Record) -> None:
    jobs = fuzz._jobs(["units"], LINES, SEED)
    fuzz._work_off(record, jobs, workers=1, end_s=0.0)
    assert len(record.told) == 1
    assert len(record.left(jobs)) == len(jobs) - 1


def test_a_job_whose_line_was_torn_is_done_again(record: Record) -> None:
    jobs = fuzz._jobs(["units"], LINES, SEED)
    for job in jobs[:2]:
        record.add(job, fuzz._share(*job))
    record.path.write_bytes(record.path.read_bytes()[:-10])
    again = Record(record.path)
    again.read()
    assert again.left(jobs) == jobs[1:]


def test_a_find_of_an_earlier_piece_fails_the_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "FOUND", tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["fuzz", "--lines", "80", "--seed", "3", "--target", "units", "--workers", "1"]
    )
    assert fuzz.main() == 0
    told = next(tmp_path.glob("run-*"))
    find = '"finds": [{"name": "x", "dice": "3-0-units-1", "told": "ZeroDivisionError"}]'
    told.write_text(told.read_text().replace('"finds": []', find, 1))
    assert fuzz.main() == 1
    assert "units-x (dice 3-0-units-1): ZeroDivisionError" in capsys.readouterr().out
