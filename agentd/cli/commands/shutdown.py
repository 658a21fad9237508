"""agentctl shutdown: stop all agents and the daemon."""

import click

from agentd.cli.exits import TIMED_OUT, CommandError
from agentd.cli.invocation import Invocation
from agentd.cli.options import no_wait, reason

WAIT_S = 150.0


@click.command("shutdown")
@reason
@no_wait
@click.pass_obj
def command(call: Invocation, /, reason: str, *, no_wait: bool) -> None:
    """Stop all agents in reverse order of dependency, then the daemon, and wait for its end.

    Under systemd, `systemctl stop agentd` does the same and keeps it down.
    """
    document = call.client.shutdown(reason)
    if not no_wait and not call.client.gone(call.left_s() or WAIT_S):
        raise CommandError(
            TIMED_OUT, "agentd is still stopping its agents", "agentctl status shows which"
        )
    call.confirm(document, lambda _document: "agentd stops" if no_wait else "agentd has stopped")
