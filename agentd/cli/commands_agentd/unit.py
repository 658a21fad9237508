"""agentd unit: print the systemd unit for this installation."""

import re
import sys
from pathlib import Path

import click

from agentd.cli.systemd_unit import quoted, unit_text


def user_name(
    ctx: click.Context,  # noqa: ARG001 - click's signature
    param: click.Parameter,  # noqa: ARG001 - click's signature
    value: str | None,
) -> str | None:
    """Refuse a name that would not be one word of a unit file."""
    if value is not None and not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", value):
        raise click.BadParameter(f"{value!r} is no user name")
    return value


@click.command
@click.option(
    "--user",
    metavar="[NAME]",
    is_flag=False,
    flag_value="agentd",
    default=None,
    callback=user_name,
    help="Run the daemon and all agents as NAME (agentd), without any privilege.",
)
def command(user: str | None) -> None:
    """Print a systemd unit for this installation.

    Put it into place with `agentd unit > /etc/systemd/system/agentd.service`.
    """
    print(unit_text(f"{installed()} start", user), end="")


def installed() -> str:
    """Return how systemd calls this very installation, as words of a unit file.

    The path is taken as it stands, symbolic links included: /usr/local/bin/agentd goes on
    pointing to the newest version after an upgrade, its target doesn't.
    """
    for script in (Path(sys.argv[0]).absolute(), Path(sys.executable).with_name("agentd")):
        if script.name == "agentd" and script.is_file():
            return quoted(str(script))
    return f"{quoted(sys.executable)} -m agentd"
