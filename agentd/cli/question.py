"""What `is-active`, `is-healthy` and `is-failed` have in common: an exit code that answers."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from agentd.cli.commands.status import fetch
from agentd.cli.invocation import Invocation

Document = dict[str, Any]


def answer(
    ctx: click.Context,
    select: tuple[str, ...],
    shown: Callable[[Document], str],
    exit_code: Callable[[Sequence[Document]], int],
) -> None:
    """Print `shown` of each agent selected, and exit with the code for all of them together."""
    call = ctx.ensure_object(Invocation)
    document = fetch(call, select)
    call.confirm(document, lambda found: "\n".join(map(shown, found["agents"])))
    ctx.exit(exit_code(document["agents"]))
