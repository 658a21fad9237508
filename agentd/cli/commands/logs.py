"""agentctl logs: what agents wrote to stdout and stderr."""

from typing import Any

import click

from agentd.cli.invocation import Invocation
from agentd.cli.options import follow, selectors, since
from agentd.cli.selection import is_one_name
from agentd.reporting.words import visible

LINES = 100
LINES_BEFORE_FOLLOWING = 10


@click.command("logs")
@selectors(required=True)
@follow
@click.option("-n", "--lines", type=click.IntRange(min=0), help="So many lines of each.")
@since
@click.option("--grep", metavar="REGEX", help="Only lines that match.")
@click.option("--raw", is_flag=True, help="Control characters as they were written.")
@click.pass_obj
def command(
    call: Invocation,
    /,
    select: tuple[str, ...],
    *,
    lines: int | None,
    since: int | None,
    grep: str | None,
    follow: bool,
    raw: bool,
) -> None:
    """Show what agents wrote, the last 100 lines of each."""
    if lines is None and since is None:
        lines = LINES_BEFORE_FOLLOWING if follow else LINES
    if not follow:
        logs = call.client.logs(select, lines=lines, since_ms=since, grep=grep, raw=raw)
        call.answer(logs, lambda document: render(document, raw=raw))
        return
    stream = call.client.follow_logs(
        select,
        lines=lines,
        since_ms=since,
        grep=grep,
        raw=raw,
        on_lost=lambda error: call.note(f"agentctl: {error.message}; waiting for it"),
    )
    alone = is_one_name(select)
    for agent, line in stream:
        if call.json:
            call.print_json({"agent": agent, "line": line})
        else:
            call.show(text(line, raw=raw) if alone else f"{agent} | {text(line, raw=raw)}")


def render(document: dict[str, Any], *, raw: bool) -> str:
    """Write the lines of all agents; of several, each with its agent's name before it."""
    logs = document["logs"]
    if len(logs) == 1:
        return "\n".join(text(line, raw=raw) for line in logs[0]["lines"])
    return "\n".join(
        f"{log['agent']} | {text(line, raw=raw)}" for log in logs for line in log["lines"]
    )


def text(line: str, *, raw: bool) -> str:
    """Return a line as it may be shown; `raw` is the user's own risk."""
    return line if raw else visible(line, tabs=True)
