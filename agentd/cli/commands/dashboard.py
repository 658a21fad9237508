"""agentctl dashboard: the fleet in a browser, for the person who asks."""

import asyncio
from contextlib import ExitStack

import click

from agentd.cli import browser
from agentd.cli.exits import FAILED, CommandError
from agentd.cli.invocation import Invocation
from agentd.client import socket_path

EXTRA = "pip install 'agentd-supervisor[http]'"


@click.command("dashboard")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:0",
    show_default=True,
    help="Where to listen; port 0: any that is free.",
)
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@click.option("--operate", is_flag=True, help="Let the page change things, and show logs.")
@click.option("--fleet", is_flag=True, help="All hosts of [fleet] in your agentd.toml.")
@click.pass_obj
def command(call: Invocation, listen: str, *, opens: bool, operate: bool, fleet: bool) -> None:
    """Show the fleet in a browser, with your own rights, until Ctrl-C.

    Prints a link that signs in once, within ten minutes; whoever has it first can see what you
    can see. Nothing is kept afterwards. With --timeout it ends after so long.
    """
    try:
        from agentd.cli.remote.nats import settings_of  # noqa: PLC0415 - as above
        from agentd.http import dashboard  # noqa: PLC0415 - needs the extra
        from agentd.http.settings import SettingsError  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise CommandError(FAILED, f"{error.name} is not installed", EXTRA) from None

    # A browser may take its time to read the page, so it stays until the dashboard ends.
    kept = ExitStack()

    def told(url: str) -> None:
        if call.json:
            call.print_json({"url": url})
        else:
            print(url, flush=True)
        call.note("the link signs in once, within ten minutes; Ctrl-C ends the dashboard")
        if opens:
            _open(call, url, kept)

    path = call.socket or socket_path()
    settings = settings_of() if fleet else None
    serving = dashboard.serve(path, listen, operate=operate, told=told, fleet=settings)
    try:
        with kept:
            asyncio.run(asyncio.wait_for(serving, call.left_s()))
    except TimeoutError:
        return
    except SettingsError as error:
        raise CommandError(FAILED, error.message, error.hint) from None


def _open(call: Invocation, url: str, kept: ExitStack) -> None:
    none = "agentctl: no browser could be opened here"
    try:
        page = kept.enter_context(browser.page_to(url))
    except OSError as error:  # the link has been told, and the dashboard is there all the same
        call.complain(f"{none}: {error}")
    else:
        browser.show(page, lambda: call.complain(none))
