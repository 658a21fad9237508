"""agentctl top: what agents use up, live."""

import contextlib
import os
import select as readiness
import sys
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING

import click

from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors
from agentd.cli.views.agents import top_table
from agentd.client import AgentdError

if TYPE_CHECKING:
    from rich.console import RenderableType


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
    from rich.console import Group  # noqa: PLC0415 - only on a terminal
    from rich.live import Live  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    from agentd.cli.views import terminal  # noqa: PLC0415 - as above

    until = None if call.timeout_s is None else monotonic() + call.timeout_s
    screen = terminal.console()
    with _keys(), Live(console=screen, screen=True, auto_refresh=False) as live:
        while until is None or monotonic() < until:
            try:
                table = terminal.colored(top_table(call.client.status(select)), screen.width)
                shown: RenderableType = Group(Text(_host(), style="dim"), table)
            except AgentdError as error:
                if error.code != "not_reachable":
                    raise
                shown = Text(f"{error.message} …")  # it may be on its way back
            live.update(shown, refresh=True)
            if readiness.select([sys.stdin], [], [], interval_s)[0] and _leaves():
                return


def _host() -> str:
    """What the host has left, in one line: an agent is slow where its host is full."""
    import psutil  # noqa: PLC0415 - only where somebody looks

    memory = psutil.virtual_memory()
    load_1m = psutil.getloadavg()[0]
    return (
        f"host: CPU {psutil.cpu_percent():.0f} % of {psutil.cpu_count()} cores, "
        f"load {load_1m:.1f}, memory {memory.percent:.0f} % of {memory.total / (1 << 30):.1f} GiB"
    )


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
