"""The files a config is read from: their text, their tables, and where each key stands."""

import errno
import os
import re
import stat
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from agentd.config.errors import KeyPath, clipped

FILE_BYTES_MAX: Final = 10 << 20
# The host's trouble, not the file's: what stands in it is not known.
READ_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_POSITION: Final = re.compile(r" \(at line (\d+), column (\d+)\)$|( \(at end of document\))$")


class UnreadableError(Exception):
    """A file that can't be read as text, with the reason in words for people."""


class BadTomlError(Exception):
    """Text that isn't TOML: the reason, and the line where it went wrong."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who may change a file: its owner, and its permission bits."""

    uid: int
    mode: int


@dataclass
class Source:
    """One file, already read.

    `prefix` is where its top level stands in the whole config: nothing for the main file,
    `("agents", NAME)` for the file of an agent.
    """

    path: Path
    prefix: KeyPath = ()
    text: str = field(default="", repr=False)
    tables: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def directory(self) -> Path:
        """Return the directory, absolute, that relative paths in this file start from."""
        return Path(os.path.abspath(self.path.parent))  # noqa: PTH100 - without following links

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        """Return the line of every key of this file, paths from the top of the config."""
        return self.locate(None)

    def locate(self, wanted: Collection[KeyPath] | None) -> dict[KeyPath, int]:
        """Return the lines of the `wanted` paths, or of all; walks the text once."""
        from agentd.config.origins import locate  # noqa: PLC0415 - a good config needs no lines

        skip = len(self.prefix)
        inside = None if wanted is None else {path[skip:] for path in wanted}
        found = locate(self.text, inside)
        return {(*self.prefix, *path): line for path, line in found.items()}


def read_bytes(path: Path) -> tuple[bytes, Ownership]:
    """Read a regular file of at most 10 MiB; anything else is an `UnreadableError`.

    Raises OSError where the host has no descriptor or memory to spare for it.
    """
    try:
        # O_NONBLOCK: opening a named pipe must not wait for somebody to write into it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, OSError) and error.errno in READ_SHORTAGES:
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableError(f"cannot be read: {(reason or str(error)).lower()}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)  # before `open`, which has words of its own for a directory
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise UnreadableError(f"cannot be read: {what}")
    with open(fd, "rb") as file:  # noqa: PTH123 - what was opened, not what has that name now
        try:
            content = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise UnreadableError(f"larger than {FILE_BYTES_MAX >> 20} MiB, the most that is read")
    return content, Ownership(uid=status.st_uid, mode=status.st_mode)


def decoded(content: bytes) -> str:
    """Decode UTF-8, a byte order mark left out; a `BadTomlError` names the line that isn't."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadTomlError(f"not UTF-8: byte 0x{content[error.start]:02x}", line) from error


def parsed(text: str) -> dict[str, Any]:
    """Parse TOML; a `BadTomlError` names line and column as far as they are known."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _bad_toml(str(error), text) from error
    except RecursionError as error:
        raise BadTomlError("nested too deeply", None) from error
    except ValueError as error:  # an integer of thousands of digits, an impossible date
        raise BadTomlError(f"not valid TOML: {clipped(str(error))}", None) from error


def _bad_toml(message: str, text: str) -> BadTomlError:
    found = _POSITION.search(message)
    if found is None:
        return BadTomlError(f"not valid TOML: {clipped(message)}", None)
    reason = clipped(message[: found.start()])
    if found[3]:
        line = text.rstrip("\n").count("\n") + 1
        return BadTomlError(f"not valid TOML: {reason} at the end of the file", line)
    return BadTomlError(f"not valid TOML: {reason} at column {found[2]}", int(found[1]))
