"""agentd check: everything that is wrong with the configuration, in one go."""

import json
import os
import sys
from pathlib import Path

import click

from agentd.cli import exits
from agentd.config.load import load
from agentd.config.loaded import Loaded
from agentd.config.places import User, config_place


@click.command("check")
@click.option("-c", "--config", help="The configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(ctx: click.Context, config: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Print every error of every configuration file; exit 1 if there is one.

    Warnings, and options that have no effect in this version, are printed as well.
    """
    user = User(os.environ, os.geteuid(), Path.home())
    file, required = config_place(user, config)
    loaded = load(file, required=required, system=user.is_root)
    if as_json:
        print(json.dumps(document(loaded)))
    else:
        for line in findings(loaded):
            print(line, file=sys.stderr)
        print(summary(loaded, file))
    ctx.exit(exits.FAILED if loaded.errors else exits.DONE)


def document(loaded: Loaded) -> dict[str, object]:
    """Return the document of `agentd check --json`."""
    return {
        "ok": not loaded.errors,
        "errors": [error.document() for error in loaded.errors],
        "warnings": [warning.document() for warning in loaded.warnings],
        "notices": [notice.document() for notice in loaded.notices],
    }


def findings(loaded: Loaded) -> list[str]:
    """Return each finding as text, the errors first."""
    return [
        *(error.text() for error in loaded.errors),
        *(warning.text("agentd: warning") for warning in loaded.warnings),
        *(notice.text("agentd: notice") for notice in loaded.notices),
    ]


def summary(loaded: Loaded, file: Path) -> str:
    """Return the last line: how many agents are right, and how many errors there are."""
    agents = len(loaded.config.agents)
    good = f"{agents} agent{'' if agents == 1 else 's'}"
    if not loaded.files:
        return f"{file}: there is no such file; agentd would start without agents"
    if not loaded.errors:
        return f"{file}: ok, {good}"
    errors = len(loaded.errors)
    return f"{file}: {errors} error{'' if errors == 1 else 's'}; right: {good}"
