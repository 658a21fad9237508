"""agentctl is-active: are agents running? For scripts."""

import click

from agentd.cli import exits
from agentd.cli.commands.status import fetch
from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors
from agentd.cli.selection import is_active


@click.command("is-active")
@selectors(required=True)
@click.pass_context
def command(ctx: click.Context, select: tuple[str, ...]) -> None:
    """Exit 0 if all selected agents are running, 3 if one isn't, 4 if one isn't known."""
    call = ctx.ensure_object(Invocation)
    document = fetch(call, select)
    call.confirm(
        document, lambda shown: "\n".join(str(agent["state"]) for agent in shown["agents"])
    )
    ctx.exit(max(map(exit_code, document["agents"]), default=exits.UNKNOWN))


def exit_code(agent: dict[str, object]) -> int:
    """Answer for one agent."""
    if is_active(agent):
        return exits.DONE
    return exits.NOT_RUNNING
