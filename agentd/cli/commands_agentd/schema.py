"""agentd schema: the configuration as a JSON Schema, for editors."""

import json

import click

from agentd.config.json_schema import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of agentd.toml, for editors that complete and check TOML."""
    print(json.dumps(json_schema(), indent=2))
