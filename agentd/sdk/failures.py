"""Failures that hide in a result that looks like success. Only their kind is told."""

from __future__ import annotations

from agentd.sdk.jsontext import parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

JSON_CHARS_MAX: Final = 8 << 10
"""A text that may be a JSON object is looked into up to this length."""
EMPTY_CHARS_MAX: Final = 1024
"""White space beyond that is something."""
STATUS_MIN: Final = 400
STATUS_MAX: Final = 999
TOOLS_MAX: Final = 256


class EmptyResults:
    """How often in a row each tool has found nothing."""

    def __init__(self) -> None:
        self._in_a_row: dict[str, int] = {}

    def again(self, tool: str, result: object) -> bool:
        """Note a result; tell whether it is empty and so was the one before it."""
        if not is_empty(result):
            self._in_a_row.pop(tool, None)
            return False
        if tool not in self._in_a_row and len(self._in_a_row) >= TOOLS_MAX:
            self._in_a_row.pop(next(iter(self._in_a_row)), None)
        self._in_a_row[tool] = count = self._in_a_row.get(tool, 0) + 1
        return count > 1


def is_empty(result: object) -> bool:
    """Tell whether a result is a text or a container with nothing in it.

    None is not: a function that returns nothing has not looked for anything.
    """
    if isinstance(result, (str, bytes, bytearray)):
        if len(result) > EMPTY_CHARS_MAX:
            return False
        text = result.strip()
        return text in ("", "[]", "{}", "null") or text in (b"", b"[]", b"{}", b"null")
    return isinstance(result, (list, tuple, dict, set, frozenset)) and not result


def hidden(result: object) -> str | None:
    """Return the kind of failure that a result tells of: "isError", "error", "status_503"."""
    seen = _opened(result)
    if seen is None:
        return None
    for name in ("isError", "is_error"):
        if _get(seen, name) is True:
            return "isError"
    for name in ("status_code", "status"):
        found = _status(_get(seen, name))
        if found is not None:
            return found
    error = _get(seen, "error")
    return "error" if error is not None and not callable(error) and bool(error) else None


def _opened(result: object) -> object | None:
    """Return what has keys or attributes to look at; a text is one where it is a JSON object."""
    if isinstance(result, (bytes, bytearray)):
        if len(result) > JSON_CHARS_MAX:
            return None
        result = bytes(result).decode("utf-8", "replace")
    if isinstance(result, str):
        if len(result) > JSON_CHARS_MAX:
            return None
        text = result.strip()
        return parsed(text) if text[:1] == "{" else None
    return None if isinstance(result, (int, float, list, tuple)) else result


def _status(value: object) -> str | None:
    if value == "error":
        return "error"
    if isinstance(value, str) and value.isdecimal() and len(value) == len("503"):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return f"status_{int(value)}" if STATUS_MIN <= value <= STATUS_MAX else None


def _get(holder: Any, name: str) -> Any:  # noqa: ANN401 - whatever a tool returned
    if isinstance(holder, dict):
        return holder.get(name)
    return getattr(holder, name, None)
