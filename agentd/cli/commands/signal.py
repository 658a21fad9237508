"""agentctl signal: send a plain signal to agents."""

import click

from agentd.cli.invocation import Invocation
from agentd.cli.operate import carry_out
from agentd.cli.options import reason, selectors


@click.command("signal")
@selectors(required=True)
@click.argument("signal", metavar="SIGNAL")
@reason
@click.pass_obj
def command(call: Invocation, select: tuple[str, ...], signal: str, reason: str) -> None:
    """Send SIGNAL (HUP, SIGHUP or 1) to the main process of agents."""
    carry_out(call, call.client.signal(select, name_of(signal), reason))


def name_of(signal: str) -> str:
    """Return the full name of a signal; what is none is left for the daemon to refuse."""
    from signal import Signals  # noqa: PLC0415 - shadowed by the argument's name elsewhere

    if signal.isdecimal() and int(signal) in set(Signals):
        return Signals(int(signal)).name
    name = signal.upper()
    return name if name.startswith("SIG") else f"SIG{name}"
