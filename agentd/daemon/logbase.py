"""How much was taken off the head of a log, on disk: what turns file offsets into positions.

A position in a log never changes: it is the base plus the offset in the file. The base is
durable before the file shrinks. Two slots are written in turn and in place, so that a crash
leaves one of them whole, and a full disk has room for them. A slot says which collapse was
about to happen; the hole that stands or no longer stands at the head says whether it did.
"""

import contextlib
import os
import struct
import zlib
from dataclasses import dataclass
from typing import Final

_SLOT: Final = struct.Struct("<QQQQ")
_CRC: Final = struct.Struct("<I")
_STRIDE: Final = 512
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Base:
    """`base` bytes are gone from the head of file `inode`, soon `collapsing` more."""

    base: int = 0
    collapsing: int = 0
    inode: int = 0


class BaseFile:
    """The file `.NAME.base` beside a log, opened for each use."""

    def __init__(self, dir_fd: int, name: str) -> None:
        self._dir_fd = dir_fd
        self._name = f".{name}.base"
        self._count = 0

    def read(self) -> Base:
        """Return the newest whole slot; zeros where there is none."""
        try:
            fd = os.open(self._name, _READ, dir_fd=self._dir_fd)
        except FileNotFoundError:
            return Base()
        try:
            blob = os.pread(fd, 2 * _STRIDE, 0)
        finally:
            os.close(fd)
        newest = Base()
        for offset in (0, _STRIDE):
            found = _whole(blob[offset : offset + _SLOT.size + _CRC.size])
            if found is not None and found[0] > self._count:
                self._count, newest = found[0], Base(*found[1:])
        return newest

    def write(self, base: Base) -> None:
        """Have it durable when this returns; raises OSError with the older slot still whole."""
        count = self._count + 1
        slot = _SLOT.pack(count, base.base, base.collapsing, base.inode)
        fd = os.open(self._name, _WRITE, 0o600, dir_fd=self._dir_fd)
        try:
            if os.fstat(fd).st_size == 0:
                os.pwrite(fd, bytes(2 * _STRIDE), 0)
                with contextlib.suppress(OSError):  # some file systems can't; the data counts
                    os.fsync(self._dir_fd)
            os.pwrite(fd, slot + _CRC.pack(zlib.crc32(slot)), count % 2 * _STRIDE)
            os.fdatasync(fd)
        finally:
            os.close(fd)
        self._count = count


def _whole(blob: bytes) -> tuple[int, int, int, int] | None:
    if len(blob) < _SLOT.size + _CRC.size:
        return None
    slot = blob[: _SLOT.size]
    if _CRC.unpack(blob[_SLOT.size :])[0] != zlib.crc32(slot):
        return None
    count, base, collapsing, inode = _SLOT.unpack(slot)
    return count, base, collapsing, inode
