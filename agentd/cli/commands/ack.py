"""agentctl ack: say that somebody has incidents in hand."""

from typing import Any

import click

from agentd.cli.exits import FAILED, CommandError
from agentd.cli.invocation import Invocation
from agentd.cli.options import IncidentNumber, reason
from agentd.client import AgentdError
from agentd.reporting.words import visible


@click.command("ack")
@click.argument("numbers", metavar="ID...", nargs=-1, required=True, type=IncidentNumber())
@reason
@click.pass_obj
def command(call: Invocation, /, numbers: tuple[int, ...], *, reason: str) -> None:
    """Say that you know of incidents: their reminders end, and others see who has them in hand."""
    done, refused = [], []
    for number in dict.fromkeys(numbers):
        try:
            done.append(call.client.ack(number, reason))
        except AgentdError as error:
            if error.code != "bad_request":
                raise
            refused.append(error)  # a number that nothing has: the others are meant all the same
    if done:
        call.confirm({"incidents": done}, lines)
    if refused:
        told = "; ".join(error.message for error in refused)
        raise CommandError(FAILED, told, refused[0].hint)


def lines(document: dict[str, Any]) -> str:
    """Write a line an incident: who has it in hand now."""
    return "\n".join(map(_line, document["incidents"]))


def _line(incident: dict[str, Any]) -> str:
    subject, told = f"incident {incident['id']}", visible(incident.get("message", ""))
    return told if told.startswith(f"{subject} ") else f"{subject}: {told}"
