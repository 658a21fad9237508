"""How often do tools of healthy agents fail in a row? Where the bounds of errors.py come from.

    .venv/bin/python bench/error_rows.py --records DIR

Of each recorded run the longest row of failures of one tool and class with no success of that
tool between, and the longest row of the very same failing call; the table counts runs.
"""

import argparse
from collections import Counter
from collections.abc import Iterable

from steps_traces import Run, add_records_option, good, load, step_line

SHOWN = 8


def longest_rows(run: Run) -> tuple[int, int]:
    """Return the longest row of one class, and the longest of one call."""
    kinds: Counter[tuple[str, str]] = Counter()
    calls: Counter[tuple[str, str]] = Counter()
    kind_max = call_max = 0
    for number, recorded in enumerate(run["steps"]):
        step = step_line(number, recorded)
        tool = step["tool"]
        if step["ok"]:
            kinds = Counter({key: n for key, n in kinds.items() if key[0] != tool})
            calls = Counter({key: n for key, n in calls.items() if key[0] != tool})
            continue
        kinds[tool, step["error"]] += 1
        calls[tool, step["args_nfp"]] += 1
        kind_max = max(kind_max, kinds[tool, step["error"]])
        call_max = max(call_max, calls[tool, step["args_nfp"]])
    return kind_max, call_max


def show(what: str, rows: Iterable[int]) -> None:
    """Print how many runs have a longest row of 0, 1, 2 and so on."""
    counts = Counter(min(row, SHOWN) for row in rows)
    print(f"{what:36}" + "".join(f" {counts[row]:5d}" for row in range(SHOWN + 1)))


def main() -> None:
    """Read the runs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_records_option(parser)
    records = parser.parse_args().records
    print(
        f"{'longest row of failures':36}" + "".join(f" {row:5d}" for row in range(SHOWN)) + "    8+"
    )
    for which, name in (("mini", "coding"), ("tau", "airline")):
        for wanted in (True, False):
            runs = [run for run in load(which, records) if good(run) is wanted]
            rows = [longest_rows(run) for run in runs]
            end = "solved" if wanted else "not solved"
            show(f"{name}, {end}, {len(runs)}: one class", (row for row, _ in rows))
            show(f"{name}, {end}, {len(runs)}: one call", (row for _, row in rows))


if __name__ == "__main__":
    main()
