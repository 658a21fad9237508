"""Figures and foreign text as a person reads them; what isn't known is never shown as 0."""

from typing import Final

from agentd.reporting.words import NOTHING, duration, visible

UNKNOWN: Final = "?"


def shortened(text: str, length_max: int) -> str:
    """Cut a text that is too long, and show that it was cut."""
    return text if len(text) <= length_max else f"{text[: length_max - 1]}…"


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines of this width, at blanks where there are some."""
    from textwrap import wrap  # noqa: PLC0415 - only on a terminal

    return wrap(text, max(width, 1), break_on_hyphens=False) or [""]


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


def clock(time: object) -> str:
    """Write a moment of the wire (ISO 8601, UTC) in local time; others are left as they are."""
    from datetime import datetime  # noqa: PLC0415 - `status` as a table needs none

    try:
        moment = datetime.fromisoformat(str(time))
    except ValueError:
        return visible(time)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
