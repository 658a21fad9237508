"""agentctl incidents: what has broken, and what still is."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.options import NUMBER_MAX, selectors
from agentd.cli.views.incidents import incidents_table

INCIDENTS = 20


@click.command("incidents")
@selectors(required=False)
@click.option("--open", "open_only", is_flag=True, help="Only those that are not resolved.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, NUMBER_MAX), default=INCIDENTS, help="So many."
)
@click.pass_obj
def command(call: Invocation, /, select: tuple[str, ...], *, open_only: bool, lines: int) -> None:
    """Show incidents, the newest first; "agentctl incident ID" tells all about one."""
    document = call.client.incidents(select, open_only=open_only, limit=lines)
    call.answer(document, lambda shown: incidents_table(shown, call.today()))
