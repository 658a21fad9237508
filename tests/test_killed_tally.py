"""Pieces of `make bench-killed`, added up."""

from collections import Counter
from pathlib import Path

from bench.killed_tally import Tally, added, read, table, written


def test_pieces_are_written_read_and_added_up(tmp_path: Path) -> None:
    first = Tally(rounds=3, untouched=9, changed=2, back_s=[1.0], exits=Counter({"exact, up": 2}))
    second = Tally(rounds=2, untouched=8, back_s=[5.0, 3.0], exits=Counter({"exact, up": 1}))
    path = tmp_path / "piece.json"
    path.write_text(written({"pm2": first}))
    whole = added([read(path), {"pm2": second, "agentd": Tally(rounds=1, back_s=[0.5])}])
    assert (whole["pm2"].rounds, whole["pm2"].exits["exact, up"]) == (5, 3)
    told = table(whole)
    assert "| pm2 | 5 | 2 of 17 |" in told
    assert "3.0 s (5.0 s)" in told
    assert "| agentd | 1 |" in told
