"""agentctl events: what happened."""

import json
import sys
from collections import deque
from typing import Any

import click

from agentd.cli.exits import FAILED, CommandError
from agentd.cli.invocation import Invocation
from agentd.cli.options import NUMBER_MAX, follow, selectors, since
from agentd.cli.views.journal import event_line, event_table
from agentd.cli.views.table import Table

EVENTS = 50
EVENTS_BEFORE_FOLLOWING = 10


@click.command("events")
@selectors(required=False)
@follow
@since
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="agent.exited, agent.*; repeatable."
)
@click.option(
    "--after", type=click.IntRange(0, NUMBER_MAX), metavar="ID", help="What came after it."
)
@click.option("-n", "--lines", type=click.IntRange(0, NUMBER_MAX), help="So many events.")
@click.option("--trace", is_flag=True, help="What was recorded, for `agentd simulate`.")
@click.pass_obj
def command(
    call: Invocation,
    /,
    select: tuple[str, ...],
    *,
    since: int | None,
    types: tuple[str, ...],
    after: int | None,
    lines: int | None,
    follow: bool,
    trace: bool,
) -> None:
    """Show what happened, the last 50 events; a follower outlives restarts of the daemon."""
    if trace:
        if follow or types or after is not None or lines is not None:
            raise click.UsageError("--trace goes with SELECTOR and --since alone.")
        _trace(call, select, since)
        return
    if lines is None and since is None and after is None:
        lines = EVENTS_BEFORE_FOLLOWING if follow else EVENTS
    # "The last 5 of the last hour" is not what the daemon's pages give, which begin at a time.
    newest = lines if since is not None and after is None and not follow else None
    stream = call.client.events(
        select,
        types=types,
        after=after,
        since_ms=since,
        limit=lines if newest is None else None,
        follow=follow,
        on_lost=lambda error: call.note(f"agentctl: {error.message}; waiting for it"),
    )
    if follow:
        for event in stream:
            call.answer(event, lambda shown: event_line(shown, call.today()))
    else:
        found = deque(stream, maxlen=newest)
        call.answer({"events": list(found)}, lambda document: _table(call, document))


def _trace(call: Invocation, select: tuple[str, ...], since: int | None) -> None:
    """Print a trace, line by line: it may be larger than memory."""
    line = None
    for line in call.client.trace(select, since_ms=since):
        sys.stdout.write(json.dumps(line) + "\n")
    if line is None:
        hint = "agentd records from its start on; an earlier --since finds more"
        raise CommandError(FAILED, "nothing was recorded in that time", hint)


def _table(call: Invocation, document: dict[str, Any]) -> Table:
    return event_table(document["events"], call.today())
