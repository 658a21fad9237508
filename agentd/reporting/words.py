"""Figures and foreign text as a person reads them; what isn't known is never shown as 0."""

import re
from itertools import pairwise
from typing import Final

NOTHING: Final = "-"
UNKNOWN: Final = "?"
SENSELESS: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What writing down a foreign document raises whose fields are not of the types they should be."""
_S_PER: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_SHORT_S: Final = 10
# Controls, invisible marks, marks that turn the direction of writing, half characters.
_UNSAFE: Final = (
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_NAMED: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def visible(text: object, *, tabs: bool = False) -> str:
    r"""Write control and invisible characters as `\x1b`; with `tabs`, leave those alone.

    Whatever an agent supplied passes through here before it reaches a terminal.
    """
    words = str(text)
    if words.isascii() and words.isprintable():
        return words
    return re.sub(
        _UNSAFE, lambda found: "\t" if tabs and found[0] == "\t" else _code(found[0]), words
    )


def _code(char: str) -> str:
    number = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if number <= 0xFF:  # noqa: PLR2004 - what two hexadecimal digits hold
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 - as above


def duration(seconds: float | None) -> str:
    """Write two units at most: `3.2s`, `13m32s`, `2h05m`, `3d04h`."""
    if seconds is None:
        return NOTHING
    if 0 < seconds < _SHORT_S:
        return f"{seconds:.1f}s"
    whole_s = int(seconds)
    for (unit, unit_s), (below, below_s) in pairwise(_S_PER):
        if whole_s >= unit_s:
            return f"{whole_s // unit_s}{unit}{whole_s % unit_s // below_s:02d}{below}"
    return f"{whole_s}s"


def latency(amount_ms: float) -> str:
    """Write `410ms`, `4.1s`, `1m10s`."""
    return f"{amount_ms:.0f}ms" if amount_ms < 1000 else duration(amount_ms / 1000)  # noqa: PLR2004 - a second


def size(size_bytes: float | None) -> str:
    """Write `512B`, `100M`, `1.5G`; 1024-based, as the configuration is."""
    if size_bytes is None:
        return NOTHING
    amount, unit = float(size_bytes), "B"
    for larger in "KMGT":
        if amount < 1024:  # noqa: PLR2004 - the base of all of them
            break
        amount, unit = amount / 1024, larger
    digits = 1 if unit != "B" and amount < 10 and round(amount, 1) % 1 else 0  # noqa: PLR2004 - 1.5G, 15G
    return f"{amount:.{digits}f}{unit}"


def dollars(amount: float | None, *, known: bool = True) -> str:
    """Write `$1.40`; `?` where no cost is known, `>$1.40` where only a part of it is."""
    if amount is None or (not known and not amount):
        return UNKNOWN
    text = f"${amount:.2f}" if amount >= 0.01 or not amount else f"${amount:.4f}"  # noqa: PLR2004 - a cent
    return text if known else f">{text}"


def number(amount: float | None) -> str:
    """Write `88,000`; a fraction is left out."""
    return NOTHING if amount is None else f"{amount:,.0f}"


def percent(share: float | None) -> str:
    """Write a share of 1 as `95.2 %`."""
    return NOTHING if share is None else f"{share * 100:.3g} %"
