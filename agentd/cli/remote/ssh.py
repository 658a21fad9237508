"""One command on one machine through the system's ssh: bounded in time, in output, in trust."""

import os
import selectors
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import IO, Final, NamedTuple

from agentd.cli.exits import FAILED, CommandError

PROGRAM_VARIABLE: Final = "AGENTD_SSH"
CONNECT_S: Final = 5
ALIVE_EVERY_S: Final = 5
ALIVE_MISSED_MAX: Final = 2
"""A host that says nothing for 10 s while a command runs there is given up by ssh itself."""
OUTPUT_BYTES_MAX: Final = 64 << 20
"""As much as the client takes from the daemon itself."""
COMPLAINT_BYTES_MAX: Final = 64 << 10
# Past its end, whoever still holds its stderr (a shared connection does) is not waited for.
_LINGER_S: Final = 0.5
_LOOK_S: Final = 0.5
# Nobody is asked for a password, nothing of the user's own forwardings or commands gets in
# the way, and a host that is gone is noticed.
OPTIONS: Final = (
    "-T",
    *("-o", "BatchMode=yes"),
    *("-o", f"ServerAliveInterval={ALIVE_EVERY_S}"),
    *("-o", f"ServerAliveCountMax={ALIVE_MISSED_MAX}"),
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "RemoteCommand=none"),
    *("-o", "LogLevel=ERROR"),
)


class Ran(NamedTuple):
    """How a command ended. `exit_code` None: it was given up, and why."""

    exit_code: int | None
    out: bytes
    err: str
    given_up: str = ""


def command_line(
    address: str, line: str, env: Mapping[str, str], connect_s: float = CONNECT_S
) -> list[str]:
    """Return the words that run `line` at `address`.

    `AGENTD_SSH` takes the place of `ssh`, options of its own included: `ssh -F FILE`.
    """
    try:
        program = shlex.split(env.get(PROGRAM_VARIABLE) or "ssh")
    except ValueError as error:
        raise CommandError(FAILED, f"{PROGRAM_VARIABLE} is no command: {error}") from None
    patience = ("-o", f"ConnectTimeout={max(1, round(connect_s))}")
    return [*program, *OPTIONS, *patience, "--", address, line]


class Runs:
    """The programs that run now, so that none is left behind, whatever ends us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_over = False

    @contextmanager
    def started(self, argv: list[str]) -> "Iterator[subprocess.Popen[bytes]]":
        """Start a program in a group of its own, and end that group in any case."""
        with self._lock:
            if self._is_over:
                raise CommandError(FAILED, "interrupted")
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    process_group=0,
                )
            except OSError as error:
                hint = "apt-get install openssh-client" if argv[0] == "ssh" else ""
                told = f"cannot run {argv[0]}: {(error.strerror or str(error)).lower()}"
                raise CommandError(FAILED, told, hint) from None
            self._running.add(process)
        try:
            with process:
                try:
                    yield process
                finally:
                    _end(process)
        finally:
            with self._lock:
                self._running.discard(process)

    def end(self) -> None:
        """End all of them, and start none any more."""
        with self._lock:
            self._is_over = True
            for process in self._running:
                _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # it has just ended by itself


def run(runs: Runs, argv: list[str], until: float) -> Ran:
    """Run a program to its end, or until that moment of `time.monotonic()`."""
    with runs.started(argv) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = bytearray(), bytearray()
        given_up = _read(process, {process.stdout: out, process.stderr: err}, until)
        if not given_up:
            try:
                process.wait(max(0.05, until - monotonic()))
            except subprocess.TimeoutExpired:
                given_up = "timeout"
        complaint = bytes(err).decode("utf-8", "replace")
        if given_up:
            return Ran(None, b"", complaint, given_up)
        return Ran(process.returncode, bytes(out), complaint)


def _read(
    process: "subprocess.Popen[bytes]", kept: dict[IO[bytes], bytearray], until: float
) -> str:
    """Take in what it writes, up to its end; returns why it was given up before."""
    over_until: float | None = None
    with selectors.DefaultSelector() as waiting:
        for stream in kept:
            os.set_blocking(stream.fileno(), False)
            waiting.register(stream, selectors.EVENT_READ, stream)
        while waiting.get_map():
            now_s = monotonic()
            if over_until is None and process.poll() is not None:
                over_until = now_s + _LINGER_S
            if over_until is not None and now_s >= over_until:
                return ""
            if now_s >= until:
                return "timeout"
            for key, _ in waiting.select(min(until - now_s, _LOOK_S)):
                if not _take(waiting, key, kept, process.stdout):
                    return "too long"
    return ""


def _take(
    waiting: selectors.BaseSelector,
    key: selectors.SelectorKey,
    kept: dict[IO[bytes], bytearray],
    out: IO[bytes] | None,
) -> bool:
    """Take in one piece; False: it is more than is borne. What is complained is cut."""
    stream: IO[bytes] = key.data
    chunk = os.read(key.fd, 1 << 16)
    if not chunk:
        waiting.unregister(stream)
    elif stream is out and len(kept[stream]) + len(chunk) > OUTPUT_BYTES_MAX:
        return False
    elif stream is out or len(kept[stream]) < COMPLAINT_BYTES_MAX:
        kept[stream] += chunk
    return True
