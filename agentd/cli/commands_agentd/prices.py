"""agentd prices: write the price table from the extra `prices`."""

import os
import subprocess
import sys
from pathlib import Path

import click

import agentd
from agentd.cli.exits import FAILED, CommandError
from agentd.config.load import load
from agentd.config.places import User, config_place, places
from agentd.wire.prices import FILE_NAME

PROGRAM = "agentd.wire.pricetable"


@click.command("prices")
@click.option("-c", "--config", help="The configuration file.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write instead of the one that the daemon reads.",
)
def command(config: str | None, output: Path | None) -> None:
    """Write the prices of models as the installed genai-prices knows them.

    Nothing is fetched: bring the package up to date first (pip install -U genai-prices). A
    daemon that runs reads the new table at `agentctl reload`, or within an hour.
    """
    path = output or _path(config)
    # In a process of its own, as in the daemon: that package is larger than all of agentd.
    found = [str(Path(agentd.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    ended = subprocess.run(
        [sys.executable, "-m", PROGRAM, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise CommandError(FAILED, ended.stderr.strip() or "the price table was not written")
    print(f"{path}: {ended.stdout.strip()}")


def _path(config: str | None) -> Path:
    """Return where the daemon of this configuration looks for its table."""
    user = User(os.environ, os.geteuid(), Path.home())
    file, required = config_place(user, config)
    loaded = load(file, required=required, system=user.is_root)
    if not loaded.is_usable:
        for error in loaded.errors:
            print(error.text(), file=sys.stderr)
        raise CommandError(FAILED, "the configuration above has to be put right first")
    return places(user, file.absolute(), loaded.config.daemon).state_dir / FILE_NAME
