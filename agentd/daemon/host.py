"""The daemon as a process among others: what it must shed at its start, and what the host is.

A child inherits what its parent forgot. Everything here is done once, before the first
thread and the first child.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.daemon import procfs

_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38

CAP_KILL: Final = 5
CAP_SYS_NICE: Final = 23
CAP_SYS_RESOURCE: Final = 24

# What a service manager told the daemon, and nobody else.
_PRIVATE_VARIABLES: Final = (
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "CREDENTIALS_DIRECTORY",
)

Limits = Mapping[int, tuple[int, int]]
"""rlimits by number: soft, hard."""


@dataclass(frozen=True, slots=True)
class Host:
    """What was found at the start and doesn't change."""

    boot_id: str
    cores: int
    capabilities: int
    """Effective ones of the daemon, as a bit mask."""
    agent_limits: Limits
    """Those the daemon changed for itself, as it found them: agents get these back."""
    oom_score_adj: int
    """The daemon's own; its agents get 0."""

    def may(self, capability: int) -> bool:
        return bool(self.capabilities >> capability & 1)


def settle() -> Host:
    """Make this process fit to be the parent of agents, and say what host it is on."""
    reset_signals()
    found = {
        resource.RLIMIT_NOFILE: resource.getrlimit(resource.RLIMIT_NOFILE),
        resource.RLIMIT_CORE: resource.getrlimit(resource.RLIMIT_CORE),
    }
    _, files_max = found[resource.RLIMIT_NOFILE]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    # The soft limit only: the hard one could not be given back to the agents.
    resource.setrlimit(resource.RLIMIT_CORE, (0, found[resource.RLIMIT_CORE][1]))
    become_subreaper()
    keep_secrets()
    return look(found)


def look(agent_limits: Limits) -> Host:
    """Return what this host is, without changing anything."""
    return Host(
        boot_id=boot_id(),
        cores=len(os.sched_getaffinity(0)),
        capabilities=procfs.cap_effective(),
        agent_limits=agent_limits,
        oom_score_adj=int(procfs.read("/proc/self/oom_score_adj") or b"0"),
    )


def boot_id() -> str:
    """Return the id of this boot: with another one, every recorded pid is void."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def reset_signals() -> None:
    """Undo what a launcher left: blocked signals and ignored ones, SIGCHLD above all.

    SIGPIPE and SIGXFSZ stay ignored, as Python has them; children get their defaults back.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def become_subreaper() -> None:
    """Become the parent of orphans among our descendants, instead of pid 1."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def keep_secrets() -> None:
    """Deny core dumps and ptrace of this process; what it execs is not concerned."""
    _prctl(_PR_SET_DUMPABLE, 0)


def renounce_privileges() -> None:
    """Set no_new_privs, which every agent inherits: no setuid program raises it any more.

    It can't be taken back.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def take_private_environment() -> dict[str, str]:
    """Remove from our environment what a service manager meant for us alone; return it."""
    taken = {name: os.environ.pop(name, None) for name in _PRIVATE_VARIABLES}
    return {name: value for name, value in taken.items() if value is not None}


def _prctl(option: int, argument: int) -> None:
    prctl: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(option, ctypes.c_ulong(argument), *[ctypes.c_ulong(0)] * 3) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
