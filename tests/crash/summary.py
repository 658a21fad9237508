"""What an enumeration came to, operation by operation: the table of docs/crash.md.

`python -m tests.crash.summary FILE...` adds up what was printed by the pieces of a run.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

HEAD = ("operation", "injected", "call", "points", "hit", "recovery_s_max")
KINDS = ("SIGKILL", "error")
TITLES = (
    *("operation", "kills: points", "hit", "slowest recovery"),
    *("errors: points", "hit", "slowest"),
)
CUT = "power cut"
_CELLS = re.compile(r"  +")
Row = Mapping[str, object]


def columns(rows: Sequence[Row]) -> list[str]:
    """One line a row: an operation and a call."""
    cells = [HEAD, *([str(row[name]) for name in HEAD] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(HEAD))]
    return [
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def read(text: str) -> list[Row]:
    """What `columns` has printed, out of all that a run printed."""
    found: list[Row] = []
    for line in text.splitlines():
        words = _CELLS.split(line.strip())
        if len(words) == len(HEAD) and words[1] in (*KINDS, CUT):
            row: dict[str, object] = dict(zip(HEAD, words, strict=True))
            row |= {"points": int(words[3]), "hit": int(words[4]), HEAD[5]: float(words[5])}
            found.append(row)
    return found


def by_operation(rows: Iterable[Row]) -> list[str]:
    """A table in Markdown, a row an operation and one for all; without what is no operation."""
    told = [row for row in rows if row["injected"] in KINDS]
    if not told:
        return []
    of_each: dict[str, list[Row]] = {}
    for row in told:
        of_each.setdefault(str(row["operation"]), []).append(row)
    of_each["all"] = told
    body = [_line([name, *_cells(some)]) for name, some in of_each.items()]
    return [_line(TITLES), _line(["---"] * len(TITLES)), *body]


def _cells(rows: Sequence[Row]) -> list[str]:
    cells = []
    for kind in KINDS:
        of_kind = [row for row in rows if row["injected"] == kind]
        cells += [str(_sum(of_kind, "points")), str(_sum(of_kind, "hit"))]
        slowest_s = max((float(str(row["recovery_s_max"])) for row in of_kind), default=0.0)
        cells.append(f"{slowest_s:.2f} s" if of_kind else "")
    return cells


def _sum(rows: Sequence[Row], name: str) -> int:
    return sum(int(str(row[name])) for row in rows)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(files: Sequence[str]) -> int:
    rows = [row for file in files for row in read(Path(file).read_text(encoding="utf-8"))]
    sys.stdout.write("\n".join(by_operation(rows)) + "\n")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
