"""Fingerprints: what a step was given and what came out, so that nothing of it can be read.

Normalised means: UUIDs, timestamps, runs of eight and more hex digits and numbers replaced by
`#`, white space collapsed. The cost of a step is bounded, so that a long text is looked at
more coarsely: beyond 1,536 characters without any digit, beyond 16,384 at its two ends.
"""

from __future__ import annotations

import re
from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

RAW_CHARS_MAX: Final = 16 << 10
"""Characters of a text that are looked at: three quarters from its beginning, one from its end."""
NORMALISED_CHARS_MAX: Final = 1536
"""Characters that are normalised, likewise; twice what the recorded runs had kept. The
rest counts in the normalised fingerprint without what `COARSE` names."""
LINES_MAX: Final = 64
HEX_DIGITS: Final = 16

# In this order: UUID, hex run; then timestamp, 0x…, number. A match begins with a digit or a hex
# letter, which the engine looks for first; without IGNORECASE, since that would hide it.
_HEX: Final = "[0-9a-fA-F]"
_UUID_REST: Final = rf"(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}"
_TIMESTAMP_REST: Final = (
    r"\d{3}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:[Zz]|[+-]\d\d:?\d\d)?"
)
VOLATILE: Final = re.compile(
    rf"{_HEX}{{8}}(?:{_UUID_REST}|{_HEX}*)"
    rf"|\d(?:{_TIMESTAMP_REST}|(?<=0)[xX]{_HEX}+|\d*(?:\.\d+)?)"
)


# All that a volatile part may consist of, but for the `x` of 0x…, the T and Z of a timestamp;
# and white space. What is left of a text without them is the same in the next run.
COARSE: Final = b"0123456789abcdefABCDEF+-.,: \t\r\n\f\v"


class Fingerprints:
    """Of one text: raw, normalised, its length in characters, and its lines for `line_hashes`."""

    __slots__ = ("length", "lines", "normalised", "raw")

    def __init__(self, text: str) -> None:
        encoded = _ends(text, RAW_CHARS_MAX).encode("utf-8", "replace")
        replaced = VOLATILE.sub("#", _ends(text, NORMALISED_CHARS_MAX))
        collapsed = _collapsed(replaced)
        if len(text) > NORMALISED_CHARS_MAX:
            collapsed += _digest(encoded.translate(None, COARSE))
        self.raw = _digest(encoded)
        self.normalised = fingerprint(collapsed)
        self.length = len(text)
        self.lines = replaced.splitlines()


def fingerprint(text: str) -> str:
    """Return 16 hex digits of SHA-256."""
    return _digest(text.encode("utf-8", "replace"))


def normalise(text: str) -> str:
    """Return a text without what changes from one run to the next."""
    return _collapsed(VOLATILE.sub("#", text))


def line_hashes(*texts: Fingerprints) -> list[str]:
    """Return hashes of the distinct lines that aren't empty, the first text's first, 64 at most."""
    distinct: dict[str, None] = {}
    for text in texts:
        for line in text.lines:
            collapsed = _collapsed(line)
            if collapsed:
                distinct[collapsed] = None
                if len(distinct) == LINES_MAX:
                    return [fingerprint(line) for line in distinct]
    return [fingerprint(line) for line in distinct]


def _collapsed(text: str) -> str:
    return " ".join(text.split())


def _digest(encoded: bytes) -> str:
    return sha256(encoded).hexdigest()[:HEX_DIGITS]


def _ends(text: str, most: int) -> str:
    """Return a text of at most about so many characters: a longer one's two ends and its length."""
    if len(text) <= most:
        return text
    head = most * 3 // 4
    return f"{text[:head]}\n[{len(text)}]\n{text[head - most :]}"
