"""Bytes made worse: a few cuts, copies, swaps and flips, from dice that can be thrown again."""

from collections.abc import Sequence
from typing import Final

from tests.fuzz.target import Dice, pick

# What has broken parsers of JSON, TOML and terminals before.
ODD: Final = (
    *(b"[", b"{", b'"', b"\\", b"}", b"]", b",", b":", b"-", b"+", b".", b"e", b"=", b"#", b"'"),
    *(b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity", b"1e999"),
    *(b"-1e999", b"1e-999"),
    *(b"0", b"-0", b"-1", b"01", b"0.1", b"1e5", b"0x1f", b"1_0", b"9007199254740993"),
    *(b"9" * 20, b"9" * 320, b"9" * 4400, b"-" + b"9" * 40, b"0." + b"3" * 400),
    *(b"[" * 31, b"[" * 33, b"[" * 600, b'{"a":' * 33, b"]" * 31, b"}" * 33),
    *(b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\u0000", b"\\u001b[2J", b"\\u202e", b"\\q"),
    *(b"\x00", b"\x1b[31m", b"\x1b]0;x\x07", b"\x7f", b"\x80", b"\xff", b"\xc0\x80", b"\xe2\x82"),
    *(b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"\xc2\x85", b"\r"),
    *("é".encode(), "😀".encode(), "\u2028".encode(), "e\u0301".encode(), "ﷺ".encode()),
    *(b"\n", b"\r\n", b" ", b"\t", b"\n\n", b"{}", b"[]", b'""', b"''''''"),
    *(b"%s", b"%n", b"{0.__class__}", b"${HOME}", b"$(id)", b"../../x", b"<script>", b"a" * 5000),
)  # fmt: skip


def mutated(dice: Dice, data: bytes, others: Sequence[bytes] = (), most: int = 5) -> bytes:
    """Return `data` after one to `most` changes; `others` are what may be spliced in."""
    for _ in range(dice.randrange(1, most + 1)):
        at = int(dice.random() * (len(data) + 1))
        deed = int(dice.random() * 9)
        if deed == 0:
            data = data[:at] + bytes((int(dice.random() * 256),)) + data[at + 1 :]
        elif deed == 1:
            data = data[:at] + pick(dice, ODD) + data[at:]
        elif deed == 2:
            data = data[:at] + data[at + dice.randrange(1, 9) :]
        elif deed == 3 and others:
            other = pick(dice, others)
            data = data[:at] + other[int(dice.random() * (len(other) + 1)) :]
        elif deed == 4:
            data = (
                data[:at] + data[at : at + dice.randrange(1, 30)] * dice.randrange(2, 9) + data[at:]
            )
        elif deed == 5 and data:
            place = at % len(data)
            flipped = data[place] ^ (1 << int(dice.random() * 8))
            data = data[:place] + bytes((flipped,)) + data[place + 1 :]
        elif deed == 6:
            other_at = int(dice.random() * (len(data) + 1))
            low, high = sorted((at, other_at))
            data = data[:low] + data[high:] + data[low:high]
        elif deed == 7:
            data = data[:at]
        else:
            data = data[:at] + pick(dice, ODD) + data[at + dice.randrange(1, 5) :]
    return data
