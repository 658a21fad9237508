"""HTML from parts that can't be forgotten to escape: whatever isn't `Markup` is foreign text."""

from collections.abc import Iterable
from html import escape
from typing import Final

from agentd.reporting.words import visible

VOID: Final = frozenset(("br", "img", "input", "link", "meta"))
Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is HTML already; made by `tag` and `join` alone."""

    __slots__ = ()


Child = Markup | str | int | float | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """Return one element; None and False leave an attribute out, True writes its bare name.

    `class_` is written `class`, other underlines become hyphens: `data_slot` → `data-slot`.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        words.append(shown if value is True else f'{shown}="{escape(visible(value))}"')
    opened = f"<{' '.join(words)}>"
    return Markup(opened if name in VOID else f"{opened}{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Return parts one after the other; control characters of foreign text become visible."""
    return Markup("".join(_written(child) for child in children))


def lines(texts: Iterable[str]) -> Markup:
    """Return foreign text line by line, tabs kept, for a `pre`."""
    return Markup("\n".join(escape(visible(text, tabs=True)) for text in texts))


def _written(child: Child) -> str:
    match child:
        case None:
            return ""
        case Markup():
            return child
        case str() | int() | float():
            return escape(visible(child))
        case _:
            return join(child)
