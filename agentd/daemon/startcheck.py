"""Whether the installed agentd could start here: asked of it before a re-exec becomes it.

Whoever has become a version that can't be imported, or that refuses the store, is no daemon
any more. So the very words of the re-exec are run in a child first, with a variable that makes
them say what would be in the way, and end.
"""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Protocol

from agentd.daemon.errands import Command, Ended
from agentd.store.connection import open_reader
from agentd.store.schema import NewerSchema, check_version
from agentd.store.store import FILE_NAME

VARIABLE: Final = "AGENTD_CHECK_START"
# A start takes half a second, and half a minute in an emulated guest with a busy host.
TIMEOUT_MS: Final = 120_000


class CannotStart(Exception):  # noqa: N818 - named after what the user is told
    """The installed version would not start; the message says why, and nothing was changed."""


class Runs(Protocol):
    """Whoever runs a command beside the loop."""

    async def carry_out(self, errand: Command) -> Ended: ...


@dataclass(frozen=True, slots=True)
class StartCheck:
    """The words of a re-exec, as a child that only says whether it could start."""

    timeout_ms: int = TIMEOUT_MS
    answers: ClassVar[bool] = False

    def fork(self, stdout: int, stderr: int) -> int:
        """Start it, and return its pid; it is reaped through its pidfd. Raises OSError."""
        child = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, VARIABLE: "1"},
            start_new_session=True,
        )
        child.returncode = 0  # it is reaped through its pidfd, never by the Popen object
        return child.pid


async def check_installed(errands: Runs) -> None:
    """Ask the installed version; raises `CannotStart`."""
    ended = await errands.carry_out(StartCheck())
    if not ended.ok:
        raise CannotStart(f"the installed agentd would not start: {ended.told}")


def is_asked() -> bool:
    """Tell, once, whether this process was started to say whether it could start."""
    return os.environ.pop(VARIABLE, "") != ""


def check_store(state_dir: Path) -> None:
    """Raise `NewerSchema`, or `CannotStart` where there is a store that can't be read now."""
    path = state_dir / FILE_NAME
    if not path.exists():
        return
    try:
        with closing(open_reader(path)) as reader:
            check_version(reader, path)
    except NewerSchema:
        raise
    except (sqlite3.Error, OSError) as error:
        raise CannotStart(f"{path} can't be read: {error}") from error
