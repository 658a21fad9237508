"""agentctl is-failed: has an agent failed? For scripts."""

from collections.abc import Sequence
from typing import Any

import click

from agentd.cli import exits
from agentd.cli.options import selectors
from agentd.cli.question import answer
from agentd.cli.selection import is_failed


@click.command("is-failed")
@selectors(required=True)
@click.pass_context
def command(ctx: click.Context, select: tuple[str, ...]) -> None:
    """Exit 0 if any selected agent has failed, 3 if none has, 4 if one doesn't exist.

    Failed: escalated, in cooldown after a failure, or unreachable.
    """
    answer(ctx, select, lambda agent: f"{agent['state']}, {agent['health']}", exit_code)


def exit_code(agents: Sequence[dict[str, Any]]) -> int:
    """Answer for all of them."""
    return exits.DONE if any(map(is_failed, agents)) else exits.NOT_RUNNING
