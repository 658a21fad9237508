"""The table of the crash enumeration adds up its rows, and those of several runs."""

from pathlib import Path

import pytest

from tests.crash.summary import by_operation, columns, main, read

ROWS = [
    {"injected": "SIGKILL", "call": "loop: write", "points": 3, "hit": 2, "recovery_s_max": 0.25},
    {"injected": "SIGKILL", "call": "all: rmdir", "points": 1, "hit": 1, "recovery_s_max": 0.5},
    {"injected": "error", "call": "loop: openat", "points": 6, "hit": 0, "recovery_s_max": 0.0},
]
STOP = [{"operation": "stop", **row} for row in ROWS]
INTENT = [{"operation": "action intent", **row} for row in ROWS[:1]]
CUT = {"operation": "store", **ROWS[0], "injected": "power cut"}


def test_an_operation_is_a_row_and_all_of_them_one_more() -> None:
    head, rule, *rows = by_operation([*STOP, *INTENT, CUT])
    assert (head.count("|"), rule.count("|")) == (8, 8)
    assert rows == [
        "| stop | 4 | 3 | 0.50 s | 6 | 0 | 0.00 s |",
        "| action intent | 3 | 2 | 0.25 s | 0 | 0 |  |",
        "| all | 7 | 5 | 0.50 s | 6 | 0 | 0.00 s |",
    ]


def test_what_runs_have_printed_is_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*STOP, *INTENT, CUT]
    for name, some in (("first", rows[:2]), ("second", rows[2:])):
        (tmp_path / name).write_text("\n".join(["..  [100%]", *columns(some), "2 passed"]))
    assert read("\n".join(columns(rows))) == rows
    assert main([str(tmp_path / "first"), str(tmp_path / "second")]) == 0
    assert capsys.readouterr().out.splitlines() == by_operation(rows)
    (tmp_path / "nothing").write_text("1 passed")
    assert main([str(tmp_path / "nothing")]) == 1
