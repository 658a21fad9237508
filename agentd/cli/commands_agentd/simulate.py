"""agentd simulate: what this configuration would have done over a recorded trace."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from agentd.cli.exits import FAILED, NO_SUCH_AGENT, CommandError
from agentd.config.load import load
from agentd.simulate.driver import simulate
from agentd.simulate.trace import TraceError, read_trace

if TYPE_CHECKING:
    from agentd.config.schema import Config


@click.command
@click.option(
    "--config",
    "config_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration to try.",
)
@click.option("--agent", help="Simulate this agent alone, as if what it depends on were up.")
@click.argument("trace", type=click.Path(dir_okay=False, path_type=Path))
def command(config_file: Path, agent: str | None, trace: Path) -> None:
    """Play TRACE against a configuration, in virtual time.

    Prints events, and between them what would have been done, as JSON Lines.
    """
    config = _config(config_file, agent)
    try:
        with trace.open(encoding="utf-8") as lines:
            checked = read_trace(lines, config.agents, agent)
    except OSError as error:
        raise CommandError(FAILED, f"{trace}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CommandError(
            FAILED, f"{trace}: not UTF-8: {error.reason} at byte {error.start}"
        ) from None
    except TraceError as error:
        raise CommandError(FAILED, f"{trace}:{error.line}: {error.message}") from None
    simulate(config, checked, sys.stdout.write)


def _config(config_file: Path, agent: str | None) -> "Config":
    """Read the config; with `agent`, what is left of it is that agent, free to start."""
    loaded = load(config_file)
    if loaded.errors:
        told = "\n".join(error.text() for error in loaded.errors)
        raise CommandError(FAILED, told.removeprefix("agentd: "))
    config = loaded.config
    if agent is None:
        return config
    if agent not in config.agents:
        raise CommandError(NO_SUCH_AGENT, f'{config_file}: no agent is called "{agent}"')
    alone = msgspec.structs.replace(config.agents[agent], depends_on=[])
    return msgspec.structs.replace(config, agents={agent: alone})
