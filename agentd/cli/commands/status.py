"""agentctl status: how agents are.

It is what scripts and monitors run most, so what only people read is imported late.
"""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from agentd.cli import exits
from agentd.cli.invocation import Invocation
from agentd.cli.options import selectors
from agentd.cli.selection import is_active, is_one_name, names_only
from agentd.client import AgentdError

if TYPE_CHECKING:
    from agentd.cli.views.table import Table

Document = dict[str, Any]

WATCH_S = 2.0
NO_EFFECT_TOLD_MAX = 4


@click.command("status")
@selectors(required=False)
@click.option("--all", "internal", is_flag=True, help="Show internal agents too.")
@click.option("--check", is_flag=True, help="Answer as a monitoring plugin: exit 0, 1, 2 or 3.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds.")
@click.pass_context
def command(
    ctx: click.Context, /, select: tuple[str, ...], *, internal: bool, check: bool, watch: bool
) -> None:
    """Show agents; one exact name: all that is known of it.

    With names, exit 0 if all are running, 3 if not, 4 if one doesn't exist.
    """
    call = ctx.ensure_object(Invocation)
    if check:
        ctx.exit(_check(call, select))
    while True:
        document = fetch(call, select, internal=internal)
        if watch and call.colored() and not call.json:
            sys.stdout.write("\x1b[H\x1b[J")
        if is_one_name(select) and not call.json and not watch and document["agents"]:
            call.show(_details(call, document["agents"][0]))
        else:
            call.answer(document, _table)
        if not watch:
            _tell_no_effect(call, document, select)
            break
        time.sleep(min(WATCH_S, call.left_s() or WATCH_S))
    ctx.exit(exit_code(document) if select else exits.DONE)


def fetch(call: Invocation, select: tuple[str, ...], *, internal: bool = False) -> Document:
    """Ask for the status; a plain name that doesn't exist is "unknown" to a script, not 5."""
    try:
        return call.client.status(select, internal=internal)
    except AgentdError as error:
        if error.code == "no_such_agent" and names_only(select):
            raise exits.CommandError(exits.UNKNOWN, error.message, error.hint) from None
        raise


def exit_code(document: Document) -> int:
    """Answer as LSB scripts do: 0 all run, 3 one doesn't, 4 there is none."""
    if not document["agents"]:
        return exits.UNKNOWN
    return exits.DONE if all(map(is_active, document["agents"])) else exits.NOT_RUNNING


def _check(call: Invocation, select: tuple[str, ...]) -> int:
    from agentd.cli.views.agents import verdict  # noqa: PLC0415 - see the head of the file

    try:
        document = call.client.status(select)
    except AgentdError as error:
        return call.answer_unknown(error.message)
    code, line = verdict(document)
    call.answer(document, lambda _document: line)
    return code


def _tell_no_effect(call: Invocation, document: Document, select: tuple[str, ...]) -> None:
    """Say, to a person who looks at everything, which options were set and do nothing yet."""
    keys = document["daemon"].get("no_effect_yet")
    if not keys or select or call.json:
        return
    told = ", ".join(keys[:NO_EFFECT_TOLD_MAX])
    more = f" and {len(keys) - NO_EFFECT_TOLD_MAX} more" if len(keys) > NO_EFFECT_TOLD_MAX else ""
    call.note(f"without effect in this version: {told}{more} (agentd check says where)")


def _table(document: Document) -> "Table":
    from agentd.cli.views.agents import status_table  # noqa: PLC0415 - see the head of the file

    return status_table(document)


def _details(call: Invocation, agent: Document) -> str:
    from agentd.cli.recent import details_with_past  # noqa: PLC0415 - see the head of the file

    return details_with_past(call, agent)
