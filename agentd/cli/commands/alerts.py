"""agentctl alerts: what waits for which sink, what failed, and a test of one sink."""

from typing import Any, Final

import click

from agentd.cli.exits import FAILED, CommandError
from agentd.cli.invocation import Invocation
from agentd.cli.views.alerts import queue_view
from agentd.reporting.words import visible

# The slowest sink gives up by itself before that.
TEST_S: Final = 90.0
# Of these no setting is to blame (`agentd.sinks.http` words them).
_RECEIVER_AT_FAULT: Final = (
    "it answered 5",
    "no answer within",
    "it closed the",
    "connection reset",
)


@click.command("alerts")
@click.argument("action", required=False, type=click.Choice(["test"]))
@click.argument("sink", required=False)
@click.pass_obj
def command(call: Invocation, action: str | None, sink: str | None) -> None:
    """Show the sinks, what waits for them and what has failed.

    `alerts test SINK` sends one message to it now: exit 0 if it was taken, 1 if not.
    """
    if action is None:
        call.answer(call.client.alerts(), lambda shown: queue_view(shown, call.today()))
        return
    if sink is None:
        raise click.UsageError("name the sink to test: agentctl alerts test SINK")
    document = call.client.test_alert(sink, call.left_s() or TEST_S)
    if document["sent"]:
        call.confirm(document, taken)
        return
    if call.json:
        call.print_json(document)
    told = f'"{visible(sink)}" did not take it: {visible(document["error"])}'
    raise CommandError(FAILED, told, _hint(visible(document["error"])))


def _hint(error: str) -> str:
    """Return where to look; nothing where the receiver is at fault, and not the config."""
    if error.startswith(_RECEIVER_AT_FAULT):
        return ""
    return "agentctl show, agentd check: where its settings stand"


def taken(document: dict[str, Any]) -> str:
    """Say that a sink took the message."""
    return f'"{visible(document["sink"])}" ({visible(document["type"])}) took the test message'
