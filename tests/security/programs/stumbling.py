"""The daemon with a bug in each place where one is caught: it raises, once, what it is told.

An agent's task, or a person's selector, names the place in its first word.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentd.core.events import LinesReceived
from agentd.core.supervisor import Supervisor
from agentd.daemon.answers import Answers
from agentd.daemon.door import Door
from agentd.daemon.life import Life
from agentd.daemon.main import run
from agentd.daemon.recalls import Recalls

AT_START = os.environ.get("STUMBLES_AT_START", "")
_raised: set[str] = set()
_said: list[str] = [""]


def stumble(place: str, told: object) -> None:
    """Raise once what was told, if it names this place."""
    if str(told).startswith(f"{place} ") and str(told) not in _raised:
        _raised.add(str(told))
        raise KeyError(told)


def before(kind: type, name: str, look: Callable[..., object]) -> None:
    """Have `look` called with its arguments before each call of a method."""
    method = getattr(kind, name)

    def looking(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever it takes and returns
        look(*args, **more)
        return method(*args, **more)

    setattr(kind, name, looking)


def tasks(event: object) -> list[str]:
    lines = event.lines if isinstance(event, LinesReceived) else []
    return [task for line in lines if (task := getattr(line, "task", None))]


def in_core(_self: object, event: object, _now_ms: int) -> None:
    for task in tasks(event):
        _said.append(task)
        asyncio.get_running_loop().call_soon(stumble, "callback", task)
        threading.Thread(target=stumble, args=("thread", task)).start()
        stumble("core", task)


def in_lines(_self: object, _agent: str, _incarnation: int, lines: list[Any]) -> None:
    for line in lines:
        stumble("connection", getattr(line, "task", ""))


def at_start(_self: object) -> None:
    if AT_START:
        kind = OSError if AT_START.startswith("OSError") else KeyError
        raise kind(AT_START)


def selected(args: dict[str, Any]) -> str:
    return str([*args.get("select", []), ""][0])


before(Supervisor, "step", in_core)
before(Door, "lines", in_lines)
before(Door, "command", lambda _, exchange: stumble("command", selected(exchange.command.args)))
before(Answers, "answer", lambda _, command, **_more: stumble("answer", selected(command.args)))
before(Recalls, "_read", lambda *_: stumble("recall", _said[-1]))
before(Life, "start", at_start)

sys.exit(run(Path(sys.argv[1]), None))
