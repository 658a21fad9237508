"""agentctl is-healthy: are agents healthy? For scripts."""

import click

from agentd.cli import exits
from agentd.cli.commands.status import fetch
from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors


@click.command("is-healthy")
@selectors(required=True)
@click.pass_context
def command(ctx: click.Context, select: tuple[str, ...]) -> None:
    """Exit 0 if all selected agents are healthy, 3 if one isn't, 4 if one isn't known."""
    call = ctx.ensure_object(Invocation)
    document = fetch(call, select)
    call.confirm(
        document, lambda shown: "\n".join(str(agent["health"]) for agent in shown["agents"])
    )
    ctx.exit(max(map(exit_code, document["agents"]), default=exits.UNKNOWN))


def exit_code(agent: dict[str, object]) -> int:
    """Answer for one agent."""
    if agent.get("health") == "healthy":
        return exits.DONE
    return exits.UNKNOWN if agent.get("health") == "unknown" else exits.NOT_RUNNING
