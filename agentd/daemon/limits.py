"""Resource limits and priority of a child that waits at its gate.

They are set from outside. Where the kernel lets only the child itself do that (another user's
process, and a daemon without the capability), the gate's shell does it.
"""

import errno
import os
import resource
from collections.abc import Mapping
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
