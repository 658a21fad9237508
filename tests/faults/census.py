"""How much a daemon under test keeps, as it tells itself (programs/census/sitecustomize.py)."""

import json
from pathlib import Path

from tests.faults.guard import PROGRAMS, Fleet


def environment_of(root: Path) -> dict[str, str]:
    """What a daemon must be started with, so that it tells."""
    return {"PYTHONPATH": str(PROGRAMS / "census"), "CENSUS": str(root / "census")}


def ask(fleet: Fleet, what: str = "") -> None:
    """Have it tell soon; of `objects` by type too, for which it stands still."""
    unfinished = fleet.root / "census.unfinished"
    unfinished.write_text(what)
    unfinished.rename(_place(fleet, "ask"))


def told(fleet: Fleet) -> dict[str, int]:
    """What it told last; empty: nothing yet."""
    try:
        found: dict[str, int] = json.loads(_place(fleet, "told").read_text())
    except FileNotFoundError:
        return {}
    return found


def objects(fleet: Fleet) -> dict[str, int]:
    """Ask for its objects by type, and wait for them."""
    _place(fleet, "told").unlink(missing_ok=True)
    ask(fleet, "objects")
    fleet.until_true(lambda: told(fleet))
    return told(fleet)


def _place(fleet: Fleet, word: str) -> Path:
    return fleet.root / f"census.{fleet.pid}.{word}"
