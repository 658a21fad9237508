"""agentd start: run the daemon in the foreground."""

from pathlib import Path

import click


@click.command("start")
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    envvar="AGENTD_CONFIG",
    help="The configuration file.",
)
@click.option(
    "-s",
    "--socket",
    type=click.Path(path_type=Path),
    envvar="AGENTD_SOCKET",
    help="Where to listen.",
)
@click.pass_context
def command(ctx: click.Context, config: Path | None, socket: Path | None) -> None:
    """Run the daemon in the foreground until SIGTERM, which stops all agents first.

    SIGHUP reloads the configuration, SIGUSR2 starts a new version without touching agents.
    """
    # The one place of the command line that knows the daemon, and only now.
    from agentd.daemon.main import run  # noqa: PLC0415 - see above

    ctx.exit(run(config, socket))
