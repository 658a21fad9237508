"""agentctl history: when agents were up and down, and why."""

from typing import Any

import click

from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors, since


@click.command("history")
@selectors(required=False)
@since
@click.pass_obj
def command(call: Invocation, /, select: tuple[str, ...], *, since: int | None) -> None:
    """Show when agents were up and down in the last week, and what they cost."""
    document = call.client.history(select, since_ms=since)
    call.answer(document, lambda shown: told(shown, call.width()))


def told(document: dict[str, Any], width: int | None) -> str:
    """Write a bar an agent, in the daemon's zone."""
    from agentd.reporting.timeline import timeline  # noqa: PLC0415 - not for `--json`
    from agentd.reporting.zones import zone_named  # noqa: PLC0415 - as above

    return timeline(document, zone_named(document["timezone"]), width)
