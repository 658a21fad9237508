"""`python -m tests.faults.summary FILE...`: what `make test-faults json=FILE` told, as one.

The whole takes long on a machine that others use. Pieces (`k=`, or files of tests) each write
their part of the table; here they are added up: the table of all faults, and a summary in words.
Where pieces have a test in common, the last file's word counts. Exits 1 where a test failed, or a
fault was neither injected nor has a reason why not.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from tests.faults.catalogue import UNJUDGED, Fault, Run, rows
from tests.faults.table import ROOT, WIDTH_MIN, rendered

FIELDS = {one.name for one in fields(Run)}
BAD = ("FAILED", "not shown")


def added_up(faults: dict[str, Fault], pieces: Iterable[Path]) -> list[Fault]:
    """All faults, each with the runs that any of the pieces has of it."""
    found: dict[str, dict[tuple[str, str], Run]] = {}
    for piece in pieces:
        for document in json.loads(piece.read_text(encoding="utf-8")):
            for told in document["runs"]:
                run = Run(
                    **{name: told[name] for name in FIELDS & told.keys()}
                    | {"ids": set(told["ids"])}
                )
                found.setdefault(document["id"], {})[run.file, run.name] = run
    for name, runs in found.items():
        if name in faults:
            faults[name].runs = list(runs.values())
    return list(faults.values())


def summary(faults: Sequence[Fault]) -> str:
    """How many faults came to what, and the worst that the guard measured under any of them."""
    runs = {(run.file, run.name): run for fault in faults for run in fault.runs}
    # Without the reasons of those that were left out.
    verdicts = Counter(re.sub("(skipped|in part).*", r"\1", fault.verdict) for fault in faults)
    outcomes = Counter(run.outcome for run in runs.values())
    guarded = [run.measures for run in runs.values() if run.measures]
    worst = (
        f"at most {most(guarded, 'lag_ms'):.0f} ms of the loop, {most(guarded, 'status_ms'):.0f} ms"
        f" for status, {most(guarded, 'beyond_idle_mib'):.1f} MiB more than an idle daemon"
    )
    lines = [
        f"{len(faults)} faults: " + ", ".join(f"{n} {what}" for what, n in verdicts.most_common()),
        f"{len(runs)} tests, {sum(run.seconds for run in runs.values()):.0f} s: "
        + ", ".join(f"{n} {what}" for what, n in outcomes.most_common()),
        f"{len(guarded)} with a guard: {worst}",
    ]
    lines += [f"{fault.id}: {fault.verdict}" for fault in faults if is_told(fault.verdict)]
    lines += [f"  {run.file}::{run.name}" for run in runs.values() if run.outcome == "failed"]
    return "\n".join(lines)


def is_told(verdict: str) -> bool:
    """Whether a verdict is worth a line: something failed, or wasn't shown after all."""
    return verdict in BAD or "in part" in verdict or UNJUDGED in verdict


def most(measures: Iterable[dict[str, float | None]], name: str) -> float:
    return max((one[name] or 0.0 for one in measures if one.get(name) is not None), default=0.0)


def main(files: Sequence[str]) -> int:
    catalogue = rows((ROOT / "docs" / "faults.md").read_text(encoding="utf-8"), ROOT)
    faults = added_up(catalogue, map(Path, files))
    sys.stdout.write(f"{rendered(faults, WIDTH_MIN)}\n{summary(faults)}\n")
    return 1 if any(fault.verdict in BAD for fault in faults) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
