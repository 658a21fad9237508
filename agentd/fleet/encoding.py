"""Documents as bytes: JSON, compressed where that pays, and bounded both ways."""

import zlib
from typing import Any, Final

import msgspec

from agentd.client.errors import AgentdError

Document = dict[str, Any]

PACKED_BYTES_MAX: Final = 768 << 10
"""Below the 1 MiB that a NATS server takes by default, with room for headers and base64."""
TEXT_BYTES_MAX: Final = 16 << 20
"""No honest document is longer; a small message that unfolds beyond it is an attack."""
_PLAIN_BYTES_MAX: Final = 512
"""Shorter than that, compressing costs more than it saves."""


class Unreadable(Exception):  # noqa: N818 - named after what it is
    """Bytes that are no document of ours."""


def pack(document: Document, *, bytes_max: int = PACKED_BYTES_MAX) -> bytes:
    """Return a document as bytes; `too_large` if they are more than `bytes_max`."""
    text = msgspec.json.encode(document)
    packed = text if len(text) <= _PLAIN_BYTES_MAX else zlib.compress(text, 6)
    if len(packed) > bytes_max or len(text) > TEXT_BYTES_MAX:
        raise AgentdError(
            "too_large",
            f"a document of {len(text)} bytes ({len(packed)} packed) is too large for the fleet",
            "ask for less: fewer agents, fewer lines",
        )
    return packed


def unpack(packed: bytes) -> Document:
    """Return the document that `pack` was given; `Unreadable` for anything else."""
    text = packed
    if not packed.startswith(b"{"):
        unpacking = zlib.decompressobj()
        try:
            text = unpacking.decompress(packed, TEXT_BYTES_MAX)
        except zlib.error:
            raise Unreadable("neither JSON nor compressed") from None
        if not unpacking.eof:
            raise Unreadable("cut off, or too large")
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Unreadable("not JSON") from None
    if not isinstance(document, dict):
        raise Unreadable("not an object")
    return document
