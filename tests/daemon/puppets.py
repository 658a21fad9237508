"""The test's end of `programs/puppet.py`: agents whose every word the test puts in their mouth."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.daemon.harness import PROGRAMS, PYTHON, WAIT_S, Daemon

Line = dict[str, Any]


class Puppet:
    """One agent; each of its runs connects anew."""

    def __init__(self, daemon: Daemon, name: str, text: str = "") -> None:
        self._path = str(daemon.root / f"{name}.puppet")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        Path(self._path).chmod(0o777)
        self._listener.listen(4)
        self._listener.settimeout(WAIT_S)
        self._channel: socket.socket | None = None
        self._heard = b""
        self._unread: list[Line] = []
        command = [PYTHON, "-S", str(PROGRAMS / "puppet.py"), self._path]
        daemon.agent(name, command, text)

    def appear(self) -> "Puppet":
        """Wait until it runs (again)."""
        if self._channel is not None:
            self._channel.close()
        self._channel, _ = self._listener.accept()
        self._channel.settimeout(WAIT_S)
        self._heard = b""
        self._unread.clear()
        return self

    def say(self, line: Line) -> None:
        assert self._channel is not None
        self._channel.sendall(json.dumps(line).encode() + b"\n")

    def ask(self, line: Line) -> Line:
        """Say a line with an id, and return the result it is answered with."""
        self.say({"id": "q", **line})
        reply = self.hear(lambda heard: heard.get("id") == "q")
        assert reply["ok"], reply
        result: Line = reply["result"]
        return result

    def hear(self, wanted: Callable[[Line], object]) -> Line:
        """Return the next line for it that is as wanted; others are kept for later."""
        for line in self._unread:
            if wanted(line):
                self._unread.remove(line)
                return line
        while True:
            line = self._next()
            if wanted(line):
                return line
            self._unread.append(line)

    def control(self, action: str) -> Line:
        return self.hear(lambda heard: heard.get("action") == action)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._listener.close()

    def _next(self) -> Line:
        assert self._channel is not None
        while b"\n" not in self._heard:
            part = self._channel.recv(65_536)
            assert part, "it is gone"
            self._heard += part
        raw, self._heard = self._heard.split(b"\n", 1)
        line: Line = json.loads(raw)
        return line
