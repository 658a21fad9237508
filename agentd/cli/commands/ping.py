"""agentctl ping: does the daemon answer?"""

from time import monotonic

import click

from agentd.cli.invocation import Invocation


@click.command("ping")
@click.pass_obj
def command(call: Invocation) -> None:
    """Ask whether the daemon answers: exit 0, or 7 when nobody listens."""
    begun = monotonic()
    document = call.client.ping()
    took_ms = (monotonic() - begun) * 1000
    socket = call.client.socket
    call.confirm(document, lambda _document: f"agentd answers on {socket} ({took_ms:.1f} ms)")
