"""agentctl is-active: are agents running? For scripts."""

from collections.abc import Sequence
from typing import Any

import click

from agentd.cli import exits
from agentd.cli.options import selectors
from agentd.cli.question import answer
from agentd.cli.selection import is_active


@click.command("is-active")
@selectors(required=True)
@click.pass_context
def command(ctx: click.Context, select: tuple[str, ...]) -> None:
    """Exit 0 if all selected agents are running, 3 if one isn't, 4 if one isn't known."""
    answer(ctx, select, lambda agent: str(agent["state"]), exit_code)


def exit_code(agents: Sequence[dict[str, Any]]) -> int:
    """Answer for all of them."""
    if not agents:
        return exits.UNKNOWN
    return exits.DONE if all(map(is_active, agents)) else exits.NOT_RUNNING
