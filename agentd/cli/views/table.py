"""A table as data, made to fit a terminal, and as aligned text for pipes and plain terminals."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from agentd.cli.views.words import shortened, wrapped
from agentd.reporting.words import visible

GAP: Final = 2
WRAP_CHARS_MIN: Final = 20
"""No text goes on in lines shorter than this, which nobody could read."""


class Cell(NamedTuple):
    """Text without control characters, and the colour it has where there are colours."""

    text: str
    style: str = ""


class Table(NamedTuple):
    """Columns whose name begins with `>` are aligned to the right.

    Where a terminal is too narrow, the columns of `cut` are shortened, not below the length
    beside them; then those of `spare` are left out, first those in which every row says
    nothing, then the others in their order. With `wraps` the last column goes on in further lines.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    footer: str = ""
    cut: Sequence[tuple[str, int]] = ()
    spare: Sequence[str] = ()
    wraps: bool = False


def cell(content: object, style: str = "") -> Cell:
    """Make a cell of foreign text; `-` stands for nothing at all."""
    return Cell(visible(content) if content not in {None, ""} else "-", style)


def plain(table: Table, width: int | None = None) -> str:
    """Write a table as text, two blanks between columns, none at the end of a line.

    `width` is that of the terminal; without one, everything is written in full.
    """
    if width is not None:
        table = fitted(table, width)
    lines = []
    if table.rows:
        widths = _widths(table)
        lines.append(_line([heading(name) for name in table.columns], table, widths))
        for row in table.rows:
            lines += _row(row, table, widths, width)
    if table.footer:
        lines.append(table.footer)
    return "\n".join(lines)


def fitted(table: Table, width: int) -> Table:
    """Return the table as it fits into `width` columns of a terminal, as well as it can."""
    for name in (None, *_empty(table), *table.spare):
        if name is not None:
            table = without(table, name)
        if _least(table) <= width:
            break
    return _cut(table, width)


def without(table: Table, name: str) -> Table:
    """Return the table without a column; as it is, where it hasn't got that."""
    if name not in table.columns:
        return table
    index = list(table.columns).index(name)
    return table._replace(
        columns=[*table.columns[:index], *table.columns[index + 1 :]],
        rows=[[*row[:index], *row[index + 1 :]] for row in table.rows],
    )


def heading(column: str) -> str:
    """Return the name of a column as it is shown."""
    return column.lstrip(">")


def _row(row: Sequence[Cell], table: Table, widths: Sequence[int], width: int | None) -> list[str]:
    texts = [entry.text for entry in row]
    if not table.wraps or width is None:
        return [_line(texts, table, widths)]
    indent = sum(widths[:-1]) + GAP * (len(widths) - 1)
    first, *rest = wrapped(texts[-1], max(width - indent, WRAP_CHARS_MIN))
    return [_line([*texts[:-1], first], table, widths), *(" " * indent + one for one in rest)]


def _line(texts: Sequence[str], table: Table, widths: Sequence[int]) -> str:
    parts = [
        text.rjust(width) if name.startswith(">") else text.ljust(width)
        for name, text, width in zip(table.columns, texts, widths, strict=True)
    ]
    return (" " * GAP).join(parts).rstrip()


def _widths(table: Table) -> list[int]:
    heads = [heading(name) for name in table.columns]
    texts = [[entry.text for entry in row] for row in table.rows]
    return [max(map(len, column)) for column in zip(heads, *texts, strict=True)]


def _least(table: Table) -> int:
    """Return the width of the table with everything cut that may be."""
    widths = _widths(table)
    bounds = dict(table.cut)
    least = [
        min(width, bounds.get(name, width))
        for name, width in zip(table.columns, widths, strict=True)
    ]
    if table.wraps:
        least[-1] = min(widths[-1], WRAP_CHARS_MIN)
    return sum(least) + GAP * (len(least) - 1)


def _empty(table: Table) -> list[str]:
    """Return the spare columns that say nothing of any agent."""
    return [
        name
        for name in table.spare
        if all(row[table.columns.index(name)].text in {"-", "?"} for row in table.rows)
    ]


def _cut(table: Table, width: int) -> Table:
    """Shorten the columns that may be cut, the widest first, until the table fits."""
    widths = _widths(table)
    least = {
        index: min(widths[index], dict(table.cut)[name])
        for index, name in enumerate(table.columns)
        if name in dict(table.cut)
    }
    for _ in range(sum(widths) + GAP * (len(widths) - 1) - width):
        givers = [index for index in least if widths[index] > least[index]]
        if not givers:
            break
        widths[max(givers, key=widths.__getitem__)] -= 1
    rows = [
        [
            entry._replace(text=shortened(entry.text, widths[index])) if index in least else entry
            for index, entry in enumerate(row)
        ]
        for row in table.rows
    ]
    return table._replace(rows=rows)
