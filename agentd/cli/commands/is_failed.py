"""agentctl is-failed: has an agent failed? For scripts."""

import click

from agentd.cli import exits
from agentd.cli.commands.status import fetch
from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors
from agentd.cli.selection import is_failed


@click.command("is-failed")
@selectors(required=True)
@click.pass_context
def command(ctx: click.Context, select: tuple[str, ...]) -> None:
    """Exit 0 if any selected agent has failed, 3 if none has, 4 if one doesn't exist.

    Failed: escalated, in cooldown after a failure, or unreachable.
    """
    call = ctx.ensure_object(Invocation)
    document = fetch(call, select)
    call.confirm(
        document,
        lambda shown: "\n".join(
            f"{agent['state']}, {agent['health']}" for agent in shown["agents"]
        ),
    )
    failed = any(map(is_failed, document["agents"]))
    ctx.exit(exits.DONE if failed else exits.NOT_RUNNING)
