"""Foreign text in messages: on as many lines as it is given, and no longer than there is room."""

from typing import Final

CUT: Final = "…"


def on_one_line(text: str) -> str:
    """Return `text` on one line: white space folded, other control characters escaped."""
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Return `text` with all that moves a cursor or hides in it escaped; newlines stay."""
    if text.isprintable():
        return text
    # Each character once: a text of thousands has some dozens of them.
    return text.translate({ord(char): _shown(char) for char in set(text)})


def clipped(text: str, length_max: int) -> str:
    """Return at most so many characters of `text`; where some are missing, it ends so."""
    return text if len(text) <= length_max else text[: max(0, length_max - 1)] + CUT


def _shown(char: str) -> str:
    # Not printable are controls, the marks that turn the direction of writing, and halves of
    # surrogate pairs; the line ends within them are ours.
    if char == "\n" or char.isprintable() or char == "\u00a0":
        return char
    return char.encode("unicode_escape").decode()
