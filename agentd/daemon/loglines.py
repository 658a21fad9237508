"""A log's bytes as lines that can be shown: huge ones split, secrets masked, controls escaped.

A line longer than PIECE_BYTES_MAX is read in pieces, each of which but the last carries a mark,
so that memory is bounded whatever an agent writes. A cut never falls inside a character, nor
inside a secret that is to be masked.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

PIECE_BYTES_MAX: Final = 8 << 10
SPLIT_MARK: Final = " [...]"
PAGE_BYTES_MAX: Final = 256 << 10
_MASK: Final = b"***"
_BLOCK_BYTES: Final = 64 << 10
# Secrets that overlap others may each move a cut; nobody's come in longer chains.
_MOVES_MAX: Final = 16
_UTF8_CONTINUES: Final = range(0x80, 0xC0)


class Bytes(Protocol):
    """What a chunk of a log says."""

    @property
    def position(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class Source(Protocol):
    """A log, as far as reading it goes."""

    @property
    def start(self) -> int: ...
    def end(self) -> int: ...
    def read(self, position: int, max_bytes: int) -> Bytes: ...


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line without its newline, or a piece of one: `goes_on` where more of it follows."""

    position: int
    text: bytes
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines, where to go on, and how many bytes were gone before they could be read."""

    lines: list[LogLine]
    position: int
    lost_bytes: int = 0


def read_page(
    source: Source, position: int, *, final: bool = False, secrets: Sequence[bytes] = ()
) -> Page:
    """Read the lines from `position` on, about PAGE_BYTES_MAX of them.

    A last line without a newline is left for later, unless `final`. If the head was trimmed
    meanwhile, reading goes on at the first whole line that is left. An empty page whose
    position has not moved means: nothing more for now.
    """
    chunk = source.read(position, PAGE_BYTES_MAX)
    data, begin, lost_bytes = chunk.data, chunk.position, 0
    if begin > position:
        # The rest of a line whose head is gone would look like a line of its own.
        newline = data.find(b"\n", 0, _BLOCK_BYTES)
        data, begin = data[newline + 1 :], begin + newline + 1
        lost_bytes = begin - position
    at_end = begin + len(data) >= chunk.end
    lines, used = _split(data, begin, final=final and at_end, secrets=secrets)
    return Page(lines, begin + used, lost_bytes)


def position_of_last(source: Source, lines: int) -> int:
    """Return where the last `lines` lines begin, an unfinished one counted; the end for 0."""
    end = at = source.end()
    left = lines
    while at > source.start and left > 0:
        begin = max(source.start, at - _BLOCK_BYTES)
        chunk = source.read(begin, at - begin)
        data = chunk.data
        # A newline at the very end ends the last line; it begins none.
        stop = len(data) - (at == end and data.endswith(b"\n"))
        while left:
            newline = data.rfind(b"\n", 0, stop)
            if newline < 0:
                break
            left, stop = left - 1, newline
            if not left:
                return chunk.position + newline + 1
        at = chunk.position
    return end if at == end else head_of(source)


def head_of(source: Source) -> int:
    """Return where to read from for the first whole line; of a trimmed log, one before it.

    Reading then sees that something is missing, and begins with the next line.
    """
    return max(0, source.start - 1)


def shown(line: LogLine, *, raw: bool = False, secrets: Sequence[bytes] = ()) -> str:
    """Return the text of a line for a reader.

    Bytes that are no UTF-8 and characters that control a terminal or the order of writing come
    as backslash escapes, unless `raw`; secrets are masked either way.
    """
    data = line.text
    for secret in secrets:
        data = data.replace(secret, _MASK)
    if raw:
        return data.decode("utf-8", "replace")
    text = data.removesuffix(b"\r").decode("utf-8", "backslashreplace")
    if not text.isprintable():
        # Each character once: a piece of thousands has some dozens of them.
        odd = {ord(one): _escaped(one) for one in set(text) if not _is_plain(one)}
        text = text.translate(odd)
    return text + SPLIT_MARK if line.goes_on else text


def _split(
    data: bytes, begin: int, *, final: bool, secrets: Sequence[bytes]
) -> tuple[list[LogLine], int]:
    """Return the lines in `data` and how many bytes they take."""
    lines: list[LogLine] = []
    at = 0
    while at < len(data):
        newline = data.find(b"\n", at)
        stop = newline if newline >= 0 else len(data)
        while stop - at > PIECE_BYTES_MAX:
            cut = _cut(data, at, secrets)
            lines.append(LogLine(begin + at, data[at:cut], goes_on=True))
            at = cut
        if newline < 0 and not final:
            break
        lines.append(LogLine(begin + at, data[at:stop]))
        at = stop + 1
    return lines, min(at, len(data))


def _cut(data: bytes, at: int, secrets: Sequence[bytes]) -> int:
    """Return where the piece that begins at `at` ends."""
    cut = at + PIECE_BYTES_MAX
    while cut > at + PIECE_BYTES_MAX - 4 and data[cut] in _UTF8_CONTINUES:
        cut -= 1
    for _ in range(_MOVES_MAX):
        before = cut
        for secret in secrets:
            found = _across(data, at, cut, secret)
            if found > at:
                cut = found
        if cut == before:
            break
    return cut


def _across(data: bytes, at: int, cut: int, secret: bytes) -> int:
    """Return where the secret that `cut` would cut begins, -1 for none.

    Counted as masking counts them, from the left and none over another: of one that repeats
    within itself, such as `0000`, a long row has as many ends as it has whole secrets.
    """
    found = data.find(secret, at, cut + len(secret) - 1)
    while 0 <= found <= cut - len(secret):
        found = data.find(secret, found + len(secret), cut + len(secret) - 1)
    return found if 0 <= found < cut else -1


def _is_plain(one: str) -> bool:
    return one.isprintable() or one == "\t" or unicodedata.category(one) == "Zs"


def _escaped(one: str) -> str:
    code = ord(one)
    if code <= 0xFF:  # noqa: PLR2004 - what fits two hex digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - four
