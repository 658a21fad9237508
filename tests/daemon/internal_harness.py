"""A real daemon whose internal agents are stand-ins, and the ends of their channels."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.harness import PROGRAMS, PYTHON, WAIT_S, Daemon, Refused
from tests.places import short_root

STAND_IN = (PYTHON, "-S", str(PROGRAMS / "channel.py"))
RUN = (
    "import sys; from pathlib import Path; from agentd.config import internal; "
    f"internal.COMMANDS.update(dict.fromkeys(internal.COMMANDS, {STAND_IN!r})); "
    "from agentd.daemon.main import run; sys.exit(run(Path(sys.argv[1]), None))"
)
HTTP = '[http]\nlisten = "127.0.0.1:0"\n'
FLEET = '[fleet]\nnats = ["nats://127.0.0.1:4222"]\nname = "here"\n'


class Channel:
    """The channel of an internal agent, through its stand-in."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(WAIT_S)
        self._sock.connect(str(daemon.root / f"{name}.channel"))
        self._lines = self._sock.makefile("rb")
        self._number = 0

    def send(self, cmd: str, number: str, *, follow: bool = False, **args: object) -> None:
        line = {"id": number, "cmd": cmd, "args": args, "follow": follow}
        self.write(line)

    def write(self, line: dict[str, Any]) -> None:
        self._sock.sendall(json.dumps(line).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        """Return the next line."""
        found: dict[str, Any] = json.loads(self._lines.readline())
        return found

    def ask(self, cmd: str, **args: object) -> dict[str, Any]:
        """One command; an error reply raises `Refused`. Lines of streams are passed over."""
        self._number += 1
        number = f"c{self._number}"
        self.send(cmd, number, **args)
        return self.answer(number)

    def answer(self, number: str) -> dict[str, Any]:
        while (line := self.read()).get("id") != number:
            pass
        if not line["ok"]:
            raise Refused(line["error"])
        found: dict[str, Any] = line["result"]
        return found

    def refusal(self, cmd: str, **args: object) -> str:
        """Return the code that a command is refused with."""
        with pytest.raises(Refused) as refused:
            self.ask(cmd, **args)
        code: str = refused.value.error["code"]
        return code

    def close(self) -> None:
        self._lines.close()
        self._sock.close()


def stand_ins(root: Path) -> Daemon:
    """Return a daemon of which all internal agents are stand-ins."""
    daemon = Daemon(root)
    daemon.run = RUN
    return daemon


def mode(daemon: Daemon, name: str, word: str) -> None:
    """Have the next start of an internal agent misbehave so."""
    (daemon.root / f"{name}.mode").write_text(word)


@pytest.fixture
def internal() -> Iterator[Daemon]:
    """A daemon with stand-ins that isn't started yet."""
    with short_root() as root, closing(stand_ins(root)) as under_test:
        yield under_test
