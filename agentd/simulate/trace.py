"""A trace, read and checked as a whole before anything runs.

JSON Lines in order of `t`, one thing a line; which things there are is CONTRACT 6.3's list
and `_READERS` below. What a `line` or a `cmd` holds is not judged here: it goes through the
validation of the socket when its time comes, as it would have come from the wire.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agentd.config.units import DURATION_MS_MAX, SIZE_BYTES_MAX
from agentd.core.exits import SIGKILL
from agentd.simulate.hosts import Seen, read_seen
from agentd.wire.judgement import decode_judgement

LINES_MAX: Final = 5_000_000
EXIT_CODE_MAX: Final = 255
SIGNAL_MAX: Final = 64
COUNTER_MAX: Final = 1 << 62
INTENTS: Final = ("up", "held", "paused", "stopped", "killed")


class TraceError(Exception):
    """A trace that is not one; names the line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Start:
    """Agents with autostart start now, if it is the first; `at_ms` sets the wall clock.

    Of those in `intents` an operator had wanted something else before, as it is recorded.
    """

    at_ms: int | None
    intents: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """The agent sends a line; `raw` is what the socket would have carried."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Notified:
    """The agent sends a datagram of sd_notify."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Noted:
    """A word to people; nothing happens."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A sample of the whole tree's memory; None: it could not be read.

    With CPU time and bytes moved since its spawn, where the trace has them.
    """

    rss_bytes: float | None
    cpu_ms: int | None = None
    io_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The process ends by itself; `incarnation` None: the one that runs."""

    code: int | None
    signal: int | None
    oom: bool
    incarnation: int | None


@dataclass(frozen=True, slots=True)
class Commanded:
    """An operator sends a command; `raw` as the socket would have carried it."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon crashes, or comes back."""

    up: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """From now on the world is like that; a key that is absent stays as it was."""

    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Finished:
    """The simulation ends."""


_OfOne = Said | Notified | Measured | Ended
Happening = Start | _OfOne | Noted | Commanded | Daemon | Changed | Seen | Finished


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One checked line: its number in the file, its moment, whom it is about, what happens."""

    number: int
    t_ms: int
    agent: str | None
    what: Happening


def read_trace(
    lines: Iterable[str], agents: Collection[str], only: str | None = None
) -> list[TraceLine]:
    """Check all lines; the first that is wrong is a `TraceError`.

    `agents` are the names that may be spoken of. A line that leaves its agent out means
    `only`, or the one agent there is. With `only`, lines about others are left out.
    """
    known = set(agents)
    default = only if only is not None else next(iter(known)) if len(known) == 1 else None
    trace: list[TraceLine] = []
    order = _Order()
    for number, text in enumerate(lines, start=1):
        if number > LINES_MAX:
            raise TraceError(number, f"a trace has at most {LINES_MAX} lines")
        if not text.strip():
            continue
        line = _read_line(number, text, default)
        order.check(line)
        if isinstance(line.what, Noted):
            continue
        if line.agent is None or line.agent == only:
            trace.append(line)
        elif only is None:
            if line.agent not in known:
                raise TraceError(number, f'no agent "{line.agent}" in the config')
            trace.append(line)
    return trace


class _Order:
    """What a line may be depends on those before it."""

    def __init__(self) -> None:
        self._t_ms = 0
        self._ended = False
        self._up: bool | None = True
        """None: it may have been shut down by a command."""

    def check(self, line: TraceLine) -> None:
        if self._ended:
            raise TraceError(line.number, "nothing may follow the end")
        if line.t_ms < self._t_ms:
            raise TraceError(line.number, f"t goes back, from {self._t_ms / 1000:g}")
        self._t_ms = line.t_ms
        if isinstance(line.what, Finished):
            self._ended = True
        elif isinstance(line.what, Daemon):
            if line.what.up is self._up:
                told = "runs already" if self._up else "is down already"
                raise TraceError(line.number, f"the daemon {told}")
            self._up = line.what.up
        elif isinstance(line.what, Commanded) and b'"shutdown"' in line.what.raw:
            self._up = None


def _read_line(number: int, text: str, default: str | None) -> TraceLine:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TraceError(number, f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise TraceError(number, "a line is an object")
    kinds = [kind for kind in _READERS if kind in fields]
    if len(kinds) != 1:
        told = f"not {' and '.join(kinds)}" if kinds else f"one of {', '.join(_READERS)}"
        raise TraceError(number, f"a line says one thing: {told}")
    kind = kinds[0]
    allowed = {"t", "agent", kind, *_EXTRAS.get(kind, ())}
    for key in fields:
        if key not in allowed:
            raise TraceError(number, f'"{key}" means nothing beside "{kind}"')
    try:
        what = _READERS[kind](fields)
        agent = _agent(fields, kind, default)
        return TraceLine(number, _t_ms(fields.get("t")), agent, what)
    except ValueError as error:
        raise TraceError(number, str(error)) from None
    except RecursionError:  # writing it anew may take a level more than reading it
        raise TraceError(number, "nested too deeply") from None


def _t_ms(t: object) -> int:
    if isinstance(t, bool) or not isinstance(t, int | float):
        raise ValueError("t is a number of seconds")  # noqa: TRY004 - told with its line
    if not 0 <= t <= DURATION_MS_MAX / 1000:
        raise ValueError("t is a number of seconds from 0 on")
    return round(t * 1000)


def _agent(fields: Mapping[str, object], kind: str, default: str | None) -> str | None:
    agent = fields.get("agent", default if kind in _ABOUT_ONE else None)
    if agent is None and kind in _ABOUT_ONE:
        raise ValueError('there are several agents; say which: "agent"')
    if agent is not None and not isinstance(agent, str):
        raise ValueError("agent is a name")
    return agent


def _read_start(fields: Mapping[str, object]) -> Start:
    if fields["start"] is not True:
        raise ValueError("start is true")
    return Start(_read_at(fields.get("at")), _read_intents(fields.get("intents", {})))


def _read_intents(said: object) -> Mapping[str, str]:
    if not isinstance(said, dict) or any(word not in INTENTS for word in said.values()):
        raise ValueError(f"intents says of each agent one of {', '.join(INTENTS)}")
    return said


def _read_at(at: object) -> int | None:
    if at is None:
        return None
    if not isinstance(at, str):
        raise ValueError('at is a time such as "2026-11-21T00:00:00Z"')  # noqa: TRY004 - as above
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise ValueError(f'at: {at!r} is no time such as "2026-11-21T00:00:00Z"') from None
    if moment.tzinfo is None:
        raise ValueError("at needs a zone, such as Z")
    return round(moment.timestamp() * 1000)


def _read_said(fields: Mapping[str, object]) -> Said:
    return Said(json.dumps(fields["line"]).encode())


def _read_notified(fields: Mapping[str, object]) -> Notified:
    text = fields["notify"]
    if not isinstance(text, str):
        raise ValueError('notify is a text such as "READY=1"')  # noqa: TRY004 - told with its line
    return Notified(text.encode(errors="replace"))


def _read_noted(fields: Mapping[str, object]) -> Noted:
    if not isinstance(fields["note"], str):
        raise ValueError("note is a text")  # noqa: TRY004 - told with its line
    return Noted()


def _read_measured(fields: Mapping[str, object]) -> Measured:
    rss = fields["rss"]
    cpu_ms = _whole(fields, "cpu_ms", 0, COUNTER_MAX)
    io_bytes = _whole(fields, "io_bytes", 0, COUNTER_MAX)
    if rss is None:
        return Measured(None)
    if isinstance(rss, bool) or not isinstance(rss, int | float):
        raise ValueError("rss is a number of bytes")  # noqa: TRY004 - told with its line
    return Measured(rss, cpu_ms, io_bytes)


def _read_ended(fields: Mapping[str, object]) -> Ended:
    end = fields["exit"]
    if not isinstance(end, dict) or not end.keys() <= {"code", "signal", "oom"}:
        raise ValueError('exit is {"code": …} or {"signal": …}, with "oom" or without')
    code = _whole(end, "code", 0, EXIT_CODE_MAX)
    signal = _whole(end, "signal", 1, SIGNAL_MAX)
    if code is not None and signal is not None:
        raise ValueError("an exit has a code or a signal, not both")
    oom = end.get("oom", False)
    if not isinstance(oom, bool):
        raise ValueError("oom is true or false")  # noqa: TRY004 - told with its line
    if oom and code is None and signal is None:
        signal = SIGKILL
    return Ended(code, signal, oom, _whole(fields, "incarnation", 1, LINES_MAX))


def _whole(fields: Mapping[str, object], key: str, least: int, most: int) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{key} is a whole number from {least} to {most}")
    return value


def _read_commanded(fields: Mapping[str, object]) -> Commanded:
    return Commanded(json.dumps(fields["cmd"]).encode())


def _read_daemon(fields: Mapping[str, object]) -> Daemon:
    if fields["daemon"] not in ("crash", "start"):
        raise ValueError('daemon is "crash" or "start"')
    return Daemon(up=fields["daemon"] == "start")


def _read_changed(fields: Mapping[str, object]) -> Changed:
    settings = fields["world"]
    if not isinstance(settings, dict):
        raise ValueError("world is an object")  # noqa: TRY004 - told with its line
    for key, value in settings.items():
        if key not in _WORLD:
            raise ValueError(f'"{key}" is nothing of the world; there is {", ".join(_WORLD)}')
        good, told = _WORLD[key]
        if not good(value):
            raise ValueError(f"{key} is {told}")
    return Changed(settings)


def _read_finished(fields: Mapping[str, object]) -> Finished:
    if fields["end"] is not True:
        raise ValueError("end is true")
    return Finished()


def _ok_or_fail(value: object) -> bool:
    return value in ("ok", "fail") or value is None


def _seconds_or_none(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= DURATION_MS_MAX / 1000


def _judgement_or_fail(value: object) -> bool:
    if value is None or value in ("ok", "fail"):
        return True
    try:
        decode_judgement(json.dumps(value).encode())
    except ValueError:
        return False
    return True


def _size_or_none(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= SIZE_BYTES_MAX


_READERS: Final[Mapping[str, Callable[[Mapping[str, object]], Happening]]] = {
    "start": _read_start,
    "line": _read_said,
    "notify": _read_notified,
    "note": _read_noted,
    "rss": _read_measured,
    "exit": _read_ended,
    "cmd": _read_commanded,
    "daemon": _read_daemon,
    "world": _read_changed,
    "fleet": read_seen,
    "end": _read_finished,
}
_EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "start": ("at", "intents"),
    "exit": ("incarnation",),
    "rss": ("cpu_ms", "io_bytes"),
}
_ABOUT_ONE: Final = frozenset({"line", "notify", "rss", "exit"})
_WORLD: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "spawn": (_ok_or_fail, '"ok" or "fail"'),
    "validate": (_ok_or_fail, '"ok" or "fail"'),
    "judge_takes": (_seconds_or_none, "a number of seconds, or null"),
    "judge": (_judgement_or_fail, '{"closer": …, "confidence": …}, "fail", or null'),
    "deaf_to_sigterm": (lambda value: isinstance(value, bool) or value is None, "true or false"),
    "memory_limit": (_size_or_none, "a number of bytes, or null"),
}
