"""Tables on a terminal with colours. The only file that imports rich; imported only then.

Foreign text goes into `Text` objects: it is never markup and never a pattern.
"""

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from agentd.cli.views.table import GAP, Table, fitted, heading


def console() -> Console:
    """Return a console that writes colours; its caller has decided that it may."""
    return Console(force_terminal=True, highlight=False, markup=False, emoji=False)


def colored(table: Table, width: int) -> RenderableType:
    """Lay a table out for a terminal of this width; what doesn't fit ends with an ellipsis."""
    table = fitted(table, width)
    rich = RichTable(box=None, padding=(0, GAP, 0, 0), header_style="bold", pad_edge=False)
    for name in table.columns:
        folds = table.wraps and name == table.columns[-1]
        rich.add_column(
            Text(heading(name)),
            justify="right" if name.startswith(">") else "left",
            no_wrap=not folds,
            overflow="fold" if folds else "ellipsis",
        )
    for row in table.rows:
        rich.add_row(*(Text(entry.text, style=entry.style) for entry in row))
    parts: list[RenderableType] = [rich] if table.rows else []
    if table.footer:
        parts.append(Text(table.footer, style="dim"))
    return Group(*parts)


def show(table: Table) -> None:
    """Print a table with colours."""
    screen = console()
    screen.print(colored(table, screen.width))
