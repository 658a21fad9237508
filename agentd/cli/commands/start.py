"""agentctl start: start agents, and wait until they are ready."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import no_wait, reason, selectors


@click.command("start")
@selectors(required=True)
@click.option("--fresh", is_flag=True, help="Begin a new execution.")
@reason
@no_wait
@click.pass_obj
def command(
    call: Invocation, /, select: tuple[str, ...], reason: str, *, no_wait: bool, fresh: bool
) -> None:
    """Start agents, and wait until they are ready.

    By hand is never counted as a failure, and clears an escalation.
    """
    written = call.client.start(select, reason, fresh=fresh)
    carry_out(call, written, None if no_wait else "ready")
