"""agentctl fleet: all hosts at once, over NATS."""

import asyncio
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any, Final

import click

from agentd.cli.exits import CommandError
from agentd.cli.invocation import Invocation
from agentd.cli.options import follow, global_options
from agentd.cli.remote.answers import Answer, failed, worst
from agentd.cli.remote.fleet import EventFollower, carried_out, event_page, view_of_fleet
from agentd.cli.remote.hosts import Host
from agentd.cli.remote.nats import Fleet, settings_of
from agentd.cli.remote.run import limit_s, show
from agentd.cli.remote.targets import by_host
from agentd.cli.remote.words import Asked
from agentd.cli.views.fleet import fleet_events, fleet_table, fleet_verdict, hosts_table
from agentd.cli.views.journal import event_line
from agentd.client import AgentdError
from agentd.reporting.words import visible

Document = dict[str, Any]

VERBS: Final = ("kill", "pause", "resume", "restart", "stop", "start", "hold", "unhold", "reset")
EVENTS: Final = 50
EVENTS_BEFORE_FOLLOWING: Final = 10
EVENTS_MAX: Final = 10_000
SETTINGS: Final = "agentd.cli.fleet"
"""Where the options of `fleet` stand in click's `meta`."""


@click.group("fleet")
def command() -> None:
    """Look at all hosts of a fleet and operate them, over NATS.

    The servers, credentials and prefix stand in [fleet] of your agentd.toml, or in options.
    """


def _settings_options() -> list[click.Parameter]:
    """Make the options that stand before or after the name of each command of `fleet`."""
    return [
        _setting("nats", "--nats", multiple=True, metavar="URL", help="A NATS server; repeatable."),
        _setting("credentials", "--credentials", metavar="FILE", help="NATS credentials."),
        _setting("ca", "--ca", metavar="FILE", help="Certificate authority of the servers."),
        _setting("prefix", "--prefix", metavar="WORD", help='Of all subjects, as "agentd".'),
    ]


def _setting(field: str, *names: str, **attributes: Any) -> click.Option:  # noqa: ANN401 - click's
    def keep(ctx: click.Context, _param: click.Parameter, value: object) -> None:
        if value:
            ctx.meta.setdefault(SETTINGS, {})[field] = value

    return click.Option([*names, f"fleet_{field}"], callback=keep, expose_value=False, **attributes)


def _fleet(ctx: click.Context) -> Fleet:
    said = ctx.meta.get(SETTINGS, {})
    return Fleet(
        settings_of(
            tuple(said.get("nats", ())),
            credentials=said.get("credentials", ""),
            ca=said.get("ca", ""),
            prefix=said.get("prefix", ""),
        )
    )


@command.command("status")
@click.argument("hosts", metavar="HOST...", nargs=-1)
@click.option("--hosts", "by_hosts", is_flag=True, help="A row a host instead of a row an agent.")
@click.option("--check", is_flag=True, help="Answer as a monitoring plugin: exit 0, 1, 2 or 3.")
@click.pass_context
def status(ctx: click.Context, /, hosts: tuple[str, ...], *, by_hosts: bool, check: bool) -> None:
    """Show the agents of all hosts, or of those named (globs too); a lost host is a row."""
    call = ctx.ensure_object(Invocation)
    try:
        found = _matching(view_of_fleet(_fleet(ctx), call.left_s()), hosts)
    except (AgentdError, CommandError) as error:
        if not check:
            raise
        ctx.exit(call.answer_unknown(error.message))
    if check:
        code, line = fleet_verdict(found)
        call.answer({"hosts": found}, lambda _document: line)
        ctx.exit(code)
    table = hosts_table if by_hosts else fleet_table
    call.answer({"hosts": found}, lambda document: table(document["hosts"]))


def _matching(hosts: Sequence[Document], globs: Sequence[str]) -> list[Document]:
    """Return the hosts that are meant; one that is named and unknown is an error."""
    for glob in globs:
        if not any(fnmatchcase(host["host"], glob) for host in hosts):
            hint = "agentctl fleet status --hosts"
            raise AgentdError("no_such_agent", f'no host matches "{visible(glob)}"', hint)
    wanted = (host for host in hosts if any(fnmatchcase(host["host"], one) for one in globs))
    return list(wanted) if globs else list(hosts)


@command.command("events")
@click.argument("hosts", metavar="HOST...", nargs=-1)
@follow
@click.option("-n", "--lines", type=click.IntRange(0, EVENTS_MAX), help="So many events.")
@click.pass_context
def events(
    ctx: click.Context, /, hosts: tuple[str, ...], *, lines: int | None, follow: bool
) -> None:
    """Show what happened on all hosts, or on those named; the last 50 events."""
    call = ctx.ensure_object(Invocation)
    fleet = _fleet(ctx)
    if not follow:
        found = fleet.run(event_page(fleet, EVENTS if lines is None else lines, hosts))
        call.answer({"events": found}, lambda shown: fleet_events(shown["events"], call.today()))
        return
    limit = EVENTS_BEFORE_FOLLOWING if lines is None else lines

    def tell(event: Document) -> None:
        host = visible(event.get("host"))
        call.answer(event, lambda shown: f"{host:<12}  {event_line(shown, call.today())}")

    def lost(error: AgentdError) -> None:
        call.note(f"agentctl: {visible(error.message)}; waiting for it")

    follower = EventFollower(fleet.settings, hosts, tell, lost)
    try:
        asyncio.run(asyncio.wait_for(follower.run(limit), call.left_s()))
    except TimeoutError:
        raise AgentdError("timeout", "the time for following is over") from None


@command.command("incidents")
@click.argument("hosts", metavar="HOST...", nargs=-1)
@click.option("--open", "open_only", is_flag=True, help="Only those that are not resolved.")
@click.option("-n", "--lines", type=click.IntRange(0, EVENTS_MAX), default=20, help="So many each.")
@click.pass_context
def incidents(
    ctx: click.Context, /, hosts: tuple[str, ...], *, open_only: bool, lines: int
) -> None:
    """Show the incidents of all hosts, or of those named; numbers are each host's own."""
    params = {"select": (), "open_only": open_only, "lines": lines}
    call, fleet = ctx.ensure_object(Invocation), _fleet(ctx)
    found = _matching(view_of_fleet(fleet, call.left_s()), hosts)
    asked = Asked(_command("incidents"), params, ())
    up = [Host(one["host"], one["host"], over_nats=True) for one in found if one["state"] == "up"]
    each = [(host, asked) for host in up]
    answers = carried_out(fleet, each, limit_s(call, "incidents"), call.left_s())
    answers += [_lost(one) for one in found if one["state"] != "up"]
    _finish(ctx, asked, answers)


def _lost(host: Document) -> Answer:
    return failed(host["host"], "not_reachable", f"lost: {host.get('error') or 'silent'}")


def _finish(ctx: click.Context, asked: Asked, answers: list[Answer]) -> None:
    answers.sort(key=lambda answer: answer.host)
    show(ctx.ensure_object(Invocation), asked, answers)
    ctx.exit(worst(answer.exit_code for answer in answers))


def _command(name: str) -> click.Command:
    found: click.Command = import_module(f"agentd.cli.commands.{name}").command
    return found


def _verb(name: str) -> click.Command:
    """Make `fleet NAME HOST/AGENT...`: the command of that name, on each of the hosts."""
    original = _command(name)

    def carry_out(ctx: click.Context, /, targets: tuple[str, ...], **params: object) -> None:
        call, fleet = ctx.ensure_object(Invocation), _fleet(ctx)

        def known() -> list[str]:
            return [host["host"] for host in view_of_fleet(fleet, call.left_s())]

        each = [
            (host, Asked(original, {**params, "select": select}, ()))
            for host, select in by_host(targets, known)
        ]
        answers = carried_out(fleet, each, limit_s(call, name), call.left_s())
        _finish(ctx, each[0][1], answers)

    options = [param for param in original.params if isinstance(param, click.Option)]
    targets = click.Argument(["targets"], metavar="HOST/AGENT...", nargs=-1, required=True)
    return click.Command(
        name,
        params=[targets, *(option for option in options if not _is_global(option))],
        callback=_with_context(carry_out),
        help=f"{original.get_short_help_str(200)} HOST may be a glob, or all.",
    )


def _with_context(function: Callable[..., None]) -> Callable[..., None]:
    return click.pass_context(function)


def _is_global(option: click.Option) -> bool:
    return (option.name or "").startswith("global_")


for _name in VERBS:
    command.add_command(_verb(_name))
command.params.extend(_settings_options())
for _each in command.commands.values():
    _each.params.extend(_settings_options())
    _each.params.extend(param for param in global_options() if param.name != "global_hosts")
    _each.context_settings.setdefault("help_option_names", ["-h", "--help"])
