"""Figures and foreign text as a person reads them; what isn't known is never shown as 0."""

from agentd.reporting.words import dollars, latency, number, percent, size, visible

__all__ = [
    "clock",
    "dollars",
    "latency",
    "number",
    "percent",
    "shortened",
    "size",
    "wrapped",
]


def shortened(text: str, length_max: int) -> str:
    """Cut a text that is too long, and show that it was cut."""
    return text if len(text) <= length_max else f"{text[: length_max - 1]}…"


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines of this width, at blanks where there are some."""
    from textwrap import wrap  # noqa: PLC0415 - only on a terminal

    return wrap(text, max(width, 1), break_on_hyphens=False) or [""]


def clock(time: object) -> str:
    """Write a moment of the wire (ISO 8601, UTC) in local time; others are left as they are."""
    from datetime import datetime  # noqa: PLC0415 - `status` as a table needs none

    try:
        moment = datetime.fromisoformat(str(time))
    except ValueError:
        return visible(time)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
