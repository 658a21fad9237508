"""`python tests/init.py COMMAND...`: run a command as the init of its own processes.

The tests kill daemons, and what those leave behind is pid 1's to reap. In many a container
pid 1 is a shell or a service that reaps late or never; so the test run brings its own init: a
child subreaper (prctl(2)) that takes every orphan of the command and reaps it at once.

Exits with the command's code, or 128 + N where signal N ended it, as a shell does.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_FORWARDED: Final = frozenset((signal.SIGINT, signal.SIGTERM))
_AWAITED: Final = _FORWARDED | {signal.SIGCHLD}


def run(words: Sequence[str]) -> int:
    """Run the command and reap until it ends; return its exit code."""
    become_subreaper()
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    # A shell has its background jobs ignore SIGINT; what is tested must hear it.
    command = os.posix_spawnp(
        words[0], words, os.environ, setsigmask=(), setsigdef=(signal.SIGINT, signal.SIGQUIT)
    )
    while (code := _reap(command)) is None:
        told = signal.sigwaitinfo(_AWAITED)
        # A positive code is the kernel's: a terminal's Ctrl-C, which the command has heard itself.
        if told.si_signo in _FORWARDED and told.si_code <= 0:
            os.kill(command, told.si_signo)
    return code


def become_subreaper() -> None:
    """Have orphans among our descendants become our children, instead of pid 1's."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0))) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")


def _reap(command: int) -> int | None:
    """Reap whatever has ended; return the command's exit code, or None while it runs."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:  # none is left; the command was the last
            return code
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code
        elif pid == 0:
            return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
