"""Pieces of `make bench-killed`, added up."""

from collections import Counter
from pathlib import Path

import pytest

from bench.killed_beats import LATE_MAX, Beats
from bench.killed_tally import Tally, added, read, table, told, written


def test_pieces_are_written_read_and_added_up(tmp_path: Path) -> None:
    first = Tally(rounds=3, untouched=9, changed=2, back_s=[1.0], exits=Counter({"exact, up": 2}))
    second = Tally(rounds=2, untouched=8, back_s=[5.0, 3.0], exits=Counter({"exact, up": 1}))
    path = tmp_path / "piece.json"
    path.write_text(written({"pm2": first}))
    whole = added([read(path), {"pm2": second, "agentd": Tally(rounds=1, back_s=[0.5])}])
    assert (whole["pm2"].rounds, whole["pm2"].exits["exact, up"]) == (5, 3)
    printed = table(whole)
    assert "| pm2 | 5 | 2 of 17 |" in printed
    assert "3.0 s (5.0 s)" in printed
    assert "| agentd | 1 |" in printed
    assert len({line.count("|") for line in printed.splitlines()}) == 1
    assert "3 ends were told (exact, up 3)" in told(whole["pm2"])


def test_a_piece_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "piece.json"
    path.write_text('{"circus": {"rounds": 2, "exits": {}, "back_s": [1.0]}}')
    assert read(path)["circus"].rounds == 2


def beating(home: Path, sent: int, answered: int) -> Beats:
    """One agent's counts as they are at a kill."""
    (home / "beats").mkdir()
    (home / "beats" / "a.sent").write_bytes(b"." * sent)
    (home / "beats" / "a.answered").write_bytes(b"." * answered)
    return Beats(home, ["a"])


@pytest.mark.parametrize(
    ("saved", "shown", "found"),
    [
        (60, 60, ""),  # all that came in the last seconds is gone, as it may be
        (60, 58 - LATE_MAX - 1, "are not counted"),
        (0, 0, ""),
        (60, 101, "101 heartbeats counted, 100 sent"),
    ],
)
def test_heartbeats_that_a_kill_may_not_cost_are_found(
    tmp_path: Path, saved: int, shown: int, found: str
) -> None:
    beats = beating(tmp_path, 100, 98)
    beats.killed({"a": saved} if saved else None)
    wrong = [told for _, told in beats.judged(beats.answered(), {"a": shown})]
    assert len(wrong) == bool(found), wrong
    assert found in "".join(wrong)


def test_what_one_kill_has_cost_is_not_forgiven_to_the_next(tmp_path: Path) -> None:
    beats = beating(tmp_path, 100, 98)
    beats.killed(None)
    beats.settled({"a": 0})
    with (tmp_path / "beats" / "a.sent").open("ab") as file:
        file.write(b"." * 100)
    with (tmp_path / "beats" / "a.answered").open("ab") as file:
        file.write(b"." * 100)
    beats.killed({"a": 150})
    assert not list(beats.judged(beats.answered(), {"a": 52}))
    assert list(beats.judged(beats.answered(), {"a": 30}))
