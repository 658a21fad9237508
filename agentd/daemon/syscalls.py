"""In which system call a thread waits, and on which of its descriptors.

/proc/PID/task/TID/syscall shows the number and the arguments of the call. Descriptors that a
call has as arguments are read there; those of poll and select lie in the process's memory,
which is read without stopping it, and those of epoll in the fdinfo of its descriptor.
"""

import os
import platform
import struct
from dataclasses import dataclass
from typing import Final

from agentd.daemon import procfs

FDS_MAX: Final = 64
NOT_PERMITTED: Final = "not permitted"
RUNNING: Final = "running"

# Of the kernel's include/uapi/asm-generic/unistd.h (arm64, riscv64) and
# arch/x86/entry/syscalls/syscall_64.tbl: the calls in which programs wait or are
# caught: one that is stopped stands in whatever it did last, such as a kill of itself.
_X86_64: Final = """
    0 read 1 write 2 open 3 close 7 poll 9 mmap 11 munmap 16 ioctl 17 pread64 18 pwrite64 19 readv
    20 writev 23 select 24 sched_yield 34 pause 35 nanosleep 40 sendfile 42 connect 43 accept
    44 sendto 45 recvfrom 46 sendmsg 47 recvmsg 48 shutdown 56 clone 57 fork 58 vfork 59 execve
    60 exit 61 wait4 62 kill 65 semop 69 msgsnd 70 msgrcv 72 fcntl 73 flock 74 fsync 75 fdatasync
    128 rt_sigtimedwait 130 rt_sigsuspend 162 sync 200 tkill 202 futex 208 io_getevents
    219 restart_syscall 220 semtimedop 230 clock_nanosleep 231 exit_group 232 epoll_wait 234 tgkill
    242 mq_timedsend 243 mq_timedreceive 247 waitid 257 openat 270 pselect6 271 ppoll 275 splice
    281 epoll_pwait 285 fallocate 288 accept4 299 recvmmsg 307 sendmmsg 333 io_pgetevents
    424 pidfd_send_signal 426 io_uring_enter 435 clone3 441 epoll_pwait2 449 futex_waitv
"""
_GENERIC: Final = """
    4 io_getevents 22 epoll_pwait 25 fcntl 29 ioctl 32 flock 47 fallocate 56 openat 57 close
    63 read 64 write 65 readv 66 writev 67 pread64 68 pwrite64 71 sendfile 72 pselect6 73 ppoll
    76 splice 81 sync 82 fsync 83 fdatasync 93 exit 94 exit_group 95 waitid 98 futex 101 nanosleep
    115 clock_nanosleep 124 sched_yield 128 restart_syscall 129 kill 130 tkill 131 tgkill
    133 rt_sigsuspend 137 rt_sigtimedwait 182 mq_timedsend 183 mq_timedreceive 188 msgrcv
    189 msgsnd 192 semtimedop 193 semop 202 accept 203 connect 206 sendto 207 recvfrom 210 shutdown
    211 sendmsg 212 recvmsg 215 munmap 220 clone 221 execve 222 mmap 242 accept4 243 recvmmsg
    260 wait4 269 sendmmsg 292 io_pgetevents 424 pidfd_send_signal 426 io_uring_enter 435 clone3
    441 epoll_pwait2 449 futex_waitv
"""
_TABLES: Final = {"x86_64": _X86_64, "aarch64": _GENERIC, "riscv64": _GENERIC}
_WORDS: Final = _TABLES.get(platform.machine(), "").split()
_NAMES: Final = dict(zip(map(int, _WORDS[::2]), _WORDS[1::2], strict=True))
_FD_FIRST: Final = frozenset(
    (
        *("read", "write", "readv", "writev", "pread64", "pwrite64", "ioctl", "fcntl", "flock"),
        *("connect", "accept", "accept4", "sendto", "recvfrom", "sendmsg", "recvmsg"),
        *("recvmmsg", "sendmmsg", "fsync", "fdatasync", "splice", "shutdown", "close", "fallocate"),
    )
)
_POLLS: Final = frozenset(("poll", "ppoll"))
_SELECTS: Final = frozenset(("select", "pselect6"))
_EPOLLS: Final = frozenset(("epoll_wait", "epoll_pwait", "epoll_pwait2"))
_POLLFD: Final = struct.Struct("=ihh")


@dataclass(frozen=True, slots=True)
class Call:
    """The system call a thread is in. `name`: "running", or "not permitted", where it has none."""

    name: str
    fds: tuple[int, ...] = ()
    """What it waits on; empty also where that could not be found out."""

    @property
    def is_known(self) -> bool:
        return self.name not in (NOT_PERMITTED, RUNNING)

    @property
    def on(self) -> str:
        """The call as people read it: `recvfrom(fd 5)`."""
        fds = ", ".join(f"fd {fd}" for fd in self.fds[:4])
        more = f" and {len(self.fds) - 4} more" if len(self.fds) > 4 else ""  # noqa: PLR2004
        return f"{self.name}({fds}{more})" if fds else self.name


def call_of(pid: int, tid: int) -> Call | None:
    """Return the call a thread is in; None when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{tid}/syscall", "rb") as file:  # noqa: PTH123 - an errno counts
            words = file.read(512).split()
    except PermissionError:
        return Call(NOT_PERMITTED)
    except OSError:
        return None
    if not words or words[0] == b"running":
        return Call(RUNNING)
    number = int(words[0])
    if number < 0:
        return Call(RUNNING)  # it sleeps, but in no call of its own: a page fault, say
    name = _NAMES.get(number, f"system call {number}")
    return Call(name, _fds(pid, name, [int(word, 16) for word in words[1:7]]))


def _fds(pid: int, name: str, arguments: list[int]) -> tuple[int, ...]:
    if len(arguments) < 2:  # noqa: PLR2004 - one that shows no arguments
        return ()
    if name in _FD_FIRST:
        return (arguments[0] & 0xFFFFFFFF,)
    if name in _POLLS:
        return _polled(_memory(pid, arguments[0], min(arguments[1], FDS_MAX) * _POLLFD.size))
    if name in _SELECTS:
        count = min(arguments[0], 1024)
        sets = (_memory(pid, at, (count + 7) // 8) for at in arguments[1:4] if at)
        return tuple(sorted({fd for each in sets for fd in _bits(each, count)}))[:FDS_MAX]
    if name in _EPOLLS:
        return _watched(pid, arguments[0])
    return ()


def _polled(raw: bytes) -> tuple[int, ...]:
    whole = raw[: len(raw) // _POLLFD.size * _POLLFD.size]
    return tuple(fd for fd, _, _ in _POLLFD.iter_unpack(whole) if fd >= 0)


def _bits(raw: bytes, count: int) -> list[int]:
    number = int.from_bytes(raw, "little")
    return [fd for fd in range(count) if number >> fd & 1]


def _watched(pid: int, epoll_fd: int) -> tuple[int, ...]:
    raw = procfs.read(f"/proc/{pid}/fdinfo/{epoll_fd}") or b""
    lines = (line.split() for line in raw.splitlines() if line.startswith(b"tfd:"))
    return tuple(int(words[1]) for words in lines if len(words) > 1)[:FDS_MAX]


def _memory(pid: int, address: int, size: int) -> bytes:
    """Read some of a process's memory, which goes on running; nothing where that is forbidden."""
    if not 0 < size <= FDS_MAX * _POLLFD.size or not 0 < address < 1 << 63:
        return b""
    try:
        fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(fd, size, address)
    except OSError:
        return b""
    finally:
        os.close(fd)
