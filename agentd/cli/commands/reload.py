"""agentctl reload: apply the configuration files."""

import sys
from typing import Any

import click

from agentd.cli.exits import FAILED, CommandError, error_text
from agentd.cli.invocation import Invocation
from agentd.reporting.words import visible

Document = dict[str, Any]


@click.command("reload")
@click.option("--dry-run", is_flag=True, help="Show the plan, and do nothing.")
@click.pass_obj
def command(call: Invocation, /, *, dry_run: bool) -> None:
    """Apply the configuration files; an agent that didn't change isn't touched."""
    plan = call.client.reload(dry_run=dry_run)
    call.confirm(plan, render)
    errors = plan.get("errors") or ()
    for error in errors[:-1]:
        print(error_text("agentctl", _error(error), error.get("hint") or ""), file=sys.stderr)
    if errors:
        raise CommandError(FAILED, _error(errors[-1]), errors[-1].get("hint") or "")


def render(plan: Document) -> str:
    """Write a line a kind of change, with the keys that differ."""
    lines = []
    for kind in ("added", "removed", "restarted", "applied", "unchanged"):
        changes = [_change(change) for change in plan.get(kind) or ()]
        if changes:
            lines.append(f"{kind + ':':<11}{', '.join(changes)}")
    if plan.get("settings"):
        lines.append(f"settings:  {_change({'agent': 'agentd', 'keys': plan['settings']})}")
    fixed = ", ".join(plan.get("at_next_start") or ())
    if fixed:
        lines.append(f"only when agentd is started anew: {visible(fixed)}")
    if plan.get("dry_run"):
        lines.append("nothing was done (dry run)")
    return "\n".join(lines) or "no agents"


def _change(change: str | Document) -> str:
    if isinstance(change, str):
        return visible(change)
    keys = ", ".join(change.get("keys") or ())
    return visible(f"{change['agent']} ({keys})" if keys else change["agent"])


def _error(error: Document) -> str:
    place = ":".join(str(part) for part in (error.get("file"), error.get("line")) if part)
    return ": ".join(part for part in (place, error.get("key"), error.get("message")) if part)
