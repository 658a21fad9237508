"""An agent that keeps its state, makes a deed in the world outside, and writes down all it knows.

Arguments: a directory. `notes` there gets a line before each question and after each answer,
`deeds` a line a deed. It begins with what an earlier run had in flight, waits for `go`, and
works; with `die` there, it kills itself at the step of that number. Without the daemon it ends.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

PLACE = Path(sys.argv[1])
STEPS = iter(range(1_000))


def write_down(name: str, what: object) -> None:
    with (PLACE / name).open("a") as file:
        file.write(json.dumps(what) + "\n")


def step() -> None:
    """A place where everything may end."""
    number = next(STEPS)
    if (PLACE / "die").exists() and (PLACE / "die").read_text() == str(number):
        os.kill(os.getpid(), signal.SIGKILL)


class Line:
    """One connection; each question is answered before the next."""

    def __init__(self) -> None:
        self.channel = socket.socket(socket.AF_UNIX)
        self.channel.connect(os.environ["AGENTD_SOCKET"])
        self.answers = self.channel.makefile("rb")

    def ask(self, what: str, **fields: object) -> dict[str, object]:
        """Ask, and write down that it was asked and that it was answered."""
        line = {"id": what, "token": os.environ["AGENTD_TOKEN"], **fields}
        step()
        write_down("notes", ["sent", what])
        try:
            self.channel.sendall(json.dumps(line).encode() + b"\n")
            step()
            raw = self.answers.readline()
        except OSError:
            raw = b""
        if not raw:
            sys.exit(3)
        answer = json.loads(raw)
        if not answer["ok"]:
            write_down("notes", ["refused", what, answer["error"]])
            sys.exit(4)
        write_down("notes", ["answered", what])
        step()
        result: dict[str, object] = answer["result"]
        return result


def main() -> None:
    line = Line()
    found = line.ask("get", type="checkpoint.get")
    write_down("found", found)
    for action in found["unfinished"]:  # type: ignore[attr-defined]
        line.ask(f"done {action['key']}", type="done", key=action["key"])
    while not (PLACE / "go").exists():
        time.sleep(0.005)
    number = int((PLACE / "go").read_text())
    key = f"deed:{number}"
    line.ask(f"put {number}.0", type="checkpoint.put", state={"at": [number, 0]})
    line.ask(f"intent {key}", type="intent", key=key, action="deed")
    step()
    write_down("deeds", key)
    step()
    line.ask(f"done {key}", type="done", key=key)
    line.ask(f"put {number}.1", type="checkpoint.put", state={"at": [number, 1]})
    write_down("notes", ["sent", "end"])
    sys.exit(5)  # not done: its execution goes on


main()
