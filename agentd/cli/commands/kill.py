"""agentctl kill: kill whole process trees, and keep them down until resumed."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import no_wait, reason, selectors


@click.command("kill")
@selectors(required=True)
@reason
@no_wait
@click.pass_obj
def command(call: Invocation, /, select: tuple[str, ...], reason: str, *, no_wait: bool) -> None:
    """Kill the whole tree of agents at once, and keep them down until resumed.

    It holds over restarts of the daemon and of the machine; it ends the execution.
    """
    carry_out(call, call.client.kill(select, reason), None if no_wait else "stopped")
