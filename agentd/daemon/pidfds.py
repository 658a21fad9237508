"""Names of processes that can't be mistaken: every signal, wait and exit goes through one.

A pidfd keeps naming its process after the pid was given to another. Its inode, on kernels
with pidfs (6.9), is unique for a boot.
"""

import errno
import fcntl
import os
import select
import signal
import struct
from dataclasses import dataclass
from typing import Final

from agentd.daemon import procfs

# struct pidfd_info of the kernel's include/uapi/linux/pidfd.h, its first published size.
_INFO: Final = struct.Struct("=QQ11Ii")
_GET_INFO: Final = (3 << 30) | (_INFO.size << 16) | (0xFF << 8) | 11
_INFO_EXIT: Final = 1 << 3


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended; neither code nor signal where nobody could see it."""

    code: int | None = None
    signal: int | None = None


UNSEEN: Final = Ending()


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process this is, among all of this boot."""

    pid: int
    start_time: int
    """Ticks since boot."""
    inode: int
    """Of its pidfd; 0 where the kernel gives all pidfds the same one."""


def open_pidfd(pid: int) -> int | None:
    """Return a pidfd of `pid`, or None when there is no such process.

    Other errors, such as EMFILE, are raised.
    """
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):  # a thread's id, not a process's
            return None
        raise


def open_member(pid: int, start_time: int) -> int | None:
    """Return a pidfd of `pid` if that is still the process which started at `start_time`."""
    pidfd = open_pidfd(pid)
    if pidfd is None:
        return None
    stat = procfs.stat_of(pid)
    if stat is None or stat.start_time != start_time:
        os.close(pidfd)
        return None
    return pidfd


def identify(pid: int, pidfd: int) -> Identity | None:
    """Return the identity of the process behind `pidfd`; None when it is gone for good."""
    stat = procfs.stat_of(pid)
    if stat is None:
        return None
    return Identity(pid, stat.start_time, inode_of(pidfd))


def inode_of(pidfd: int) -> int:
    """Return the inode that names this process, or 0 without pidfs."""
    return os.fstat(pidfd).st_ino if has_pidfs() else 0


def has_pidfs() -> bool:
    """Tell whether inodes of pidfds tell processes apart (asked of the kernel once)."""
    if not _PIDFS:
        own, parent = os.pidfd_open(os.getpid()), open_pidfd(os.getppid() or 1)
        other = os.fstat(parent).st_ino if parent is not None else 0
        _PIDFS.append(parent is not None and os.fstat(own).st_ino != other)
        os.close(own)
        if parent is not None:
            os.close(parent)
    return _PIDFS[0]


_PIDFS: Final[list[bool]] = []


def send(pidfd: int, number: int) -> bool:
    """Send a signal; False when the process is gone or not ours to signal."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def is_dead(pidfd: int) -> bool:
    """Tell whether the process has ended with all its threads, reaped or not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def peek(pidfd: int) -> Ending | None:
    """Return how a child of ours ended without reaping it; None while it lives.

    ChildProcessError: it isn't our child, or somebody else has reaped it.
    """
    seen = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if seen is None:
        return None
    if seen.si_code == os.CLD_EXITED:
        return Ending(code=seen.si_status)
    return Ending(signal=seen.si_status)


def reap(pidfd: int) -> None:
    """Free the pid of a child that has ended; a child still alive is left alone."""
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return


def ending_of_stranger(pidfd: int) -> Ending | None:
    """Return how a process that isn't our child ended.

    None: it lives, or is a zombie that isn't for us to read. `UNSEEN`: its parent has reaped
    it, and this kernel (before 6.15) forgets.
    """
    return _ending_of_zombie(pidfd) or _ending_of_reaped(pidfd)


def _ending_of_zombie(pidfd: int) -> Ending | None:
    """Return what is shown of a process that nobody has reaped yet, and perhaps never will.

    Pid 1 of a container is often a program that waits for no orphan.
    """
    pid = _pid_of(pidfd)
    stat = procfs.stat_of(pid) if pid > 0 else None
    if stat is None or stat.exit_status is None or not is_dead(pidfd):
        return None
    # Still unreaped: nobody else can have had that pid while it was read.
    return _decoded(stat.exit_status) if _pid_of(pidfd) == pid else None


def _pid_of(pidfd: int) -> int:
    """Return the pid behind a pidfd; -1 when it is reaped, or when this is no pidfd."""
    for line in (procfs.read(f"/proc/self/fdinfo/{pidfd}") or b"").splitlines():
        if line.startswith(b"Pid:"):
            return int(line.split()[1])
    return -1


def _ending_of_reaped(pidfd: int) -> Ending | None:
    """Return what the kernel keeps of a process that its parent has reaped; None: not yet."""
    info = bytearray(_INFO.pack(_INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:  # ENOTTY of a kernel without the call; ESRCH of one that forgets
        return UNSEEN
    mask, *_, status = _INFO.unpack(info)
    if not mask & _INFO_EXIT:
        return None
    return _decoded(status)


def _decoded(status: int) -> Ending:
    if os.WIFSIGNALED(status):
        return Ending(signal=os.WTERMSIG(status))
    return Ending(code=os.WEXITSTATUS(status))
