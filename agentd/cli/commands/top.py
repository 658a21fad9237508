"""agentctl top: what agents use up, live."""

import contextlib
import os
import select as readiness
import sys
from collections.abc import Iterator
from time import monotonic

import click

from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors
from agentd.cli.views.agents import top_table
from agentd.client import AgentdError


@click.command("top")
@selectors(required=False)
@click.option("--interval", type=click.FloatRange(min=0.2), default=2.0, show_default=True)
@click.pass_obj
def command(call: Invocation, select: tuple[str, ...], interval: float) -> None:
    """Show agents live, the largest first; q or Ctrl-C leaves.

    Where stdout is no terminal, it is shown once.
    """
    if call.json or not call.colored() or not sys.stdin.isatty():
        call.answer(call.client.status(select), top_table)
        return
    with contextlib.suppress(KeyboardInterrupt):  # that is how one leaves
        _live(call, select, interval)


def _live(call: Invocation, select: tuple[str, ...], interval_s: float) -> None:
    from rich.live import Live  # noqa: PLC0415 - only on a terminal
    from rich.text import Text  # noqa: PLC0415 - as above

    from agentd.cli.views import terminal  # noqa: PLC0415 - as above

    until = None if call.timeout_s is None else monotonic() + call.timeout_s
    screen = terminal.console()
    with _keys(), Live(console=screen, screen=True, auto_refresh=False) as live:
        while until is None or monotonic() < until:
            try:
                shown = terminal.colored(top_table(call.client.status(select)), screen.width)
            except AgentdError as error:
                if error.code != "not_reachable":
                    raise
                shown = Text(f"{error.message} …")  # it may be on its way back
            live.update(shown, refresh=True)
            if readiness.select([sys.stdin], [], [], interval_s)[0] and _leaves():
                return


def _leaves() -> bool:
    typed = os.read(sys.stdin.fileno(), 64)
    return not typed or b"q" in typed.lower()


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Let single keys through, unechoed, and put the terminal back in any case."""
    import termios  # noqa: PLC0415 - only on a terminal
    import tty  # noqa: PLC0415 - as above

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
