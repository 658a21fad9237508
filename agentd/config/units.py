"""Durations, sizes and money as people write them, and the integers they become inside."""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Final

_DURATION_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION_PART: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_SIZE_BYTES: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(
    r"([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII
)
_LENGTH_MAX: Final = 64  # of a duration or size as text; nobody needs more

DURATION_MS_MAX: Final = 3_650 * _DURATION_MS["d"]
SIZE_BYTES_MAX: Final = 1 << 60


class Milliseconds(int):
    """A duration; in the file `"90s"`, `"1h30m"`, `"250ms"`, inside integer milliseconds."""

    __slots__ = ()


class Bytes(int):
    """A size; in the file `"512M"` (1024-based), inside bytes. Zero means: none."""

    __slots__ = ()


class MicroDollars(int):
    """Money; in the file dollars (`2.50`), inside integer micro-dollars (1 USD = 1_000_000)."""

    __slots__ = ()


def parse_duration(text: object) -> Milliseconds:
    """Read `"1h30m"`; anything else is a ValueError that says how one is written."""
    if not isinstance(text, str):
        raise ValueError('a duration is a string such as "90s", "5m" or "1h30m"')  # noqa: TRY004
    if len(text) > _LENGTH_MAX:
        raise ValueError('too long for a duration; write "90s", "5m" or "1h30m"')
    rest, total_ms = text.strip(), Decimal(0)
    while rest:
        part = _DURATION_PART.match(rest)
        if part is None:
            raise ValueError(f'{text!r} is not a duration; write "250ms", "90s", "5m", "1h30m"')
        total_ms += Decimal(part[1]) * _DURATION_MS[part[2]]
        rest = rest[part.end() :]
    if not text.strip():
        raise ValueError('an empty duration; write "90s", or "0s" for none')
    if total_ms > DURATION_MS_MAX:
        raise ValueError(f"{text!r} is longer than ten years")
    return Milliseconds(int(total_ms))


def parse_size(text: object) -> Bytes:
    """Read `"512M"`; the empty string is 0, which means none."""
    if text == "":
        return Bytes(0)
    if isinstance(text, str) and len(text) > _LENGTH_MAX:
        raise ValueError('too long for a size; write "512M" or "2G"')
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f'{text!r} is not a size; write "512M" or "2G"')
    size_bytes = int(Decimal(found[1]) * _SIZE_BYTES[found[2].upper()])
    if size_bytes > SIZE_BYTES_MAX:
        raise ValueError(f"{text!r} is larger than any memory")
    return Bytes(size_bytes)


def parse_dollars(amount: object) -> MicroDollars:
    """Read `2.5` or `"2.50"` dollars; negative, infinite or not a number is a ValueError."""
    if isinstance(amount, bool) or not isinstance(amount, int | float | str):
        raise ValueError("an amount in dollars is a number such as 2.50")  # noqa: TRY004
    try:
        dollars = Decimal(str(amount))
    except InvalidOperation:
        raise ValueError(f"{amount!r} is not an amount in dollars") from None
    if not math.isfinite(dollars) or dollars < 0 or dollars > 10**9:
        raise ValueError(f"{amount!r} is not an amount in dollars between 0 and 1e9")
    return MicroDollars(int(dollars * 1_000_000))


def format_duration(duration_ms: int) -> str:
    """Write milliseconds as the file would: 5_400_000 becomes `1h30m`; 0 becomes `0s`."""
    rest_ms, parts = duration_ms, []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest_ms = divmod(rest_ms, _DURATION_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def format_size(size_bytes: int) -> str:
    """Write bytes as the file would: 536_870_912 becomes `512M`; 0 becomes the empty string."""
    if not size_bytes:
        return ""
    for unit in ("T", "G", "M", "K"):
        if size_bytes % _SIZE_BYTES[unit] == 0:
            return f"{size_bytes // _SIZE_BYTES[unit]}{unit}"
    return str(size_bytes)


def format_dollars(amount_micros: int) -> float:
    """Return micro-dollars as the number a file would have: 2_500_000 becomes 2.5."""
    return amount_micros / 1_000_000
