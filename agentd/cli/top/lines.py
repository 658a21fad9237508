"""The live view as lines of a screen: state, width and height in, coloured text out.

ASCII but for what agents supplied, which is made visible before. What is not true any more is
never shown as if it were: the head says since when, and no health keeps its colour.
"""

from collections.abc import Sequence
from typing import Any, Final

from agentd.cli.top.sorting import SORTS
from agentd.cli.top.state import VERBS, Top
from agentd.cli.views.agents import summary, top_table
from agentd.cli.views.details import details
from agentd.cli.views.table import GAP, Cell, Table, fitted, heading
from agentd.cli.views.words import shortened
from agentd.reporting.words import duration, visible

Document = dict[str, Any]
Line = tuple[Cell, ...]

MARK: Final = "> "
INCIDENTS_SHOWN: Final = 3
HEAD_LINES: Final = 2
AGENTS_ROOM_MIN: Final = 3
"""So many rows of the table are left when details are open."""
HEALTH_COLUMN: Final = 2
SEVERITY_STYLE: Final = {"warning": "yellow", "critical": "bold red"}
CONSEQUENCES: Final = {
    "kill": "its whole tree at once; only resume brings it back",
    "pause": "held where it stands until resumed",
    "resume": "goes on; a killed one begins a new execution",
    "restart": "stopped and started",
}
KEYS: Final = "/ filter  s sort  Enter details  p pause  r resume  t restart  K kill  ? help  q"
REASON: Final = "reason (Enter: do it, Esc: leave it): "
HELP: Final = (
    "up down j k     select an agent        PgUp PgDn   a page, also of the details",
    "g G Home End    first, last            Enter d     details of the agent",
    "/               filter by words        s S         sort by the next, by the last",
    "Esc             back; all agents       o           the other way round",
    "",
    "p               pause the agent        r           resume it",
    "t               restart it             K           kill it (Shift-k)",
    "                each asks for a reason: Enter does it, Esc leaves it",
    "",
    "q Ctrl-C        leave                  Ctrl-Z      leave for a while: fg",
    "",
    "sorts           " + ", ".join(list(SORTS)[:5]) + ",",
    "                " + ", ".join(list(SORTS)[5:]),
)


def lines(top: Top, width: int, height: int, now_s: float) -> list[Line]:
    """Return the lines of a screen of this size, at most `height` of them."""
    head = _head(top, now_s)
    if top.is_helping:
        body = [*head, _line(""), *(_line(text) for text in HELP)]
        return [*_fitting(body, height - 1), _line("any key leads back")]
    room = room_for(top, width, height)
    incidents = _incidents(top, width)
    upper = [*head, *_table(top, width, room, now_s), *_details(top, width)]
    lower = [*incidents, *_foot(top, width)]
    return [*_fitting(upper, height - len(lower)), *lower][-height:]


def room_for(top: Top, width: int, height: int) -> int:
    """Return how many agents fit on the screen."""
    space = max(height - HEAD_LINES - len(_incidents(top, width)) - 1 - len(_foot(top, width)), 1)
    pane = _details(top, width)
    if not pane:
        return space
    return min(space, max(AGENTS_ROOM_MIN, min(len(top.rows()), space - len(pane))))


def _fitting(shown: list[Line], height: int) -> list[Line]:
    return (shown + [_line("")] * (height - len(shown)))[: max(height, 0)]


def _line(text: str, style: str = "") -> Line:
    return (Cell(text, style),)


def _head(top: Top, now_s: float) -> list[Line]:
    host = visible(top.status.get("host") or "")
    if top.is_stale(now_s):
        told = f"agentd on {host}: {top.lost_how}, last seen {_ago(now_s - top.seen_s)} ago"
        return [_line(told, "bold red"), _line(visible(top.lost or "no answer"), "red")]
    told = f"agentd on {host}: {summary(top.status)}"
    number = len(top.incidents)
    told += f"; {number} open incident{'s' if number > 1 else ''}" if number else ""
    shown = f"sort {top.sort}{' reversed' if top.reverse else ''}"
    shown += f'  filter "{visible(top.words)}"' if top.words else ""
    return [_line(told, "bold"), (Cell(shown), Cell(f"  {top.host}", "dim"))]


def _ago(seconds: float) -> str:
    whole_s = max(0, int(seconds))
    return duration(whole_s) if whole_s >= 60 else f"{whole_s}s"  # noqa: PLR2004 - whole seconds


def _table(top: Top, width: int, room: int, now_s: float) -> list[Line]:
    agents = top.rows()
    if not agents:
        told = f'no agent matches "{visible(top.words)}"' if top.words else "no agents"
        return [_line(told)]
    table = fitted(top_table({**top.status, "agents": agents}), width - len(MARK))
    widths = [
        max(len(heading(name)), *(len(row[index].text) for row in table.rows))
        for index, name in enumerate(table.columns)
    ]
    heads = [Cell(heading(name), "bold") for name in table.columns]
    stale = top.is_stale(now_s)
    shown = [(Cell(" " * len(MARK)), *_padded(heads, table, widths))]
    for index in range(top.first, min(top.first + room, len(table.rows))):
        row = table.rows[index]
        cells = _padded(_past(row) if stale else row, table, widths)
        selected = index == top.row
        mark = Cell(MARK if selected else " " * len(MARK))
        shown.append(tuple(_reversed(entry) if selected else entry for entry in (mark, *cells)))
    return shown


def _past(row: Sequence[Cell]) -> list[Cell]:
    """Show a row as what was: without colour, and its health as a question."""
    cells = [entry._replace(style="dim") for entry in row]
    cells[HEALTH_COLUMN] = Cell(f"{cells[HEALTH_COLUMN].text}?", "dim")
    return cells


def _reversed(entry: Cell) -> Cell:
    return entry._replace(style=f"{entry.style} reverse".strip())


def _padded(row: Sequence[Cell], table: Table, widths: list[int]) -> list[Cell]:
    cells = []
    for entry, name, width in zip(row, table.columns, widths, strict=True):
        text = entry.text.rjust(width) if name.startswith(">") else entry.text.ljust(width)
        cells.append(Cell(text + " " * GAP, entry.style))
    return cells


def _incidents(top: Top, width: int) -> list[Line]:
    """Return a line an incident, those that nobody has in hand first."""
    if not top.incidents:
        return []
    ordered = sorted(top.incidents, key=lambda one: bool(one.get("acknowledged_by")))
    shown = [_incident(one, width) for one in ordered[:INCIDENTS_SHOWN]]
    more = len(ordered) - len(shown)
    if more > 0:
        shown.append(_line(f"and {more} more: agentctl incidents --open", "dim"))
    return [_line("-" * min(width, 80), "dim"), *shown]


def _incident(incident: Document, width: int) -> Line:
    severity = str(incident.get("severity") or "")
    known = incident.get("acknowledged_by")
    words = [
        f"incident {incident.get('id')}",
        str(incident.get("agent") or "-"),
        f"known to {known}:" if known else "",
        str(incident.get("summary") or incident.get("cause") or ""),
    ]
    text = visible("  ".join(word for word in words if word))
    return _line(shortened(text, width), "" if known else SEVERITY_STYLE.get(severity, ""))


def told_of(top: Top, width: int) -> list[str]:
    """Return all lines of the details that are open; empty: none are."""
    rows = top.rows() if top.is_detailed else []
    return details(rows[top.row], width).splitlines() if rows else []


def _details(top: Top, width: int) -> list[Line]:
    told = told_of(top, width)
    if not told:
        return []
    first = min(top.detail, len(told) - 1)
    title = _line("-" * min(width, 80), "dim")
    shown = told[first:]
    head = [] if first else [_line(shown.pop(0), "bold")]
    return [title, *head, *(_line(text) for text in shown)]


def _foot(top: Top, width: int) -> list[Line]:
    question = top.question
    if question is not None:
        what = f"{question.verb} {visible(question.agent)}: {CONSEQUENCES[question.verb]}"
        return [_line(what, "bold"), _prompt(REASON, question.reason, width)]
    if top.is_filtering:
        return [_prompt("filter: ", top.words, width)]
    return [_line(visible(top.message), "bold") if top.message else _line(KEYS, "dim")]


def _prompt(asked: str, typed: str, width: int) -> Line:
    """Show what is asked for and the end of what was typed, where the next letter goes."""
    room = max(width - len(asked) - 1, 1)
    return (Cell(asked, "bold"), Cell(f"{visible(typed)[-room:]}_"))


assert set(CONSEQUENCES) == set(VERBS.values())
