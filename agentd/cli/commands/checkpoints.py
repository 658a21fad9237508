"""agentctl checkpoints: what agents have kept, and what they had in flight."""

import json
from typing import Any

import click

from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors
from agentd.cli.views.checkpoints import checkpoint_table


@click.command("checkpoints")
@selectors(required=False)
@click.option("--state", is_flag=True, help="Print the state itself, of one agent.")
@click.option("--seq", type=click.IntRange(min=1), help="The state of this checkpoint.")
@click.pass_obj
def command(call: Invocation, /, select: tuple[str, ...], *, state: bool, seq: int | None) -> None:
    """Show checkpoints, the newest first, and actions of which no end is known."""
    document = call.client.checkpoints(select, state=state or seq is not None, seq=seq)
    if state or seq is not None:
        call.answer(document, state_text)
    else:
        call.answer(document, lambda shown: checkpoint_table(shown, call.today()))


def state_text(document: dict[str, Any]) -> str:
    """Write the states as JSON, in ASCII, so that no terminal is fooled by them."""
    return "\n".join(json.dumps(agent.get("state"), indent=2) for agent in document["agents"])
