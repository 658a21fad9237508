"""The breakers document as a table."""

from math import ceil
from typing import Any, Final

from agentd.cli.views.table import Cell, Table, cell, without
from agentd.cli.views.words import clock
from agentd.reporting.words import duration

Document = dict[str, Any]

COLUMNS: Final = (
    "DEPENDENCY",
    "STATE",
    ">FAILURES",
    ">FIRST",
    ">RETRIES",
    "OPENED",
    ">TRIAL IN",
    "LAST ERROR",
    "AGENTS",
    "ELSEWHERE",
)
STATE_STYLE: Final = {"closed": "green", "half_open": "yellow", "open": "bold red"}
CUT: Final = (("DEPENDENCY", 12), ("LAST ERROR", 12), ("AGENTS", 12))
SPARE: Final = (">FIRST", ">RETRIES", "OPENED", ">TRIAL IN", "LAST ERROR")


def breakers_table(document: Document) -> Table:
    """Lay out all dependencies, and below them how many may be called."""
    rows = [_row(breaker) for breaker in document["breakers"]]
    table = Table(COLUMNS, rows, summary(document), CUT, SPARE)
    alone = not any(breaker.get("elsewhere") for breaker in document["breakers"])
    return without(table, "ELSEWHERE") if alone else table


def summary(document: Document) -> str:
    """Write `1 open, 3 closed`."""
    states = [str(breaker.get("state")) for breaker in document["breakers"]]
    parts = [f"{states.count(state)} {state}" for state in ("open", "half_open", "closed")]
    told = [part for part in parts if not part.startswith("0 ")]
    return ", ".join(told) or "no agent has told of a shared dependency"


def _row(breaker: Document) -> tuple[Cell, ...]:
    state = str(breaker.get("state", ""))
    left_s, opened = breaker.get("retry_in_s"), breaker.get("opened")
    return (
        cell(breaker["name"]),
        cell(state, STATE_STYLE.get(state, "")),
        cell(f"{breaker.get('failures', 0)} in {duration(breaker.get('window_s'))}"),
        cell(breaker.get("first_attempts")),
        cell(breaker.get("retries")),
        cell(None if opened is None else clock(opened)),
        cell(None if left_s is None else duration(ceil(left_s))),
        cell(breaker.get("last_error")),
        cell(", ".join(map(str, breaker.get("agents") or ()))),
        cell(", ".join(map(str, breaker.get("elsewhere") or ())), "yellow"),
    )
