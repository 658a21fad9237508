"""Commands of operators and viewers: the fixed table of CONTRACT 5.2, and bytes to `Command`.

A command is looked up in the table by its whole name and nowhere else. Its arguments are
checked against one struct; arguments that it doesn't know are passed over.
"""

import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from agentd.config.names import FLEET_AGENT
from agentd.core.waiting import Goal
from agentd.wire.hosts import FleetArgs
from agentd.wire.limits import SELECT_MAX, Integer, LineId, Name, Seconds, Text
from agentd.wire.lines import PARSE_ERRORS, BadLine, bad_line, describe, examined

Role = Literal["agent", "viewer", "operator"]
Select = Annotated[list[Name], Meta(max_length=SELECT_MAX)]
Offsets = Annotated[dict[Name, Integer], Meta(max_length=SELECT_MAX)]


class NoArgs(Struct):
    """A command without arguments."""


class SelectArgs(Struct):
    """Which agents: names, globs, `tag:NAME`, `all`; none means all where it only reads."""

    select: Select | None = None


class StatusArgs(SelectArgs):
    """`status`: `all` shows the internal agents too, `counters` what only ever rises."""

    all: bool | None = None
    counters: bool | None = None


class WriteArgs(SelectArgs):
    """A change: whom it is about, and why."""

    reason: Text | None = None


class StartArgs(WriteArgs):
    """`start`: `fresh` begins a new execution."""

    fresh: bool | None = None


class SignalArgs(WriteArgs, kw_only=True):
    """`signal`: its name, such as SIGHUP."""

    signal: Name

    def __post_init__(self) -> None:
        if self.signal not in signals.Signals.__members__:
            raise ValueError(f"signal: {self.signal!r} is not the name of a signal, such as SIGHUP")


class WaitArgs(SelectArgs, kw_only=True):
    """`wait`: what for, and how long at most."""

    goal: Goal | None = msgspec.field(name="for", default=None)
    timeout_s: Seconds | None = None


class EventsArgs(SelectArgs):
    """`events`: a page of them, or from where on to follow; `trace`: what was recorded instead."""

    types: Select | None = None
    after: Integer | None = None
    since_ms: Integer | None = None
    limit: Integer | None = None
    trace: bool | None = None


class IncidentsArgs(SelectArgs):
    """`incidents`: the newest of them, or all about the one whose number is `id`."""

    open: bool | None = None
    id: Integer | None = None
    limit: Integer | None = None


class AlertsArgs(Struct):
    """`alerts`: the queue, or with `test` what comes of a message to the sink of that name."""

    test: Text | None = None


class AckArgs(Struct):
    """`ack`: the number of the incident that somebody has in hand, and what he says of it."""

    id: Integer
    reason: Text | None = None


class LogsArgs(SelectArgs):
    """`logs`: how much, from when, what; `from`: the offset that each agent was followed to."""

    lines: Integer | None = None
    since_ms: Integer | None = None
    grep: Text | None = None
    raw: bool | None = None
    offsets: Offsets | None = msgspec.field(name="from", default=None)


class HistoryArgs(SelectArgs):
    """`history`: since when, in ms since 1970; a week where that isn't said.

    With `series` also figures over time, a point every `step_s` seconds or more; `since` is the
    same moment as ISO 8601.
    """

    since_ms: Integer | None = None
    since: Text | Integer | None = None
    series: bool | None = None
    step_s: Integer | None = None


class ReportArgs(Struct):
    """`report`: the date (`2026-11-20`), `today` or `yesterday`; the last whole day without."""

    date: Text | None = None


class CheckpointsArgs(SelectArgs):
    """`checkpoints`: with `state` what one agent has kept, the last or number `seq`."""

    state: bool | None = None
    seq: Integer | None = None


class ReloadArgs(Struct):
    """`reload`: `dry_run` shows the plan and does nothing."""

    dry_run: bool | None = None


class DaemonArgs(Struct):
    """`daemon`: its own health, or `reexec`."""

    action: Literal["reexec"] | None = None


class UnfollowArgs(Struct):
    """`unfollow`: the id of the command on this connection whose stream is to end."""

    id: LineId


class ShutdownArgs(Struct):
    """`shutdown`: why."""

    reason: Text | None = None


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """Who may send a command, whether it changes anything, and what it takes."""

    role: Role
    mutates: bool
    args: type[Struct] = NoArgs
    internal: str = ""
    """The internal agent that alone may send it, on its own channel; empty: whoever may."""


def _read(args: type[Struct] = NoArgs, role: Role = "viewer") -> CommandSpec:
    return CommandSpec(role, mutates=False, args=args)


def _write(args: type[Struct] = WriteArgs) -> CommandSpec:
    return CommandSpec("operator", mutates=True, args=args)


COMMANDS: Final[Mapping[str, CommandSpec]] = {
    "ping": _read(role="agent"),
    "version": _read(),
    "status": _read(StatusArgs),
    "show": _read(SelectArgs),
    "start": _write(StartArgs),
    "stop": _write(),
    "restart": _write(),
    "kill": _write(),
    "pause": _write(),
    "resume": _write(),
    "reset": _write(),
    "hold": _write(),
    "unhold": _write(),
    "signal": _write(SignalArgs),
    "wait": _read(WaitArgs, role="operator"),  # viewers ask again: nothing is kept for them
    "events": _read(EventsArgs),
    "unfollow": _read(UnfollowArgs),
    "incidents": _read(IncidentsArgs),
    "ack": _write(AckArgs),
    "history": _read(HistoryArgs),
    "report": _read(ReportArgs),
    "logs": _read(LogsArgs, role="operator"),  # they hold whatever an agent prints, secrets too
    "alerts": _read(AlertsArgs, role="operator"),  # errors name receivers
    "checkpoints": _read(CheckpointsArgs, role="operator"),  # states hold secrets
    "breakers": _read(),
    "reload": _write(ReloadArgs),
    "daemon": _read(DaemonArgs),  # `reexec` is a write: see `needs`
    "shutdown": _write(ShutdownArgs),
    "fleet": CommandSpec("operator", mutates=False, args=FleetArgs, internal=FLEET_AGENT),
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command whose name is in the table and whose arguments have been checked."""

    id: LineId | None
    cmd: str
    args: dict[str, Any] = field(default_factory=dict)
    follow: bool = False

    @property
    def spec(self) -> CommandSpec:
        return COMMANDS[self.cmd]

    @property
    def needs(self) -> Role:
        """The least role that may send it."""
        return needs(self.cmd, self.args)

    @property
    def mutates(self) -> bool:
        """Whether it changes something, and so must not be run twice under one id."""
        if self.cmd == "reload" and self.args.get("dry_run"):
            return False
        return self.spec.mutates or is_reexec(self.cmd, self.args)

    @property
    def traces(self) -> bool:
        """Whether it asks for what agents said, as it was recorded."""
        return asks_for_traces(self.cmd, self.args)


def needs(cmd: str, args: Mapping[str, object]) -> Role:
    """Return the least role that may send a command of the table, right arguments or wrong."""
    if is_reexec(cmd, args) or asks_for_traces(cmd, args):
        return "operator"
    return COMMANDS[cmd].role


def asks_for_traces(cmd: str, args: Mapping[str, object]) -> bool:
    """Whether a command asks for what agents said, as it was recorded."""
    return cmd == "events" and bool(args.get("trace"))


def is_reexec(cmd: str, args: Mapping[str, object]) -> bool:
    """Whether a command asks the daemon to do something, instead of how it is."""
    return cmd == "daemon" and args.get("action") is not None


@dataclass(frozen=True, slots=True)
class NamedCommand:
    """A command whose name is in the table, and of which nothing else has been checked.

    Who may send it is asked first, so that whoever may not learns nothing else about it.
    """

    cmd: str
    id: LineId | None
    raw: bytes
    args: Mapping[str, object]
    """As they came; empty where they are no object."""

    @property
    def needs(self) -> Role:
        """The least role that may send it."""
        return needs(self.cmd, self.args)

    @property
    def internal(self) -> str:
        """The internal agent that alone may send it; empty: whoever has the role."""
        return COMMANDS[self.cmd].internal

    @property
    def traces(self) -> bool:
        """Whether it asks for what agents said, as it was recorded."""
        return asks_for_traces(self.cmd, self.args)

    def checked(self) -> Command:
        """Return it with its arguments checked; `BadLine` names the field that is wrong."""
        try:
            asked = _decode_envelope(self.raw)
        except PARSE_ERRORS as error:
            raise bad_line(self.raw, error) from None
        args = asked.args or {}
        try:
            msgspec.convert(args, COMMANDS[self.cmd].args)
        except PARSE_ERRORS as error:
            raise BadLine("bad_request", f"args.{describe(error)}", asked.id) from None
        return Command(asked.id, self.cmd, args, bool(asked.follow))


class _Envelope(Struct):
    cmd: Name
    id: LineId | None = None
    args: dict[str, Any] | None = None
    follow: bool | None = None


class _NameOnly(Struct):
    cmd: Name
    args: object = None


_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_name: Final = msgspec.json.Decoder(_NameOnly).decode


def named_command(raw: bytes, line_id: LineId | None = None) -> NamedCommand:
    """Look a command up by its name, and by nothing else.

    `BadLine`: `bad_request` for what holds no name, `unknown_command` for one that is not in
    the table.
    """
    try:
        raw = examined(raw)
        asked = _decode_name(raw)
    except (BadLine, *PARSE_ERRORS) as error:
        raise bad_line(raw, error) from None
    if asked.cmd not in COMMANDS:
        told = f"no command is called {asked.cmd!r:.80}"
        raise BadLine("unknown_command", told, line_id)
    args = asked.args if isinstance(asked.args, dict) else {}
    return NamedCommand(asked.cmd, line_id, raw, args)


def decode_command(raw: bytes) -> Command:
    """Decode one command, whoever may send it.

    `BadLine`: `bad_request` names the field that is wrong, `unknown_command` a name that is
    not in the table.
    """
    try:
        return named_command(raw).checked()
    except BadLine as bad:
        if bad.id is not None:
            raise
        raise bad_line(raw, bad, bad.code) from None
