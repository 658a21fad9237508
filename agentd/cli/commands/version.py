"""agentctl version: of this command and of the daemon."""

from typing import Any

import click

from agentd import __version__
from agentd.cli.invocation import Invocation
from agentd.client import NotReachable, TimedOut
from agentd.reporting.words import visible


@click.command("version")
@click.pass_obj
def command(call: Invocation) -> None:
    """Show the version of agentctl, and of the daemon where one answers."""
    try:
        daemon = call.client.version()
    except (NotReachable, TimedOut):
        daemon = None  # that is an answer too: it must not keep the other half back
    call.answer({"agentctl": __version__, "daemon": daemon}, render)


def render(document: dict[str, Any]) -> str:
    """Write both versions, and say so where they differ."""
    lines = [f"agentctl {document['agentctl']}"]
    daemon = document["daemon"]
    if daemon is None:
        return "\n".join([*lines, "agentd   not reachable"])
    lines.append(f"agentd   {visible(daemon.get('version', '?'))}")
    if daemon.get("version") != document["agentctl"]:
        lines.append("they differ: agentctl daemon reexec makes agentd run the installed version")
    return "\n".join(lines)
