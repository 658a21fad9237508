"""agentctl hold: allow no automatic start."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import reason, selectors


@click.command("hold")
@selectors(required=True)
@reason
@click.pass_obj
def command(call: Invocation, select: tuple[str, ...], reason: str) -> None:
    """Allow no automatic start of agents while they are held."""
    carry_out(call, call.client.hold(select, reason))
