"""agentctl unhold: allow automatic starts again."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import reason, selectors


@click.command("unhold")
@selectors(required=True)
@reason
@click.pass_obj
def command(call: Invocation, select: tuple[str, ...], reason: str) -> None:
    """Allow automatic starts of agents again."""
    carry_out(call, call.client.unhold(select, reason))
