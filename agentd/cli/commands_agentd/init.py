"""agentd init: a commented starter configuration."""

import os
from pathlib import Path

import click

from agentd.cli.exits import FAILED, CommandError
from agentd.config.places import User, config_place

_MAIN = """\
# agentd.toml: the daemon, and what all agents have in common.
# Every option: docs/config.md, config.example.toml, or `agentd schema` for editors.

[daemon]
# log_level = "info"

[defaults]
# Any option of an agent, for all that don't say otherwise.
# restart.cooldown = "5m"
# heartbeat.interval = "30s"

# An agent stands here as [agents.NAME], or in agents.d/NAME.toml without that header.
"""

_EXAMPLE = """\
# agents.d/example.toml: one agent. Its name is that of this file.
# Put your own program here, then: agentctl reload, agentctl start example

# A list, or one string split as a shell would; no shell runs it.
command = ["sleep", "infinity"]
# directory = "/srv/example"
# environment = { REGION = "eu" }
# Secrets: a file of KEY=value lines, mode 0600.
# environment_files = ["example.env"]
description = "An example that only sleeps"
autostart = false

[heartbeat]
# Leave this out (the default is true) once the program sends heartbeats.
required = false

[restart]
policy = "on-failure"
# At least this long between two automatic restarts; the first one comes at once.
cooldown = "5m"
# The third failure in a row calls a human.
failures_max = 3

[memory]
# For the whole tree of processes; empty: no limit.
limit = ""
"""

STARTER = {"agentd.toml": _MAIN, "agents.d/example.toml": _EXAMPLE}


@click.command("init")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
def command(directory: Path | None) -> None:
    """Write a commented starter configuration into DIRECTORY (default: where agentd looks)."""
    if directory is None:
        file, _ = config_place(User(os.environ, os.geteuid(), Path.home()))
        directory = file.parent
    for path in write_starter(directory):
        print(path)


def write_starter(directory: Path) -> list[Path]:
    """Write the files of the starter and return them; refuse, and write none, if one exists."""
    existing = [directory / name for name in STARTER if os.path.lexists(directory / name)]
    if existing:
        raise CommandError(
            FAILED,
            f"{existing[0]} exists already; nothing was written",
            "agentd init DIRECTORY writes elsewhere",
        )
    written = []
    for name, text in STARTER.items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise CommandError(
                FAILED, f"{path}: {(error.strerror or str(error)).lower()}"
            ) from error
        written.append(path)
    return written
