"""Daemons that are forked from a process which has imported all of agentd already.

Importing is most of what the start of a daemon costs. What a test of a crash is about begins
after it, and such a test starts a daemon for each point.
"""

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.daemon.harness import PYTHON, Daemon, Document, Refused, environment

SERVER = Path(__file__).parent / "programs" / "forkserver.py"
ROOT = Path(__file__).parents[2]
CLOSE_S = 10.0


class ForkServer:
    """The process that forks; may be used by several threads."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [PYTHON, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment(), "PYTHONPATH": str(ROOT)},
        )
        self._lock = threading.Lock()

    def ask(self, question: Document) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=CLOSE_S)


class ForkedProcess:
    """What a test does with a `Popen`, for a child of the fork server."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server
        # Nobody reaps it unasked: the pid is still that of this child.
        self._fd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self._look(0.0)

    def wait(self, timeout: float) -> int:
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"daemon {self.pid}", timeout)
        return code

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _look(self, timeout_s: float) -> int | None:
        if self.returncode is None and select.select([self._fd], [], [], timeout_s)[0]:
            self.returncode = self._server.ask({"reap": self.pid})
            os.close(self._fd)
        return self.returncode


class ForkedDaemon(Daemon):
    """Asks again where it has asked too much in a second; its processes are forked."""

    def __init__(self, root: Path, server: ForkServer) -> None:
        super().__init__(root)
        self._server = server
        self.planted = ""
        """A program that each daemon started from now on runs first: a bug."""

    def _spawn(self, words: list[str], env: dict[str, str], fds: Sequence[int] = ()) -> None:
        assert not fds, "a descriptor can be handed to a fresh process only"
        self.heard()  # what one that is gone has said is not the next one's word
        document = {
            "start": words[-1],
            "argv": words,
            "env": {**environment(), "NOTIFY_SOCKET": str(self.root / "notify"), **env},
            "stderr": str(self.root / "stderr"),
            "planted": self.planted,
        }
        self.process = ForkedProcess(self._server, self._server.ask(document))

    def ask(self, cmd: str, timeout_s: float = 5.0, **args: object) -> Document:
        end = time.monotonic() + timeout_s
        while True:
            try:
                return super().ask(cmd, timeout_s, **args)
            except Refused as refused:
                if refused.error["code"] != "too_busy" or time.monotonic() > end:
                    raise
            time.sleep(0.05)
