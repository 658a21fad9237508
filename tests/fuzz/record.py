"""A long run in pieces: what became of each job, kept as soon as it is done.

The same command begun again goes on with the jobs that are left, and adds up all of them. A job
is a target, a number of lines and a seed, so its inputs are the same whenever it runs; what the
parsers made of them may differ once the code has changed, so a file names the code it is of.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CODE = ("agentd", "tests/fuzz")

Job = tuple[str, int, str]
"""Target, lines, seed."""
Told = dict[str, Any]


@dataclass(slots=True)
class Record:
    """The jobs of one run that are done, in a file of a line each."""

    path: Path
    told: dict[Job, Told] = field(default_factory=dict)

    def read(self) -> None:
        """Take what an earlier piece has left; a torn last line is a job that isn't done."""
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                document = json.loads(line)
            except ValueError:
                continue
            target, lines, seed = document["job"]
            self.told[target, lines, seed] = document["told"]

    def add(self, job: Job, told: Told) -> None:
        """Keep what became of a job."""
        self.told[job] = told
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"job": job, "told": told}) + "\n")

    def left(self, jobs: list[Job]) -> list[Job]:
        """Return the jobs that have yet to be done."""
        return [job for job in jobs if job not in self.told]


def code_name() -> str:
    """Return a short name of the code under test and of the targets: it changes with them."""
    found = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:8]
