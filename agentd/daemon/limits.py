"""Resource limits and priority of a child that waits at its gate.

They are set from outside. Where the kernel lets only the child itself do that (another user's
process, and a daemon without the capability), the gate's shell does it.
"""

import errno
import hashlib
import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from agentd.daemon import host as hosts
from agentd.daemon.programs import SpawnError

_NAMES: Final[Mapping[str, int]] = {
    name.removeprefix("RLIMIT_").lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_")
}

# `ulimit` as POSIX shells have it: option, and bytes (or things) of one unit.
_ULIMIT: Final[Mapping[int, tuple[str, int]]] = {
    resource.RLIMIT_CORE: ("c", 512),
    resource.RLIMIT_CPU: ("t", 1),
    resource.RLIMIT_DATA: ("d", 1024),
    resource.RLIMIT_FSIZE: ("f", 512),
    resource.RLIMIT_NOFILE: ("n", 1),
    resource.RLIMIT_STACK: ("s", 1024),
    resource.RLIMIT_AS: ("v", 1024),
}

# A limit that bounds nothing (36,000 years of a real-time thread), and nobody loses by accident.
_MARKED: Final = resource.RLIMIT_RTTIME
_MARK_MIN: Final = 1 << 60
_MARK_BYTES: Final = 7


def wanted(configured: Mapping[str, int], inherited: hosts.Limits) -> dict[int, tuple[int, int]]:
    """Return the limits (soft, hard) that differ from what the child inherits.

    `configured` is by name, -1 means none; it sets soft and hard. SpawnError: unknown name.
    """
    limits = dict(inherited)
    for name, value in configured.items():
        if name not in _NAMES:
            raise SpawnError(errno.EINVAL, f"limits.{name}", "there is no such limit")
        limits[_NAMES[name]] = (value, value)
    return {which: pair for which, pair in limits.items() if resource.getrlimit(which) != pair}


def set_from_outside(pid: int, limits: Mapping[int, tuple[int, int]]) -> None:
    """Set the limits of `pid`; SpawnError names the one that can't be."""
    for which, pair in limits.items():
        try:
            resource.prlimit(pid, which, pair)
        except (PermissionError, ValueError) as error:
            _, hard = resource.getrlimit(which)
            hint = f"the daemon's own hard limit is {hard}"
            number = getattr(error, "errno", None) or errno.EPERM
            raise SpawnError(number, f"limits.{name_of(which)} = {pair[1]}", hint) from None


def mark_of(incarnation_id: str) -> int:
    """Return the number by which the processes of an incarnation are known, in microseconds."""
    digest = hashlib.blake2b(incarnation_id.encode(), digest_size=_MARK_BYTES).digest()
    return _MARK_MIN + int.from_bytes(digest, "big")


def mark(pid: int, incarnation_id: str) -> None:
    """Mark `pid` and all that will descend from it.

    Unlike an environment, a session or open files, a limit outlives `env -i`, `setsid` and every
    exec. A process that has such a limit of its own keeps that one, and the other signs must do.
    """
    value = mark_of(incarnation_id)
    with suppress(PermissionError, ProcessLookupError):
        if resource.prlimit(pid, _MARKED) == (resource.RLIM_INFINITY, resource.RLIM_INFINITY):
            resource.prlimit(pid, _MARKED, (value, value))


def shell_lines(limits: Mapping[int, tuple[int, int]]) -> list[str]:
    """Return shell commands that set the limits from inside; SpawnError for one they can't."""
    lines = []
    for which, (soft, hard) in limits.items():
        if which not in _ULIMIT:
            name = f"limits.{name_of(which)}"
            raise SpawnError(errno.EPERM, name, "for another user it needs CAP_SYS_RESOURCE")
        option, unit = _ULIMIT[which]
        lines.append(f"ulimit -S -{option} {_amount(soft, unit)} || exit 125")
        lines.append(f"ulimit -H -{option} {_amount(hard, unit)} || exit 125")
    return lines


def name_of(which: int) -> str:
    """Return the name under which the config knows a limit."""
    return next(name for name, number in _NAMES.items() if number == which)


def set_nice(pid: int, nice: int) -> None:
    """Set the priority of `pid`; SpawnError: it may not be raised."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    except PermissionError as error:
        raise SpawnError(
            error.errno or errno.EPERM, f"nice = {nice}", "a higher priority needs CAP_SYS_NICE"
        ) from None


def _amount(value: int, unit: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value // unit)
