"""JSON without importing `json`, which costs an agent's start a regular expression engine.

The C parts that `json` itself stands on are taken directly, where the interpreter has them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Rules:
    """What a scanner asks of its decoder."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


quoted: Callable[[str], str]
_scan: Callable[[str, int], tuple[Any, int]]
try:
    import _json

    quoted = _json.encode_basestring
    _scan = _json.make_scanner(_Rules)  # type: ignore[arg-type]  # duck-typed in C
except (ImportError, AttributeError):  # an interpreter without them has the slow way
    import json

    quoted = json.encoder.encode_basestring
    _scan = json.JSONDecoder(strict=False).raw_decode


def parsed(text: str) -> dict[str, Any] | None:
    """Return the object that a line holds; None where it holds none."""
    try:
        value, end = _scan(text, 0)
    except (StopIteration, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and end == len(text) else None
