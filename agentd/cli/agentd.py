"""agentd: the daemon's own commands, which need no running daemon."""

import sys
from typing import Final, NoReturn

from agentd.cli import exits
from agentd.cli.lazy import LazyGroup

COMMANDS: Final = {
    "start": "Run the daemon in the foreground.",
    "check": "Check the configuration files.",
    "schema": "Print the JSON Schema of the configuration.",
    "init": "Write a commented starter configuration.",
    "unit": "Print a systemd unit for this installation.",
    "demo": "Run a throw-away fleet to watch.",
    "prices": "Write the price table from the extra prices.",
    "simulate": "Tell what agentd would have done over a recorded trace.",
    "version": "Print the version.",
}

agentd = LazyGroup(
    name="agentd",
    help="Keep agents running. Operate them with agentctl.",
    package="agentd.cli.commands_agentd",
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """Run the script `agentd`."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Python's own way out waits for every pool of threads: one that hangs, in a look at an agent
    # or at a disk, would keep a daemon that is done from ending.
    exits.leave(exits.run(agentd, "agentd"))
