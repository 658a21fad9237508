"""The state directory: ours alone, or nothing is written into it."""

import os
import stat
from pathlib import Path
from typing import Final

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600


class DirectoryRefused(Exception):  # noqa: N818 - named after what the user is told
    """The state directory, or the store in it, may be written by someone else."""


def check_directory(path: Path) -> None:
    """Make the state directory if it is missing, and refuse one that is not ours alone.

    Raises `DirectoryRefused` (a symlink, another owner, writable by others, not a directory)
    and OSError where it can't be made. One that others may only read is closed to them.
    """
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise DirectoryRefused(f"state directory {path} is a symlink") from error
        raise
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            raise DirectoryRefused(
                f"state directory {path} belongs to uid {found.st_uid}, not to us"
                f" (uid {os.geteuid()})"
            )
        mode = stat.S_IMODE(found.st_mode)
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise DirectoryRefused(
                f"state directory {path} is writable by others (mode {mode:04o});"
                f" chmod {DIRECTORY_MODE:04o} {path}"
            )
        if mode != DIRECTORY_MODE:
            os.fchmod(fd, DIRECTORY_MODE)
    finally:
        os.close(fd)


def check_file(path: Path) -> None:
    """Make the store's file with its final mode, and refuse one that is not ours alone.

    SQLite gives the files beside it the same mode.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, FILE_MODE)
    except OSError as error:
        if path.is_symlink():
            raise DirectoryRefused(f"{path} is a symlink") from error
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise DirectoryRefused(f"{path} is not a file of ours (uid {found.st_uid})")
        if stat.S_IMODE(found.st_mode) != FILE_MODE:
            os.fchmod(fd, FILE_MODE)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Make renames and unlinks in it durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
