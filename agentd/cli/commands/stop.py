"""agentctl stop: stop agents, and keep them down until they are started."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import no_wait, reason, selectors


@click.command("stop")
@selectors(required=True)
@reason
@no_wait
@click.pass_obj
def command(call: Invocation, /, select: tuple[str, ...], reason: str, *, no_wait: bool) -> None:
    """Stop agents, and keep them down until started; wait until their trees are empty."""
    written = call.client.stop(select, reason)
    carry_out(call, written, None if no_wait else "stopped")
