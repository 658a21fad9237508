"""agentctl is-healthy: are agents healthy? For scripts."""

from collections.abc import Sequence
from typing import Any, Final

import click

from agentd.cli import exits
from agentd.cli.options import selectors
from agentd.cli.question import answer

_CODES: Final = {"healthy": exits.DONE, "unknown": exits.UNKNOWN}


@click.command("is-healthy")
@selectors(required=True)
@click.pass_context
def command(ctx: click.Context, select: tuple[str, ...]) -> None:
    """Exit 0 if all selected agents are healthy, 3 if one isn't, 4 if one isn't known."""
    answer(ctx, select, lambda agent: str(agent["health"]), exit_code)


def exit_code(agents: Sequence[dict[str, Any]]) -> int:
    """Answer for all of them: what isn't known outweighs what is bad."""
    codes = (_CODES.get(str(agent["health"]), exits.NOT_RUNNING) for agent in agents)
    return max(codes, default=exits.UNKNOWN)
