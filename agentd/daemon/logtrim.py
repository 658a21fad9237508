"""Give back the head of a file that somebody appends to, without that writer's help.

Both ways keep every byte behind the cut, whatever is appended meanwhile. A hole keeps sizes
and offsets as they are and works almost everywhere; collapsing takes the hole out of the file,
so that the file shrinks, and is for file systems with extents (ext4, XFS).
"""

import ctypes
import errno
import os
from typing import Final

_KEEP_SIZE: Final = 0x01
_PUNCH_HOLE: Final = 0x02
_COLLAPSE_RANGE: Final = 0x08
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class NotSupported(OSError):  # noqa: N818 - named after what the file system answers
    """This file system can't do it; nothing was changed."""


def punch(fd: int, length_bytes: int) -> None:
    """Free the blocks of the first `length_bytes`, a multiple of the block size.

    They read as NULs from then on. Raises `NotSupported` or OSError.
    """
    _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, length_bytes)


def collapse(fd: int, length_bytes: int) -> None:
    """Take the first `length_bytes` out of the file: all offsets shrink by as much.

    Raises `NotSupported` or OSError.
    """
    _fallocate(fd, _COLLAPSE_RANGE, length_bytes)


def data_start(fd: int) -> int:
    """Return the offset of the first byte that is not a hole; the size if there is none."""
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return os.fstat(fd).st_size
        if error.errno in _UNSUPPORTED:
            return 0
        raise


def copy_truncate(fd: int, keep_bytes: int) -> int:
    """Empty the file and append its last `keep_bytes` again; return how many were kept.

    What is written in between is lost or stands before the kept part: the last resort.
    """
    size = os.fstat(fd).st_size
    kept = os.pread(fd, keep_bytes, max(0, size - keep_bytes))
    os.ftruncate(fd, 0)
    written = 0
    while written < len(kept):
        written += os.write(fd, kept[written:])
    return written


def _fallocate(fd: int, mode: int, length_bytes: int) -> None:
    if _libc.fallocate(fd, mode, 0, length_bytes) == 0:
        return
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        raise NotSupported(code, os.strerror(code))
    raise OSError(code, os.strerror(code))
