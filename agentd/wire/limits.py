"""Bounds of what a peer may send, and the look at a line's bytes before it is parsed.

The bounds are part of the types that lines are decoded into (`wire/shapes.py`), so that one
pass decodes and checks. What a parser can't check, or would choke on, is checked here.
"""

import re
from collections.abc import Sequence
from math import isinf
from typing import Annotated, Final

from msgspec import Meta

from agentd.wire.splitter import LINE_BYTES_MAX

DEPTH_MAX: Final = 32
STRING_MAX: Final = 4096
NAME_MAX: Final = 256
INTEGER_MAX: Final = (1 << 53) - 1
LATENCIES_MAX: Final = 1024
HASHES_MAX: Final = 64
SELECT_MAX: Final = 1024

# What one line may add. Beyond it a line is a mistake or a lie, and is refused.
TOKENS_STEP_MAX: Final = 1_000_000_000
COST_STEP_USD_MAX: Final = 100_000.0
COUNT_STEP_MAX: Final = 1_000_000_000
SECONDS_MAX: Final = 315_360_000.0
MILLIS_MAX: Final = 315_360_000_000.0

Text = Annotated[str, Meta(max_length=STRING_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Integer = Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
Number = Annotated[float, Meta(ge=-1e18, le=1e18)]
Amount = Annotated[float, Meta(ge=0, le=1e18)]
# Counted by programs that know only one kind of number, too: 50.0 is fifty.
Tokens = (
    Annotated[int, Meta(ge=0, le=TOKENS_STEP_MAX)]
    | Annotated[float, Meta(ge=0, le=TOKENS_STEP_MAX)]
)
Dollars = Annotated[float, Meta(ge=0, le=COST_STEP_USD_MAX)]
Count = Annotated[int, Meta(ge=0, le=COUNT_STEP_MAX)]
Seconds = Annotated[float, Meta(ge=0, le=SECONDS_MAX)]
Millis = Annotated[float, Meta(ge=0, le=MILLIS_MAX)]
Latencies = Annotated[list[Millis], Meta(max_length=LATENCIES_MAX)]
LineId = Annotated[str, Meta(max_length=NAME_MAX)] | Integer

_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_NOT_OPENING: Final = bytes(set(range(256)) - set(b"[{\n"))
_TOO_MANY: Final = b"[" * (DEPTH_MAX + 1)
_AS_SQUARE: Final = bytes.maketrans(b"{}", b"[]")

# A code unit that no text holds by itself: half a pair, or NUL.
_SUSPECT: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPE: Final = re.compile(
    rb"\\u([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a whole pair: stays
    rb"|\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})"  # NUL, or half a pair: shown as text
    rb"|\\.",
    re.DOTALL,
)

# What a number has to have to be infinite: so many digits, or an exponent of three.
_LONG: Final = b"0" * 200
_SHORTEST: Final = len(b"1e309")
# Figures alike: digits as 0, the sign of an exponent left out.
_FIGURES: Final = bytes.maketrans(b"123456789E", b"000000000e")
_NUMBERS: Final = bytes(byte if byte in b"0123456789+-.eE" else 32 for byte in range(256))


def unusual(raws: Sequence[bytes]) -> bool:
    """Whether any of `raws` needs a closer look before it is parsed.

    One pass over all of them: none is very long, has enough brackets to nest too deeply, or
    holds an escape that may stand for no text.
    """
    joined = b"\n".join(raws)
    if b"\\u" in joined or (len(joined) > LINE_BYTES_MAX and max(map(len, raws)) > LINE_BYTES_MAX):
        return True
    return _TOO_MANY in joined.translate(_AS_SQUARE, _NOT_OPENING)


def too_deep(raw: bytes) -> bool:
    """Whether `raw` nests deeper than DEPTH_MAX; a bound on work, whatever the bytes.

    Brackets within strings don't count. Innermost pairs are removed once a level, so that
    a megabyte of brackets costs DEPTH_MAX passes and not a step a bracket.
    """
    if raw.count(b"[") + raw.count(b"{") <= DEPTH_MAX:
        return False
    brackets = _outside_strings(raw).translate(_AS_SQUARE, _NOT_BRACKETS)
    for _ in range(DEPTH_MAX):
        size = len(brackets)
        brackets = brackets.replace(b"[]", b"")
        if len(brackets) == size:
            break
    # What is left is deeper than that, or was never balanced, which the parser says better.
    return brackets.count(b"[") > DEPTH_MAX or b"[]" in brackets


def has_infinite(raw: bytes) -> bool:
    """Whether valid JSON holds a number that no float can hold.

    What is kept as it was written and handed out again must be readable by everybody: many
    refuse such a number and all beside it, others take it as infinite.
    """
    figures = raw.translate(_FIGURES, b"+")
    if _LONG not in figures and b"e000" not in figures:
        return False
    numbers = _outside_strings(raw).translate(_NUMBERS).split()
    return any(len(one) >= _SHORTEST and isinf(float(one)) for one in numbers)


def _outside_strings(raw: bytes) -> bytes:
    """Return JSON with its strings left out, and a blank in the place of each."""
    # Without escapes, every other part between quotes is a string.
    plain = raw.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in raw else raw
    return b" ".join(plain.split(b'"')[::2])


def printable_escapes(raw: bytes) -> bytes:
    r"""Turn escapes that stand for no text into text that shows them.

    `\ud800` (half a pair) and `\u0000` would parse, and then break whoever encodes or stores
    the string; they become the six characters themselves. Everything else stays as it is.
    """
    if _SUSPECT.search(raw) is None:
        return raw
    return _ESCAPE.sub(_shown, raw)


def _shown(found: re.Match[bytes]) -> bytes:
    return b"\\" + found[0] if found[2] is not None else found[0]
