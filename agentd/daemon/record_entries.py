"""What the recorder keeps: one entry a thing that happened, as a line of JSON.

An entry begins with its moment (BOOTTIME, ms) and its kind. Lines of agents are taken as they
are and written out later, in a thread; of everything else there is little.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, get_args

import msgspec

from agentd.config.encodable import encodable, plain
from agentd.core import events as ev
from agentd.core.agent import Agent
from agentd.core.commands import COMMANDS
from agentd.core.lines import ActionBegun, CheckpointPut, Heartbeat, Line, Step
from agentd.core.select import SelectError, select

Entry = tuple[object, ...]
Agents = Mapping[str, Agent]

LINES: Final = "lines"
LINE_TYPES: Final[Mapping[str, type[Line]]] = {kind.__name__: kind for kind in get_args(Line)}

# What these hold is the agent's own business.
_WITH_CONTENT: Final[Mapping[type, Callable[[Any], Line]]] = {
    ActionBegun: lambda line: replace(line, detail=""),
    CheckpointPut: lambda _line: CheckpointPut(""),
    Step: lambda line: replace(line, note=None),
}
# Incidents of a simulation are others.
_ABOUT_INCIDENTS: Final = ("ack",)
# Bytes of a line beside its texts, roughly.
_LINE_BYTES: Final = 400
# A float, and its place in a tuple.
_FIGURE_BYTES: Final = 32

_encode: Final = msgspec.json.Encoder(enc_hook=plain).encode


def lines_entry(now_ms: int, agent: str, incarnation: int, lines: Sequence[Line]) -> Entry:
    """Keep lines as they are, without content."""
    return (now_ms, LINES, agent, incarnation, lines)


def about(event: ev.Event, now_ms: int, agents: Agents) -> Entry | None:
    """Return the entry of an event that holds no lines, before the core has heard of it."""
    match event:
        case ev.Sampled():
            seen = (event.rss_bytes, event.cpu_ms, event.io_bytes)
            return (now_ms, "rss", event.agent, event.incarnation, *seen)
        case ev.Exited():
            agent = agents.get(event.agent)
            if agent is None or agent.incarnation != event.incarnation or agent.stop is not None:
                return None  # by our own doing, which a policy does anew
            oom = event.evidence.oom_kills > 0
            return (now_ms, "exit", event.agent, event.code, event.signal, oom)
        case ev.SpawnFailed():
            return (now_ms, "failed", event.agent, event.error)
        case ev.Requested():
            return _command(event, now_ms, agents)
        case ev.ShutdownAsked():
            return (now_ms, "shutdown")
        case ev.Started():
            ends = {
                name: (fate.code, fate.signal)
                for name, fate in event.fates.items()
                if fate.ended and not fate.alive and fate.durable.stop_reason is None
            }
            return (now_ms, "started", ends)
        case ev.Configured():
            return (now_ms, "config")
        case _:
            return None


def _command(event: ev.Requested, now_ms: int, agents: Agents) -> Entry | None:
    if event.cmd not in COMMANDS or event.cmd in _ABOUT_INCIDENTS:
        return None
    try:
        names = select(agents, event.select)
    except SelectError:
        return None
    return (now_ms, "cmd", event.cmd, names, event.reason, dict(event.options))


def fleet(agents: Agents) -> dict[str, str]:
    """Return what is wanted of each agent, in the words of a trace's `intents`."""
    return {
        name: "held" if agent.durable.held and agent.intent == "up" else agent.intent.value
        for name, agent in agents.items()
        if not agent.config.external
    }


def weight_bytes(lines: Sequence[Line]) -> int:
    """Estimate the memory that lines hold."""
    weight = len(lines) * _LINE_BYTES
    for line in lines:
        if type(line) is Heartbeat:
            weight += len(line.latencies_ms) * _FIGURE_BYTES
            for text in (line.task, line.step, line.tool, line.goal):
                if text is not None:
                    weight += len(text)
        else:
            weight += sum(len(text) for text in _texts(line))
    return weight


def _texts(line: Line) -> Iterable[str]:
    for name in line.__slots__:
        value = getattr(line, name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from (each for each in value if isinstance(each, str))


def encoded(entries: Iterable[Entry], secrets: Sequence[str] = ()) -> bytes:
    """Write entries as lines of JSON, without the secrets in them."""
    payload = b"".join(_encoded(entry) for entry in entries)
    if not any(_encode(secret)[1:-1] in payload for secret in secrets):
        return payload
    hidden = (_hidden(msgspec.json.decode(line), secrets) for line in payload.splitlines())
    return b"".join(_encode(entry) + b"\n" for entry in hidden)


def _encoded(entry: Entry) -> bytes:
    if entry[1] == LINES:
        lines = entry[4]
        assert isinstance(lines, Sequence)
        entry = (*entry[:4], [_typed(line) for line in lines])
    try:
        return _encode(entry) + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair
        return _encode(encodable(msgspec.to_builtins(entry, enc_hook=plain))) + b"\n"


def _typed(line: Line) -> tuple[str, Line]:
    without = _WITH_CONTENT.get(type(line))
    return type(line).__name__, line if without is None else without(line)


def _hidden(value: object, secrets: Sequence[str]) -> object:
    """Return a value with the secrets taken out of its texts."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, dict):
        return {name: _hidden(each, secrets) for name, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each, secrets) for each in value]
    return value


def decoded(payload: bytes) -> list[list[object]]:
    """Read what `encoded` wrote; raises `msgspec.DecodeError` for anything else."""
    return [msgspec.json.decode(line, type=list[object]) for line in payload.splitlines()]


def line_of(told: object) -> Line | None:
    """Return a line of an agent as it was; None: a later version knows what it is."""
    try:
        name, fields = msgspec.convert(told, tuple[str, dict[str, object]])
        kind = LINE_TYPES.get(name)
        return None if kind is None else msgspec.convert(fields, kind)
    except msgspec.ValidationError:
        return None
