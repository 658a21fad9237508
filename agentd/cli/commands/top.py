"""agentctl top: how agents are, live, and what can be done about it with a key."""

import contextlib
import os
import sys
from time import monotonic, sleep, strftime
from typing import Any, Final

import click

from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors
from agentd.cli.top.sorting import ATTENTION, SORTS, ordered
from agentd.cli.views.agents import top_table
from agentd.cli.views.table import Table
from agentd.client import AgentdError
from agentd.reporting.words import visible

Document = dict[str, Any]

INTERVAL_S: Final = 1.0
STALE_INTERVALS: Final = 2
STALE_S_MIN: Final = 4.0
"""The client takes so long to notice that a daemon is stopped."""


@click.command("top")
@selectors(required=False)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.2),
    default=INTERVAL_S,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--sort",
    type=click.Choice(list(SORTS)),
    default=ATTENTION,
    show_default=True,
    help="The order of the agents.",
)
@click.option("--once", is_flag=True, help="Show it once, as it does where stdout is no terminal.")
@click.pass_context
def command(
    ctx: click.Context, /, select: tuple[str, ...], *, interval: float, sort: str, once: bool
) -> None:
    """Show agents live, those first that need somebody; ? shows the keys, q leaves.

    A terminal that can't be drawn on (TERM=dumb) gets a table again whenever it has changed.
    """
    call = ctx.ensure_object(Invocation)
    if once or call.json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        call.answer(call.client.status(select), lambda document: _table(document, sort))
    elif os.environ.get("TERM", "") in {"", "dumb"}:
        _repeatedly(call, select, interval, sort)
    else:
        ctx.exit(_live(call, select, interval, sort))


def _table(document: Document, sort: str) -> Table:
    return top_table({**document, "agents": ordered(document["agents"], sort)})


def _repeatedly(call: Invocation, select: tuple[str, ...], interval_s: float, sort: str) -> None:
    """Print the table again and again, for screen readers and terminals that only print."""
    from agentd.cli.top.feed import PASSING  # noqa: PLC0415 - only on a terminal
    from agentd.cli.views.table import plain  # noqa: PLC0415 - as above

    last = seen = ""
    with contextlib.suppress(KeyboardInterrupt):  # that is how one leaves
        while True:
            try:
                text = plain(_table(call.client.status(select), sort), call.width())
                seen = strftime("%H:%M:%S")
            except AgentdError as error:
                if not last or error.code not in PASSING:
                    raise
                text = f"{PASSING[error.code]}, last seen {seen}: {visible(error.message)}"
            if text != last:
                print(f"{text}\n", flush=True)
            last = text
            if (left_s := call.left_s()) is not None and left_s <= interval_s:
                return
            sleep(interval_s)


def _live(call: Invocation, select: tuple[str, ...], interval_s: float, sort: str) -> int:
    from agentd.cli.top.feed import Feed  # noqa: PLC0415 - only on a terminal
    from agentd.cli.top.live import Live  # noqa: PLC0415 - as above
    from agentd.cli.top.screen import Screen  # noqa: PLC0415 - as above
    from agentd.cli.top.state import Top, heard  # noqa: PLC0415 - as above
    from agentd.client import Client  # noqa: PLC0415 - as above

    # Not the client of the call, which `--timeout` would have fail: it ends the view instead.
    feed = Feed(Client(call.socket), select, interval_s, _host)
    found = feed.look()  # nobody there is an error, before the screen is taken
    stale_s = max(STALE_S_MIN, STALE_INTERVALS * interval_s) + interval_s
    top = Top(status=found.status, seen_s=monotonic(), sort=sort, stale_after_s=stale_s)
    top = heard(top, found.status, found.incidents, monotonic())
    until = None if call.timeout_s is None else monotonic() + call.timeout_s
    screen = Screen(sys.stdin.fileno(), sys.stdout.fileno(), colored=call.colored())
    feed.start()
    try:
        return Live(top, feed, screen, until).run(sys.stdin.fileno())
    except KeyboardInterrupt:
        return 0  # before the first frame, or after the last


def _host() -> str:
    """What the host has left, in one line: an agent is slow where its host is full."""
    import psutil  # noqa: PLC0415 - only where somebody looks

    memory = psutil.virtual_memory()
    load_1m = psutil.getloadavg()[0]
    return (
        f"host: CPU {psutil.cpu_percent():.0f} % of {psutil.cpu_count()} cores, "
        f"load {load_1m:.1f}, memory {memory.percent:.0f} % of {memory.total / (1 << 30):.1f} GiB"
    )
