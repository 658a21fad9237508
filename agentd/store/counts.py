"""Lists of counts in one column, packed, and how SQL adds them up."""

import sqlite3
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

import msgspec

# Many at once are added up faster than one by one.
_TOGETHER: Final = 256
_DECODER: Final = msgspec.msgpack.Decoder(tuple[int, ...])


def prepare(connection: sqlite3.Connection) -> None:
    """Teach a connection `add_counts(one, other)` and the aggregate `sum_counts(column)`."""
    connection.create_function("add_counts", 2, _added, deterministic=True)
    # typeshed knows of integers only.
    connection.create_aggregate("sum_counts", 1, _Sum)  # type: ignore[arg-type]


def pack(counts: Sequence[int]) -> bytes:
    """Return a list as it is kept: a small number takes one byte."""
    return msgspec.msgpack.encode(counts)


def unpack(packed: object) -> tuple[int, ...]:
    """Return the list; one that is damaged is as good as none."""
    if not isinstance(packed, bytes):
        return ()
    try:
        return _DECODER.decode(packed)
    except msgspec.MsgspecError:
        return ()


def _added(one: bytes | None, other: bytes | None) -> bytes | None:
    if one is None or other is None:
        return one if other is None else other
    pairs = zip_longest(unpack(one), unpack(other), fillvalue=0)
    return pack([first + second for first, second in pairs])


class _Sum:
    """NULL where there was none."""

    def __init__(self) -> None:
        self._lists: list[tuple[int, ...]] = []

    def step(self, packed: bytes | None, /) -> None:
        if packed is not None:
            self._lists.append(unpack(packed))
            if len(self._lists) >= _TOGETHER:
                self._lists = [self._sums()]

    def finalize(self) -> bytes | None:
        return pack(self._sums()) if self._lists else None

    def _sums(self) -> tuple[int, ...]:
        return tuple(map(sum, zip_longest(*self._lists, fillvalue=0)))
