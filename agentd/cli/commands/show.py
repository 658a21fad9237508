"""agentctl show: the effective configuration, and where each value comes from."""

import json
from typing import Any

import click

from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors
from agentd.reporting.words import visible


@click.command("show")
@selectors(required=False)
@click.pass_obj
def command(call: Invocation, select: tuple[str, ...]) -> None:
    """Show the effective configuration; each value with the file and line it comes from."""
    call.answer(call.client.show(select), render)


def render(document: dict[str, Any]) -> str:
    """Write `key = value  # origin` lines below a line with the agent's name."""
    return "\n\n".join(_agent(name, keys) for name, keys in document["agents"].items())


def _agent(name: str, keys: dict[str, Any]) -> str:
    lines = [f"{visible(key)} = {_value(entry.get('value'))}" for key, entry in keys.items()]
    width = min(max(map(len, lines), default=0), 60)
    origins = [visible(entry.get("origin", "")) for entry in keys.values()]
    rows = (f"{line:<{width}}  # {origin}" for line, origin in zip(lines, origins, strict=True))
    return "\n".join([f"[{visible(name)}]", *rows])


def _value(value: object) -> str:
    return visible(json.dumps(value, ensure_ascii=False))
