"""Whether a command could be executed, told before the fork: errno, path and hint.

The child's own exec can say little; this says what the kernel would, and what to do about
it. It is advice, not a lock: what changes between the look and the exec is found at the exec.
"""

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The kernel's own bounds: one string (MAX_ARG_STRLEN), and a quarter of an 8 MiB stack.
STRING_BYTES_MAX: Final = 128 << 10
TOTAL_BYTES_MAX: Final = 2 << 20
_POINTER_BYTES: Final = 8

_HEAD_BYTES: Final = 256
_ELF: Final = b"\x7fELF"
_MACHINE: Final = slice(18, 20)
# A 64-bit x86 kernel runs 32-bit programs, an aarch64 one often does.
_RUNS_TOO: Final[Mapping[bytes, bytes]] = {b"\x3e\0": b"\x03\0", b"\xb7\0": b"\x28\0"}

# What the host is short of when it answers so; it is over sooner or later, and nobody's failure.
SHORTAGES: Final = frozenset((errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC))


class SpawnError(Exception):
    """Why a command can't be run, in one sentence for the operator."""

    def __init__(
        self, number: int, subject: str, hint: str = "", *, host_at_fault: bool = False
    ) -> None:
        """Say it of `subject`, a path or what else it is about; `number` is an errno."""
        super().__init__(f"{errno.errorcode.get(number, number)}: {subject}: {os.strerror(number)}")
        if hint:
            self.args = (f"{self.args[0]} ({hint})",)
        self.number = number
        self._host_at_fault = host_at_fault

    @property
    def shortage(self) -> bool:
        """Whether the host is short of something, which is not the agent's failure."""
        return self._host_at_fault or self.number in SHORTAGES


@dataclass(frozen=True, slots=True)
class Ids:
    """Who a process is, as far as permissions go."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def check(argv: Sequence[str], cwd: str, env: Mapping[str, str], ids: Ids) -> str:
    """Return the file that `argv` names, or raise the SpawnError that its exec would meet.

    A bare name is searched in the PATH of `env`, as the exec will.
    """
    check_sizes(argv, env)
    check_directory(cwd, ids)
    path = find(argv[0], cwd, env.get("PATH", os.defpath), ids)
    check_format(path, cwd)
    return path


def check_sizes(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Raise E2BIG, naming the string, where the kernel would."""
    total_bytes = 0
    named = [
        *((f"argument {place}", value) for place, value in enumerate(argv)),
        *((f"environment variable {name}", f"{name}={value}") for name, value in env.items()),
    ]
    for what, value in named:
        if "\0" in value:
            raise SpawnError(errno.EINVAL, what, "it holds a NUL character")
        size_bytes = len(os.fsencode(value)) + 1
        if size_bytes > STRING_BYTES_MAX:
            raise SpawnError(errno.E2BIG, what, f"{size_bytes} bytes; one string may have 128 KiB")
        total_bytes += size_bytes + _POINTER_BYTES
    if total_bytes > TOTAL_BYTES_MAX:
        raise SpawnError(errno.E2BIG, "arguments and environment", f"{total_bytes} bytes in all")


def check_directory(cwd: str, ids: Ids) -> None:
    """Raise where `cwd` is no directory that the agent's user may enter."""
    try:
        mode = Path(cwd).stat().st_mode
    except OSError as error:
        raise SpawnError(error.errno or errno.ENOENT, cwd, "the agent's directory") from None
    if not stat.S_ISDIR(mode):
        raise SpawnError(errno.ENOTDIR, cwd, "the agent's directory")
    if not may_reach(f"{cwd}/.", ids):
        raise SpawnError(errno.EACCES, cwd, f"uid {ids.uid} may not enter the agent's directory")


def find(name: str, cwd: str, search: str, ids: Ids) -> str:
    """Return the path that an exec of `name` would try; raise where there is none."""
    if not name:
        raise SpawnError(errno.ENOENT, "command", "it is empty")
    if "/" in name:
        path = str(Path(cwd, name))
        _check_file(path, ids)
        return path
    denied: SpawnError | None = None
    for place in search.split(":"):
        path = str(Path(cwd, place or ".", name))
        try:
            _check_file(path, ids)
        except SpawnError as error:
            # The search goes on behind a file that may not be executed; it is remembered.
            if error.number == errno.EACCES:
                denied = denied or error
        else:
            return path
    raise denied or SpawnError(errno.ENOENT, name, f"not found in PATH {search}")


def _check_file(path: str, ids: Ids) -> None:
    try:
        info = Path(path).stat()
    except OSError as error:
        raise SpawnError(error.errno or errno.ENOENT, path, "command not found") from None
    if stat.S_ISDIR(info.st_mode):
        raise SpawnError(errno.EACCES, path, "it is a directory")
    if not info.st_mode & 0o111:
        raise SpawnError(errno.EACCES, path, f"not executable; chmod +x {path}")
    if not may_reach(path, ids) or not _may_execute(path, info, ids):
        raise SpawnError(errno.EACCES, path, f"uid {ids.uid} may not execute it")


def check_format(path: str, cwd: str) -> None:
    """Raise where the kernel would not know how to run the file.

    A file that can't be read is left to the exec.
    """
    try:
        with Path(path).open("rb") as program:
            head = program.read(_HEAD_BYTES)
    except OSError:
        return
    if head.startswith(b"#!"):
        _check_interpreter(path, head, cwd)
    elif head.startswith(_ELF):
        own = Path("/proc/self/exe").open("rb").read(_HEAD_BYTES)[_MACHINE]  # noqa: SIM115 - one read
        foreign = head[_MACHINE] not in (own, _RUNS_TOO.get(own))
        if foreign and not _has_other_formats():
            raise SpawnError(errno.ENOEXEC, path, "built for another kind of machine")
    elif not _has_other_formats():
        raise SpawnError(errno.ENOEXEC, path, "neither a program nor a script with a #! line")


def _check_interpreter(path: str, head: bytes, cwd: str) -> None:
    # The kernel splits at blanks and tabs only: a carriage return is part of the name.
    line = head[2:].partition(b"\n")[0].strip(b" \t").replace(b"\t", b" ")
    interpreter = os.fsdecode(line.partition(b" ")[0])
    if not interpreter or not Path(cwd, interpreter).exists():
        shown = interpreter.encode("unicode_escape").decode()
        hint = f"interpreter not found: {shown or 'its #! line names none'}"
        if shown.endswith("\\r"):
            hint += "; the file has Windows line ends"
        raise SpawnError(errno.ENOENT, path, hint)


def _has_other_formats() -> bool:
    """Tell whether binfmt_misc knows formats that we don't."""
    registered = Path("/proc/sys/fs/binfmt_misc")
    try:
        return any(entry.name not in {"register", "status"} for entry in registered.iterdir())
    except OSError:
        return False


def may_reach(path: str, ids: Ids) -> bool:
    """Tell whether every directory on the way to `path` may be searched; on doubt, yes."""
    try:
        parents = Path(path).resolve().parents if not path.endswith("/.") else _with_self(path)
        return all(_may_execute(str(place), place.stat(), ids) for place in parents)
    except OSError:
        return True


def _with_self(path: str) -> list[Path]:
    resolved = Path(path).resolve()
    return [resolved, *resolved.parents]


def _may_execute(path: str, info: os.stat_result, ids: Ids) -> bool:
    """Judge by mode bits; a file with an access list is left to the kernel."""
    if ids.uid == 0:
        return stat.S_ISDIR(info.st_mode) or bool(info.st_mode & 0o111)
    if _has_access_list(path):
        return True
    if info.st_uid == ids.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid == ids.gid or info.st_gid in ids.groups:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool(info.st_mode & stat.S_IXOTH)


def _has_access_list(path: str) -> bool:
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:
        return False
