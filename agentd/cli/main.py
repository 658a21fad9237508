"""agentctl: look at agents and operate them, through the daemon's socket."""

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from agentd.cli import exits
from agentd.cli.invocation import Invocation
from agentd.cli.lazy import LazyGroup
from agentd.cli.options import global_options

COMMANDS: Final = {
    "status": "Show agents; one by name: all that is known of it.",
    "top": "Show agents live.",
    "dashboard": "Show agents in a browser, until Ctrl-C.",
    "start": "Start agents, and wait until they are ready.",
    "stop": "Stop agents, and keep them down until started.",
    "restart": "Stop and start agents.",
    "kill": "Kill whole process trees at once; only resume brings them back.",
    "pause": "Hold agents where they stand.",
    "resume": "Let paused or killed agents go on.",
    "hold": "Allow no automatic start.",
    "unhold": "Allow automatic starts again.",
    "reset": "Forget failures and cooldown.",
    "signal": "Send a plain signal.",
    "logs": "Show what agents wrote.",
    "events": "Show what happened.",
    "incidents": "Show what has broken, and what still is.",
    "incident": "Show all about one incident, and what is left to do.",
    "ack": "Say that you know of incidents: no more reminders.",
    "history": "Show when agents were up and down, and why.",
    "report": "Show the daily report.",
    "checkpoints": "Show checkpoints and unfinished actions.",
    "show": "Show the effective configuration, and where each value comes from.",
    "reload": "Apply the configuration files.",
    "wait": "Wait until agents are ready, healthy, stopped or paused.",
    "is-active": "Exit 0 if agents are running.",
    "is-healthy": "Exit 0 if agents are healthy.",
    "is-failed": "Exit 0 if an agent has failed.",
    "breakers": "Show which shared dependencies fail, and for whom.",
    "alerts": "Show which alerts wait or failed; test a sink.",
    "heartbeat": "Send a heartbeat, from inside an agent.",
    "fleet": "Look at all hosts of a fleet, and operate them, over NATS.",
    "daemon": "Show the daemon's own health.",
    "ping": "Ask whether the daemon answers.",
    "version": "Show versions.",
    "shutdown": "Stop all agents and the daemon.",
    "completion": "Print the completion script of a shell.",
}
ALIASES: Final = {"ls": "status", "ps": "status"}


def _version(ctx: click.Context, _param: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        from agentd import __version__  # noqa: PLC0415 - only here

        print(f"agentctl {__version__}")
        ctx.exit()


def _there_or_here(command: click.Command, words: Sequence[str]) -> click.Command:
    """Have the command carried out on the hosts of `-H`, where some are named."""
    here, given = command.callback, tuple(words)  # which click uses up
    # A copy as `copy` makes it, which every call of agentctl would pay for to import.
    found = object.__new__(type(command))
    vars(found).update(vars(command))
    assert here is not None, command.name

    def carry_out(*args: object, **options: object) -> object:
        ctx = click.get_current_context()
        if ctx.ensure_object(Invocation).hosts is None:
            return here(*args, **options)
        from agentd.cli.remote import run  # noqa: PLC0415 - only with -H

        run.carry_out(ctx, command, given)
        return None

    found.callback = carry_out
    return found


agentctl = LazyGroup(
    name="agentctl",
    help="Look at agents and operate them. SELECTOR: names, globs, tag:NAME or all.",
    package="agentd.cli.commands",
    table=COMMANDS,
    aliases=ALIASES,
    shared=global_options,
    around=_there_or_here,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[
        *global_options(),
        click.Option(
            ["--version"], is_flag=True, expose_value=False, callback=_version, help="Show it."
        ),
    ],
)


def main() -> NoReturn:
    """Run the script `agentctl`."""
    # A terminal without UTF-8 must not turn a name into a crash.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    exits.leave(exits.run(agentctl, "agentctl", Invocation()))
