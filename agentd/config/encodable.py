"""Values as they cross a border, to the wire or the disk: plain integers, whole text, UTC."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from agentd.config.units import Bytes, MicroDollars, Milliseconds

SECONDS_KEPT: Final = 1024
"""A status document tells the same moments each time: some 0.2 MB for a third of its cost."""


def plain(value: object) -> int:
    """Return an integer with a unit as what it is on the wire and on disk: an integer.

    An `enc_hook` of msgspec, which encodes no subclass of `int` by itself.
    """
    if isinstance(value, Milliseconds | Bytes | MicroDollars):
        return int(value)
    raise NotImplementedError(f"{type(value).__name__} is nothing to encode")


def encodable(value: object) -> object:
    """Return `value` with every half of a surrogate pair written as an escape.

    Such halves come from file names and from operators' terminals, and are no UTF-8.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {str(encodable(str(key))): encodable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(one) for one in value]
    return value


def utc_text(wall_ms: int) -> str:
    """Write milliseconds since 1970 as ISO 8601 in UTC, with milliseconds and a Z."""
    return f"{_second(wall_ms // 1000)}.{wall_ms % 1000:03d}Z"


@lru_cache(maxsize=SECONDS_KEPT)
def _second(wall_s: int) -> str:
    return datetime.fromtimestamp(wall_s, UTC).isoformat()[: len("1970-01-01T00:00:00")]
