"""Arguments and results as text, to be fingerprinted: bounded, whatever is handed in.

A text is itself. Anything else is a line for each value in it, `path: value`, so that two
results that share most of their values share most of their lines.
"""

from __future__ import annotations

from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

VALUES_MAX: Final = 128
"""A step must end within 1 ms, and each value costs some microseconds."""
DEPTH_MAX: Final = 6
CHARS_MAX: Final = 16 << 10
"""Characters of a whole; more are not looked at."""
VALUE_CHARS_MAX: Final = 4 << 10
NAME_CHARS_MAX: Final = 64


def rendered(value: object) -> str:
    """Return a text that is the same for the same value; "" for None."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[:CHARS_MAX]).decode("utf-8", "replace")
    if value is None:
        return ""
    rendering = _Rendering()
    rendering.add("", value, DEPTH_MAX)
    return "\n".join(rendering.lines)


class _Rendering:
    """Lines of a value, as many as there is room for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._room = CHARS_MAX

    def add(self, path: str, value: object, depth: int) -> None:
        """Add a line for each value in a value."""
        if len(self.lines) >= VALUES_MAX or self._room <= 0:
            return
        named = _named(value) if depth else None
        if not named:
            text = "empty" if named is not None else _scalar(value)
            line = f"{path}: {text}" if path else text
            self.lines.append(line)
            self._room -= len(line)
            return
        for name, inner in named:
            self.add(f"{path}.{name}" if path else str(name), inner, depth - 1)


def _named(value: object) -> list[tuple[object, object]] | None:
    """Return what a container holds, as (name, value) in a fixed order; None: no container."""
    if isinstance(value, (str, bytes, bytearray, int, float, type(None), type)):
        return None
    if isinstance(value, dict):
        return _sorted(value)
    if isinstance(value, (list, tuple)):
        return list(enumerate(value[:VALUES_MAX]))
    if isinstance(value, (set, frozenset)):
        return list(enumerate(sorted(_scalar(inner) for inner in islice(value, VALUES_MAX))))
    fields = getattr(value, "__dict__", None)  # dataclasses, pydantic, results of MCP
    if not isinstance(fields, dict):
        return None
    return [item for item in _sorted(fields) if not str(item[0]).startswith("_")] or None


def _sorted(mapping: dict[object, object]) -> list[tuple[object, object]]:
    items = list(islice(mapping.items(), VALUES_MAX))
    items.sort(key=lambda item: str(item[0])[:NAME_CHARS_MAX])
    return [(str(name)[:NAME_CHARS_MAX], inner) for name, inner in items]


def _scalar(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[:VALUE_CHARS_MAX]).decode("utf-8", "replace")
    return (value if isinstance(value, str) else str(value))[:VALUE_CHARS_MAX]
