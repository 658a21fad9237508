"""The `[fleet]` table of the user's own configuration."""

import os
from collections.abc import Mapping
from pathlib import Path

from agentd.cli.exits import FAILED, CommandError
from agentd.config.load import load
from agentd.config.places import User, config_place
from agentd.config.schema import FleetConfig


def fleet_config() -> tuple[FleetConfig, Path]:
    """Return the `[fleet]` table, and the directory that relative paths in it start from.

    A file that isn't there is an empty one, unless it was asked for by name. A mistake in the
    table itself is an error; one elsewhere is the daemon's business.
    """
    path, required = config_place(User(os.environ, os.geteuid(), Path.home()))
    loaded = load(path, required=required)
    for error in loaded.errors:
        if not loaded.is_usable or error.key.partition(".")[0] == "fleet":
            raise CommandError(FAILED, error.text("").removeprefix(": "))
    return loaded.config.fleet, path.parent


def listed_hosts() -> Mapping[str, str]:
    """Return `[fleet.hosts]`: the name of each host, and how ssh knows it."""
    return fleet_config()[0].hosts
