"""The history document for people: a bar an agent, readable without colour, and its outages."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from agentd.reporting.words import duration, visible

Document = Mapping[str, Any]

WIDTH: Final = 80
CELLS_MIN: Final = 12
CELLS_MAX: Final = 60
NAME_MAX: Final = 20
OUTAGES_MAX: Final = 10
"""More of one agent are counted, not listed."""
LEGEND: Final = "= up   x partly down   X down   . at rest   (blank) unknown"
# From this share of a cell on it stands for the whole of it.
_MOST: Final = 0.5
_COLUMNS: Final = (" AVAIL", "RESTARTS", " DOWN", "  COST")


def bar(agent: Document, begins_ms: int, ends_ms: int, cells: int) -> str:
    """Return one symbol for each equal part of the time; an outage is never left out."""
    times: list[dict[str, float]] = [{} for _ in range(cells)]
    width_ms = (ends_ms - begins_ms) / cells
    for each in agent["intervals"]:
        first_ms, last_ms = moment_ms(each["from"]), moment_ms(each["to"])
        cell = max(0, int((first_ms - begins_ms) / width_ms))
        while cell < cells and begins_ms + cell * width_ms < last_ms:
            cell_begins = begins_ms + cell * width_ms
            part = min(last_ms, cell_begins + width_ms) - max(first_ms, cell_begins)
            if part > 0:
                state = each["state"]
                times[cell][state] = times[cell].get(state, 0.0) + part / width_ms
            cell += 1
    return "".join(map(_symbol, times))


def _symbol(shares: Mapping[str, float]) -> str:
    if shares.get("down"):
        return "X" if shares["down"] >= _MOST else "x"
    up, rest = shares.get("up", 0.0), shares.get("paused", 0.0)
    if not up + rest:
        return " "
    return "=" if up >= rest else "."


def timeline(document: Document, zone: tzinfo, width: int | None) -> str:
    """Write the whole: a row an agent, the legend, and what each outage was."""
    return "\n".join(_lines(document, zone, min(width or WIDTH, 2 * WIDTH)))


def _lines(document: Document, zone: tzinfo, width: int) -> Iterator[str]:
    agents: Sequence[Document] = document["agents"]
    if not agents:
        yield "no agents"
        return
    names = [visible(agent["name"]) for agent in agents]
    name_width = min(max(map(len, (*names, "AGENT"))), NAME_MAX)
    figures = [_figures(agent) for agent in agents]
    columns = [(head, *told) for head, *told in zip(_COLUMNS, *figures, strict=True)]
    while _cells(columns, name_width, width) < CELLS_MIN and len(columns) > 1:
        columns.pop()
    cells = max(_cells(columns, name_width, width), CELLS_MIN)
    widths = [max(map(len, column)) for column in columns]
    begins_ms, ends_ms = moment_ms(document["from"]), moment_ms(document["to"])
    span = f"{_clock(document['from'], zone)} to {_clock(document['to'], zone)}"
    yield f"{span} ({document['timezone']}), {_cell_told((ends_ms - begins_ms) / cells)} a symbol"
    heads = [column[0].strip().rjust(size) for column, size in zip(columns, widths, strict=True)]
    yield "  ".join([_fit("AGENT", name_width), " " * (cells + 2), *heads]).rstrip()
    for index, (agent, name) in enumerate(zip(agents, names, strict=True), 1):
        shown = f"[{bar(agent, begins_ms, ends_ms, cells)}]"
        right = [column[index].rjust(size) for column, size in zip(columns, widths, strict=True)]
        yield "  ".join([_fit(name, name_width), shown, *right])
    yield LEGEND
    for agent, name in zip(agents, names, strict=True):
        yield from _outages(agent, name, zone, document["to"])


def _cells(columns: Sequence[Sequence[str]], name_width: int, width: int) -> int:
    """Return how many cells a bar has beside the name and these columns, maybe none."""
    taken = sum(2 + max(map(len, column)) for column in columns)
    return min(width - name_width - taken - 4, CELLS_MAX)


def _figures(agent: Document) -> tuple[str, str, str, str]:
    share, mttr_s = agent["availability"], agent["mttr_s"]
    cost = agent["cost_usd"]
    return (
        "-" if share is None else _share(share),
        str(agent["restarts"]),
        "-" if not agent["downs"] else f"{agent['downs']}x {duration(mttr_s)}",
        "?" if cost is None else f"${cost:,.2f}" if agent["cost_known"] else f">${cost:,.2f}",
    )


def _share(share: float) -> str:
    """Write a share so that only the whole is shown as the whole."""
    text = f"{100 * share:.2f} %"
    return "99.99 %" if share < 1 and text == "100.00 %" else text.replace("100.00", "100")


def _outages(agent: Document, name: str, zone: tzinfo, until: str) -> Iterator[str]:
    downs = [each for each in agent["intervals"] if each["state"] == "down"]
    if len(downs) > OUTAGES_MAX:
        yield f"{name}: {len(downs)} outages, the last {OUTAGES_MAX} of them:"
    for each in downs[-OUTAGES_MAX:]:
        lasted = duration((moment_ms(each["to"]) - moment_ms(each["from"])) / 1000)
        still = " so far" if each["to"] == until else ""
        reason = visible(each["reason"] or "UNKNOWN")
        yield f"{name}: down {_clock(each['from'], zone)} for {lasted}{still}: {reason}"


def _cell_told(cell_ms: float) -> str:
    return duration(cell_ms / 1000)


def moment_ms(time: str) -> int:
    """Return a moment of a document in ms since 1970."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def _clock(time: str, zone: tzinfo) -> str:
    return f"{datetime.fromisoformat(time).astimezone(zone):%Y-%m-%d %H:%M}"


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}~"
