"""agentctl breakers: which shared dependencies fail, and for whom."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.views.breakers import breakers_table


@click.command("breakers")
@click.pass_obj
def command(call: Invocation) -> None:
    """Show the dependencies that agents share, and whether they may be called now."""
    call.answer(call.client.breakers(), breakers_table)
