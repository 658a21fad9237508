"""agentctl restart: stop and start agents."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import no_wait, reason, selectors


@click.command("restart")
@selectors(required=True)
@reason
@no_wait
@click.pass_obj
def command(call: Invocation, /, select: tuple[str, ...], reason: str, *, no_wait: bool) -> None:
    """Stop and start agents, and wait until they are ready; never counted as a failure."""
    written = call.client.restart(select, reason)
    carry_out(call, written, None if no_wait else "ready")
