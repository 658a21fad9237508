"""Values as they cross a border, to the wire or the disk: plain integers, whole text, UTC."""

from collections.abc import Mapping
from datetime import UTC, datetime

from agentd.config.units import Bytes, MicroDollars, Milliseconds


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
    moment = datetime.fromtimestamp(wall_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall_ms % 1000:03d}Z"
