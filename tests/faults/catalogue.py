"""The faults as docs/faults.md has them, and the runs of the tests that inject them."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

IDS: Final = re.compile(r"test_((?:[a-m]\d+_)+)")
UNJUDGED: Final = "time not judged: the machine was busy"
CHECK: Final = re.compile(r'"([a-m]\d+): ([^"{]*)')
ROW: Final = re.compile(
    r"^\| (?P<id>[A-M]\d+) \| (?P<what>[^|]*) \| (?P<shown>[^|]*) \| (?P<remark>[^|]*) \|$",
    re.MULTILINE,
)


@dataclass(slots=True)
class Run:
    """One test that injected a fault; `outcome` is passed, failed or skipped."""

    name: str
    file: str
    ids: set[str]
    outcome: str = "passed"
    why: str = ""
    seconds: float = 0.0
    seen: list[str] = field(default_factory=list)
    measures: dict[str, float | None] = field(default_factory=dict)
    unjudged: list[str] = field(default_factory=list)
    """Times that nearly all of it were other work's (`Stopwatch.within`)."""

    @classmethod
    def of(cls, nodeid: str) -> Self:
        file, _, name = nodeid.partition("::")
        return cls(name, file, ids_of(name))

    @property
    def level(self) -> str:
        """The directory of tests it stands in: core, store, daemon, faults..."""
        return Path(self.file).parent.name


@dataclass(slots=True)
class Fault:
    """A row of the catalogue."""

    id: str
    what: str
    remark: str
    guest: list[str]
    """Checks in the guest that carry its id; `make test-guest` runs them."""
    runs: list[Run] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """What became of it in this run."""
        outcomes = {run.outcome for run in self.runs}
        if "failed" in outcomes:
            return "FAILED"
        skipped = "; ".join(dict.fromkeys(run.why for run in self.runs if run.outcome == "skipped"))
        if "passed" in outcomes:
            parts = [f"in part: skipped: {skipped}"] if "skipped" in outcomes else []
            parts += [UNJUDGED] if any(run.unjudged for run in self.runs) else []
            return "; ".join(parts) or "ok"
        if self.guest:
            return "in the guest: make test-guest"
        if outcomes:
            return f"skipped: {skipped}"
        return "see there" if self.remark else "not shown"


def rows(text: str, root: Path) -> dict[str, Fault]:
    """Return the faults of docs/faults.md by id, in its order."""
    checks: dict[str, list[str]] = {}
    for path in sorted((root / "tests" / "guest").glob("*.py")):
        for fault, words in CHECK.findall(path.read_text(encoding="utf-8")):
            checks.setdefault(fault.upper(), []).append(words)
    return {
        row["id"]: Fault(row["id"], row["what"], row["remark"], checks.get(row["id"], []))
        for row in ROW.finditer(text)
    }


def ids_of(name: str) -> set[str]:
    """The ids that the name of a test begins with."""
    found = IDS.match(name)
    return set(found[1].upper().split("_")[:-1]) if found else set()


def words_of(name: str) -> str:
    """What a test says by its name."""
    return IDS.sub("", name).partition("[")[0].replace("_", " ")
