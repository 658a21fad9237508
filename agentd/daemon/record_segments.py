"""The recorder's files: compressed frames, appended to segments of which the oldest go first.

A frame is whole or is not there: its head holds length and checksum, and a segment is read up
to the first frame that is torn. Nothing is fsynced: a power cut costs the last seconds, as the
death of the daemon does. Everything here waits for a disk: never on the event loop.
"""

import contextlib
import errno
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.store.directory import DIRECTORY_MODE, FILE_MODE

NAME: Final = "recorder"
_SUFFIX: Final = ".frames"

# A segment is this part of the whole: so much more than needed goes with the oldest one.
SEGMENTS: Final = 16
SEGMENT_BYTES_MIN: Final = 64 << 10
SEGMENT_BYTES_MAX: Final = 4 << 20

# A frame that says it is larger was not written by us.
FRAME_BYTES_MAX: Final = 256 << 20
LEVEL: Final = 1

# Magic, length and checksum of what follows the head, boot, first and last moment (BOOTTIME),
# and what has to be added to those for the wall's.
BOOT_BYTES: Final = 16
_HEAD: Final = struct.Struct(f"<4sII{BOOT_BYTES}sqqq")
_MAGIC: Final = b"agr1"
_SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC

# What every line of a heartbeat has in common; part of the format, never to be changed.
_COMMON: Final = (
    b'[[123456789,"lines","agent",1,[["Heartbeat",{"status":"working","tokens":null,"usage":null,'
    b'"cost_micros":null,"model":null,"provider":null,"successes":0,"failures":0,'
    b'"latencies_ms":[],"task":null,"step":null,"tool":null,"goal":null,"progress":null,'
    b'"progress_fp":null,"silence_ms":null,"retry_after_ms":null,"off_thread":false,"dropped":0,'
    b'"cost_rest_picos":0,"sent_at_s":null}]]],[123456789,"rss","agent",1,1000000,1000,1000]]'
)


@dataclass(frozen=True, slots=True)
class Span:
    """When a frame was recorded: on which boot, from and to (BOOTTIME), and the wall's lead."""

    boot: bytes
    begins_ms: int
    ends_ms: int
    wall_lead_ms: int

    @property
    def wall_begins_ms(self) -> int:
        return self.begins_ms + self.wall_lead_ms


class SegmentsRefused(Exception):  # noqa: N818 - named after what the user is told
    """What lies where the segments belong is not a directory of ours alone."""


class Segments:
    """All segments of one daemon. One thread writes; any may read."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._dir_fd: int | None = None
        self._fd: int | None = None
        self._number = 0
        self._size = 0
        self._sizes: dict[int, int] = {}
        self.used_bytes = 0
        """What they take up on disk, as far as this object has written or found them."""

    def append(self, span: Span, payload: bytes, bytes_max: int, begin_with: bytes) -> bool:
        """Write one frame, and delete the oldest segments beyond `bytes_max` in all.

        `begin_with` is added to the first frame of a segment. False: the frame alone is larger
        than all may be. Raises OSError and `SegmentsRefused`; what was written of it then is
        cut off again, or is never read.
        """
        frame = frame_of(span, payload)
        most = min(max(bytes_max // SEGMENTS, SEGMENT_BYTES_MIN), SEGMENT_BYTES_MAX)
        begins = self._fd is None or self._size + len(frame) > most
        if begins:
            frame = frame_of(span, payload + begin_with)
        if len(frame) > bytes_max:
            return False
        if begins:
            self._begin()
        self._prune(bytes_max - len(frame))
        assert self._fd is not None
        try:
            written = os.write(self._fd, frame)
        except OSError:
            self.end_segment()
            raise
        if written < len(frame):
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            self.end_segment()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written
        self._sizes[self._number] = self._size
        self.used_bytes = sum(self._sizes.values())
        return True

    def clear(self) -> None:
        """Delete all of them."""
        self.end_segment()
        if self._dir_fd is None and not (self._state_dir / NAME).is_dir():
            return
        self._open_dir()
        self._prune(-1)

    def end_segment(self) -> None:
        """Write no more into the segment that is open."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def close(self) -> None:
        self.end_segment()
        if self._dir_fd is not None:
            os.close(self._dir_fd)
            self._dir_fd = None

    def _begin(self) -> None:
        """Begin a segment after all that are there."""
        dir_fd = self._open_dir()
        self.end_segment()
        self._number = max(self._sizes, default=self._number) + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _SAFE
        self._fd = os.open(_file_name(self._number), flags, FILE_MODE, dir_fd=dir_fd)
        self._size = self._sizes[self._number] = 0

    def _open_dir(self) -> int:
        if self._dir_fd is None:
            self._dir_fd = open_directory(self._state_dir, make=True)
            self._sizes = {
                number: os.stat(_file_name(number), dir_fd=self._dir_fd).st_size
                for number in numbers(self._dir_fd)
            }
        return self._dir_fd

    def _prune(self, bytes_max: int) -> None:
        """Delete the oldest until all take up at most so much; not the one that is open."""
        assert self._dir_fd is not None
        for number in sorted(self._sizes):
            self.used_bytes = sum(self._sizes.values())
            if self.used_bytes <= bytes_max or (number == self._number and self._fd is not None):
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_file_name(number), dir_fd=self._dir_fd)
            del self._sizes[number]
        self.used_bytes = sum(self._sizes.values())


def frame_of(span: Span, payload: bytes) -> bytes:
    """Return a whole frame."""
    packer = zlib.compressobj(LEVEL, zdict=_COMMON)
    packed = packer.compress(payload) + packer.flush()
    return _head(span, packed) + packed


def frames(state_dir: Path, since_wall_ms: int) -> Iterator[tuple[Span, bytes]]:
    """Yield frames in order, from the segment in which that moment lies; with none, nothing.

    Raises OSError and `SegmentsRefused`; a segment that is deleted meanwhile is passed over.
    """
    try:
        dir_fd = open_directory(state_dir, make=False)
    except FileNotFoundError:
        return
    try:
        for number in _from_moment(dir_fd, since_wall_ms):
            with contextlib.suppress(FileNotFoundError):
                yield from _frames_of(dir_fd, number)
    finally:
        os.close(dir_fd)


def open_directory(state_dir: Path, *, make: bool) -> int:
    """Return the directory of the segments, opened; raises `SegmentsRefused` or OSError."""
    state_fd = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(NAME, DIRECTORY_MODE, dir_fd=state_fd)
        try:
            fd = os.open(NAME, os.O_RDONLY | os.O_DIRECTORY | _SAFE, dir_fd=state_fd)
        except NotADirectoryError:
            raise SegmentsRefused(f"{state_dir / NAME} is not a plain directory") from None
    finally:
        os.close(state_fd)
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        os.close(fd)
        raise SegmentsRefused(f"{state_dir / NAME} is not ours alone (mode 0700 is wanted)")
    return fd


def numbers(dir_fd: int) -> list[int]:
    """Return the numbers of the segments there are, the oldest first."""
    stems = (name.removesuffix(_SUFFIX) for name in os.listdir(dir_fd) if name.endswith(_SUFFIX))
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdecimal())


def _file_name(number: int) -> str:
    return f"{number:08d}{_SUFFIX}"


def _head(span: Span, packed: bytes) -> bytes:
    told = (span.boot, span.begins_ms, span.ends_ms, span.wall_lead_ms)
    bare = _HEAD.pack(_MAGIC, len(packed), 0, *told)
    return _HEAD.pack(_MAGIC, len(packed), zlib.crc32(packed, zlib.crc32(bare)), *told)


def _from_moment(dir_fd: int, since_wall_ms: int) -> list[int]:
    """Return the segments from the last one on that began before that moment."""
    found = numbers(dir_fd)
    for place in range(len(found) - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            begun = next(_heads(dir_fd, found[place]), None)
            if begun is not None and begun.wall_begins_ms <= since_wall_ms:
                return found[place:]
    return found


def _heads(dir_fd: int, number: int) -> Iterator[Span]:
    for span, _ in _frames_of(dir_fd, number):
        yield span


def _frames_of(dir_fd: int, number: int) -> Iterator[tuple[Span, bytes]]:
    """Yield the frames of one segment up to its end, or to where it is torn."""
    fd = os.open(_file_name(number), os.O_RDONLY | _SAFE, dir_fd=dir_fd)
    with os.fdopen(fd, "rb") as segment:
        while len(head := segment.read(_HEAD.size)) == _HEAD.size:
            magic, length, _, boot, begins_ms, ends_ms, lead_ms = _HEAD.unpack(head)
            if magic != _MAGIC or length > FRAME_BYTES_MAX:
                return
            span = Span(boot, begins_ms, ends_ms, lead_ms)
            packed = segment.read(length)
            if len(packed) < length or _head(span, packed) != head:
                return
            try:
                unpacker = zlib.decompressobj(zdict=_COMMON)
                yield span, unpacker.decompress(packed)
            except zlib.error:
                return
