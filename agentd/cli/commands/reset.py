"""agentctl reset: forget failures and cooldown."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import reason, selectors


@click.command("reset")
@selectors(required=True)
@reason
@click.pass_obj
def command(call: Invocation, select: tuple[str, ...], reason: str) -> None:
    """Forget the failures and the cooldown of agents."""
    carry_out(call, call.client.reset(select, reason))
