"""agentctl wait: for scripts that go on once agents are ready, healthy, stopped or paused."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import lines, refuse_unmet
from agentd.cli.options import selectors


@click.command("wait")
@selectors(required=True)
@click.option(
    "--for",
    "state",
    type=click.Choice(["ready", "healthy", "stopped", "paused"]),
    default="ready",
    show_default=True,
    help="What to wait for.",
)
@click.pass_obj
def command(call: Invocation, select: tuple[str, ...], state: str) -> None:
    """Wait until all selected agents are ready, healthy, stopped or paused.

    --timeout bounds it (one minute): exit 124 when it is over, 1 when it can't come true.
    """
    document = call.client.wait(select, state, call.left_s())
    call.confirm(document, lines)
    refuse_unmet(document, state)
