"""agentd version: print it."""

import click

from agentd import __version__


@click.command("version")
def command() -> None:
    """Print the version."""
    print(f"agentd {__version__}")
