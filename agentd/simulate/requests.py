"""What a trace says in the words of sockets: checked as those check it, for the core."""

import json
from typing import Final

from agentd.core.acknowledging import CMD as ACK
from agentd.core.commands import COMMANDS as CORE_COMMANDS
from agentd.core.events import Requested, ShutdownAsked
from agentd.core.records import Durable
from agentd.core.states import Intent, State
from agentd.wire.commands import decode_command
from agentd.wire.lines import AgentLine, BadLine
from agentd.wire.notify import BadDatagram, parse

WHO: Final = "the trace"


def wanted(intent: str) -> Durable:
    """Return the record of an agent that has not run yet, and of which that was wanted."""
    held = intent == "held"
    paused = State.PAUSED if intent == "paused" else State.STOPPED
    return Durable(intent=Intent.UP if held else Intent(intent), held=held, state=paused)


def notified(raw: bytes) -> AgentLine:
    """Read a datagram of an agent; `BadLine`: it is none."""
    try:
        return AgentLine(parse(raw))
    except BadDatagram:
        raise BadLine("bad_request", "notify: not a datagram of sd_notify") from None


class Refused(Exception):  # noqa: N818 - named after what became of the command
    """A command that is not one, or that means nothing in a simulation."""


def requested(raw: bytes, number: int) -> Requested | ShutdownAsked:
    """Turn one command into the core's event; `number` tells it from all others.

    `Refused`: the socket would have refused it, or it only reads, or needs files.
    """
    try:
        command = decode_command(raw)
    except BadLine as bad:
        raise Refused(bad.message) from None
    args = command.args
    if command.cmd == "shutdown":
        return ShutdownAsked(WHO)
    if command.cmd == ACK:
        return Requested(request=f"line {number}", cmd=ACK, who=WHO, options=dict(args))
    if command.cmd not in CORE_COMMANDS:
        raise Refused(f"{json.dumps(command.cmd)} changes nothing in a simulation")
    if not args.get("select"):
        raise Refused("args.select: a command that changes something names its agents")
    options = {key: value for key, value in args.items() if key not in ("select", "reason")}
    return Requested(
        request=f"line {number}",
        cmd=command.cmd,
        who=WHO,
        select=tuple(args["select"]),
        reason=args.get("reason") or "",
        options=options,
    )
