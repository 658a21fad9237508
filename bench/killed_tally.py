"""What `bench.killed` has seen of each supervisor: a table, and files that can be added up."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(slots=True)
class Tally:
    """What was seen; all but the first lines ought to be 0."""

    rounds: int = 0
    untouched: int = 0
    """Agents that lived at the kill and to which nothing else was done, over all rounds."""
    changed: int = 0
    """... of those: another pid, or none, after it."""
    doubled: int = 0
    """Agents of which there were two or more at once."""
    missing: int = 0
    """Agents that should run and didn't, half a minute later."""
    stops: int = 0
    """Stopped agents at a kill, over all rounds."""
    undone: int = 0
    ends_down: int = 0
    """Ends while no supervisor was there."""
    never_told: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    """Of the ends that were told, by how: exact; unknown, where nothing could be known; withheld,
    unknown though the kernel told the holder of the pidfd; or invented."""
    written: int = 0
    """Lines that agents wrote."""
    lost: int = 0
    repeated: int = 0
    gaps: int = 0
    """Runs of an agent in whose own numbers one is missing."""
    beats: int = 0
    """Heartbeats that agentd has answered."""
    beats_lost: int = 0
    """... of those: not counted any more after the kills."""
    miscounted: int = 0
    """Agents that were more of them short after a kill than it may cost, or had some twice."""
    back_s: list[float] = field(default_factory=list)
    """From the start of the command until its command line gets an answer."""
    notes: list[str] = field(default_factory=list)


HEAD = (
    "| | rounds | untouched agents with another pid | running twice | not running "
    "| stops undone | lines lost | lines twice | gaps in counters | ends while down: never told "
    "| time to answer again, median (worst) |"
)


def table(tallies: dict[str, Tally]) -> str:
    """A row a supervisor."""
    rows = [row(name, tally) for name, tally in tallies.items()]
    return "\n".join([HEAD, "|---" * (HEAD.count("|") - 1) + "|", *rows])


def row(name: str, tally: Tally) -> str:
    back = f"{statistics.median(tally.back_s):.1f} s ({max(tally.back_s):.1f} s)"
    cells = (
        name,
        tally.rounds,
        f"{tally.changed} of {tally.untouched}",
        tally.doubled,
        tally.missing,
        f"{tally.undone} of {tally.stops}",
        f"{tally.lost} of {tally.written}",
        tally.repeated,
        tally.gaps,
        f"{tally.never_told} of {tally.ends_down}",
        back,
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def told(tally: Tally) -> str:
    """What agentd alone can be asked about: how its agents ended, and how often they beat."""
    ends = ", ".join(f"{how} {count}" for how, count in sorted(tally.exits.items()))
    return (
        f"agentd: {tally.exits.total()} ends were told ({ends}); of {tally.beats} answered "
        f"heartbeats {tally.beats_lost} were not counted after the kills, "
        f"beyond what they may cost {tally.miscounted} times."
    )


def written(tallies: dict[str, Tally]) -> str:
    documents = {
        name: {one.name: getattr(tally, one.name) for one in fields(Tally)}
        for name, tally in tallies.items()
    }
    return json.dumps(documents, indent=1)


def read(path: Path) -> dict[str, Tally]:
    told = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Tally(**{**tally, "exits": Counter(tally["exits"])}) for name, tally in told.items()
    }


def added(pieces: Iterable[dict[str, Tally]]) -> dict[str, Tally]:
    """All rounds of all pieces; each began with a fresh supervisor."""
    found: dict[str, Tally] = {}
    for piece in pieces:
        for name, tally in piece.items():
            whole = found.setdefault(name, Tally())
            for one in fields(Tally):
                setattr(whole, one.name, getattr(whole, one.name) + getattr(tally, one.name))
    return found
