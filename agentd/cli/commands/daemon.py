"""agentctl daemon: the daemon's own health."""

from typing import Any

import click

from agentd.cli.invocation import Invocation
from agentd.reporting.words import visible


@click.command("daemon")
@click.argument("action", required=False, type=click.Choice(["reexec"]))
@click.pass_obj
def command(call: Invocation, action: str | None) -> None:
    """Show the daemon's own health and counters.

    `daemon reexec` replaces it by the installed version; agents aren't touched.
    """
    document = call.client.daemon(action)
    if action:
        call.confirm(document, lambda _document: "agentd replaces itself; agents go on")
    else:
        call.answer(document, render)


def render(document: dict[str, Any]) -> str:
    """Write `name  value` lines: the daemon's figures, then its counters."""
    figures = {**document.get("daemon", {}), **document.get("counters", {})}
    width = max(map(len, figures), default=0)
    return "\n".join(f"{visible(name):<{width}}  {_value(figures[name])}" for name in figures)


def _value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list):
        return visible(", ".join(map(str, value))) or "-"
    if isinstance(value, dict):
        return visible(", ".join(f"{name} {part}" for name, part in value.items())) or "-"
    return visible(value)
