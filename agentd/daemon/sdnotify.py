"""What we tell systemd, and the file descriptors it kept for us.

Without NOTIFY_SOCKET nothing is sent and nothing goes wrong. Every datagram is sent without
waiting: a service manager that doesn't read must not stop the loop.
"""

import array
import contextlib
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final

FIRST_FD: Final = 3
FDS_MAX: Final = 4096
STATUS_MAX: Final = 500
# So long may a re-exec or an end take with no turn of a loop in between: a start took half a
# minute in an emulated guest, and the check of a large store takes as long on a slow disk.
QUIET_MS: Final = 300_000

_OURS: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_LISTEN: Final = ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID")


class Systemd:
    """The service manager that started us, if one did."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read NOTIFY_SOCKET (a path, or `@name` for an abstract one) and WATCHDOG_*.

        The caller has taken them out of its own environment: no child of ours gets them.
        """
        address, usec, pid = (environ.get(name, "") for name in _OURS)
        if not address.startswith(("/", "@")):
            address = ""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_ms: int | None = None
        """After such silence we are killed; None: nobody watches."""
        meant_for_us = pid in ("", str(os.getpid()))
        if usec.isascii() and usec.isdecimal() and int(usec) > 0 and meant_for_us:
            self.watchdog_ms = int(usec) // 1000
        self.failures = 0
        """Messages that were not taken."""
        self._is_quiet = False
        self._owed: tuple[str, ...] = ()
        """The word that we are ready, while it wasn't taken."""

    def ready(self, status: str = "") -> bool:
        """We are up, or a reload is over; after `fall_silent` we are watched as before."""
        more = [_status(status)] if status else []
        if self._is_quiet and self.watchdog_ms is not None:
            more += ["WATCHDOG=1", f"WATCHDOG_USEC={self.watchdog_ms * 1000}"]
        self._is_quiet = False
        self._owed = ("READY=1", *more)
        return self.catch_up()

    def catch_up(self) -> bool:
        """Say once more that we are ready, if that wasn't taken; False: it still wasn't.

        A burst of descriptors to be dropped may have filled the socket just before, and a
        service manager that never hears of us ends us.
        """
        if self._owed and self.send(*self._owed):
            self._owed = ()
        return not self._owed

    def fall_silent(self) -> bool:
        """Have a longer silence borne: no loop turns until the end, or until the next `ready`.

        Without it a slow re-exec is killed by the watchdog half way. systemd forgets it when it
        starts us anew. Not before the first `ready` of a start: the watch would begin there.
        """
        if self.watchdog_ms is None:
            return False
        self._is_quiet = True
        patience_ms = max(QUIET_MS, self.watchdog_ms)
        return self.send("WATCHDOG=1", f"WATCHDOG_USEC={patience_ms * 1000}")

    def status(self, text: str) -> bool:
        """Say in one line how things are."""
        return self.send(_status(text))

    def watchdog(self) -> bool:
        """The loop lives; to be sent from the loop itself."""
        return self.send("WATCHDOG=1")

    def reloading(self) -> bool:
        """A reload has begun; `ready` ends it."""
        self._owed = ()  # the `ready` at its end says it
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self.send("RELOADING=1", f"MONOTONIC_USEC={usec}")

    def stopping(self, status: str = "") -> bool:
        """The end has begun."""
        self._owed = ()
        return self.send("STOPPING=1", *([_status(status)] if status else []))

    def keep_fd(self, name: str, fd: int) -> bool:
        """Have a descriptor kept beyond our end. A pidfd is readable at exit: don't poll it."""
        return self.send("FDSTORE=1", f"FDNAME={_fd_name(name)}", "FDPOLL=0", fds=[fd])

    def drop_fd(self, name: str) -> bool:
        """Have a kept descriptor closed."""
        return self.send("FDSTOREREMOVE=1", f"FDNAME={_fd_name(name)}")

    def send(self, *assignments: str, fds: Sequence[int] = ()) -> bool:
        """Send one datagram; False: nobody to send to, or it wasn't taken (counted)."""
        if not self._address:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:  # without a descriptor left there is no socket; that is nobody's fault who tells us
            with socket.socket(socket.AF_UNIX, kind) as sock:
                sock.sendmsg(["\n".join(assignments).encode()], rights, 0, self._address)
        except OSError:
            self.failures += 1
            return False
        return True


def pick_up_fds(environ: Mapping[str, str]) -> list[tuple[str, int]]:
    """Take over the descriptors systemd hands us, as (name, fd); none of them reaches a child.

    Only once, and not in an image that a re-exec made: by then the numbers mean other files.
    Those that are meant for another process are left alone.
    """
    count, names, pid = (environ.get(name, "") for name in _LISTEN)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdecimal()):
        return []
    told = names.split(":") if names else []
    found = []
    for index in range(min(int(count), FDS_MAX)):
        fd = FIRST_FD + index
        with contextlib.suppress(OSError):  # announced, but not there
            os.set_inheritable(fd, False)
            found.append((told[index] if index < len(told) else "unknown", fd))
    return found


def _status(text: str) -> str:
    """Write a status that stays one line and can't add an assignment of its own."""
    return "STATUS=" + " ".join(text.split())[:STATUS_MAX]


def _fd_name(name: str) -> str:
    assert name.isascii(), name
    assert name.isprintable(), name
    assert ":" not in name, name
    assert 0 < len(name) <= 255, name  # noqa: PLR2004 - FDNAME_MAX of systemd
    return name
