"""A connection of a test that speaks as an agent."""

import json
import socket
from typing import Self

from tests.daemon.harness import Document


class Voice:
    """One connection that speaks as an agent, over a channel that is connected."""

    def __init__(self, channel: socket.socket, token: str) -> None:
        self.channel = channel
        self.lines = self.channel.makefile("rb")
        self.tell({"type": "hello", "token": token, "id": "hello"})
        assert self.hear()["ok"]

    def tell(self, line: Document | bytes) -> None:
        raw = line if isinstance(line, bytes) else json.dumps(line).encode()
        self.channel.sendall(raw + b"\n")

    def hear(self) -> Document:
        """The next answer; ConnectionError when there is none any more."""
        raw = self.lines.readline()
        if not raw:
            raise ConnectionError("closed")
        answer: Document = json.loads(raw)
        return answer

    def ask(self, line: Document | bytes) -> Document:
        self.tell(line)
        return self.hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.channel.close()
