"""Commands of a trace: checked as the socket checks them, and handed to the core."""

import json
from typing import Final

from agentd.core.commands import COMMANDS as CORE_COMMANDS
from agentd.core.events import Requested, ShutdownAsked
from agentd.wire.commands import decode_command
from agentd.wire.lines import BadLine

WHO: Final = "the trace"


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
