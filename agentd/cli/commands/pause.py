"""agentctl pause: hold agents back without ending their execution."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import no_wait, reason, selectors


@click.command("pause")
@selectors(required=True)
@reason
@no_wait
@click.pass_obj
def command(call: Invocation, /, select: tuple[str, ...], reason: str, *, no_wait: bool) -> None:
    """Hold agents where they stand, and keep their execution; `resume` lets them go on."""
    carry_out(call, call.client.pause(select, reason), None if no_wait else "paused")
