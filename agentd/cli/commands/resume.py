"""agentctl resume: let paused or killed agents go on."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import no_wait, reason, selectors


@click.command("resume")
@selectors(required=True)
@reason
@no_wait
@click.pass_obj
def command(call: Invocation, /, select: tuple[str, ...], reason: str, *, no_wait: bool) -> None:
    """Let paused agents go on; a killed one begins a new execution."""
    written = call.client.resume(select, reason)
    carry_out(call, written, None if no_wait else "ready")
