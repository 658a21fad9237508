"""Cut a stream of bytes into lines, none longer than its bound: bytes in, lines out.

A line has at most 64 KiB, one that begins as `checkpoint.put` at most 1 MiB. A peer that
goes beyond that is told and closed; what came before the long line is still returned.
"""

import re
from typing import Final

LINE_BYTES_MAX: Final = 64 << 10
CHECKPOINT_BYTES_MAX: Final = 1 << 20

# The type must be seen early, or else every long line would have to be searched.
_HEAD_BYTES: Final = 512
_CHECKPOINT: Final = re.compile(rb'"type"\s*:\s*"checkpoint\.put"')


def longest_allowed(line: bytes | bytearray) -> int:
    """Return how many bytes a line that begins so may have."""
    if _CHECKPOINT.search(line, 0, _HEAD_BYTES):
        return CHECKPOINT_BYTES_MAX
    return LINE_BYTES_MAX


class Splitter:
    """The unfinished line of one connection. After `overflow` nothing more is taken."""

    __slots__ = ("_rest", "overflow")

    def __init__(self) -> None:
        self._rest = bytearray()
        self.overflow = False
        """A line was longer than allowed, and has been thrown away."""

    @property
    def partial(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their newlines, in order.

        Sets `overflow` at the first line that is too long, ended or not: that line and all
        that follows it is dropped.
        """
        if self.overflow:
            return []
        end = data.rfind(b"\n")
        if end < 0:
            self._rest += data
            self._check_rest()
            return []
        if self._rest:
            lines = bytes(self._rest + data[:end]).split(b"\n")
        else:
            lines = data[:end].split(b"\n")
        self._rest = bytearray(data[end + 1 :])
        if max(map(len, lines)) > LINE_BYTES_MAX:
            return self._before_overflow(lines)
        self._check_rest()
        return lines

    def _before_overflow(self, lines: list[bytes]) -> list[bytes]:
        """Return `lines` up to the first that is longer than lines of its kind may be."""
        for index, line in enumerate(lines):
            if len(line) > LINE_BYTES_MAX and len(line) > longest_allowed(line):
                self._give_up()
                return lines[:index]
        self._check_rest()
        return lines

    def _check_rest(self) -> None:
        size = len(self._rest)
        if size > LINE_BYTES_MAX and size > longest_allowed(self._rest):
            self._give_up()

    def _give_up(self) -> None:
        self.overflow = True
        self._rest = bytearray()
