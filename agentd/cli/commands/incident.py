"""agentctl incident: all about one incident."""

import click

from agentd.cli.exits import FAILED, CommandError
from agentd.cli.invocation import Invocation
from agentd.cli.options import IncidentNumber
from agentd.cli.views.incidents import incident_text
from agentd.client import AgentdError


@click.command("incident")
@click.argument("number", metavar="ID", type=IncidentNumber())
@click.pass_obj
def command(call: Invocation, /, number: int) -> None:
    """Show what broke, where it is stuck, what was done, and what is left to do."""
    try:
        document = call.client.incident(number)
    except AgentdError as error:
        if error.code == "bad_request":  # a number that nothing has: no fault of the words
            raise CommandError(FAILED, error.message, error.hint) from None
        raise
    call.answer(document, lambda shown: incident_text(shown, call.width()))
