"""Options and arguments that several commands share."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentd.cli.invocation import Invocation
from agentd.cli.lazy import HintedUsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
COMPLETION_TIMEOUT_S = 0.5
NUMBER_MAX = 2**53 - 1  # what JSON holds without loss


class Duration(click.ParamType):  # type: ignore[type-arg]
    """`90s`, `5m`, `1h30m` or a bare number of seconds, as float seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        from agentd.config.units import parse_duration  # noqa: PLC0415 - decimal costs 2 ms

        if isinstance(value, float):
            return value
        text = str(value)
        try:
            if text.replace(".", "", 1).isdecimal():
                return float(text)
            return parse_duration(text) / 1000
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType):  # type: ignore[type-arg]
    """`10m` (ago), or a date and time as ISO 8601 (local without a zone), as wall ms.

    A local time that a change of the clocks has twice or never is the earlier of what it may mean.
    """

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        from datetime import datetime  # noqa: PLC0415 - only where a time is given

        from agentd.config.units import parse_duration  # noqa: PLC0415 - as above

        if isinstance(value, int):
            return value
        text = str(value)
        try:
            told = datetime.fromisoformat(text)
            wall_ms = min(int(told.replace(fold=fold).timestamp() * 1000) for fold in (0, 1))
        except (ValueError, OverflowError):  # then it is a duration
            try:
                wall_ms = int(time.time() * 1000) - parse_duration(text)
            except ValueError as error:
                why = f'{text!r} is neither "10m" nor "2026-11-21T08:00"'
                self.fail(str(error) if "longer than" in str(error) else why, param, ctx)
        if wall_ms < 0:
            self.fail(f"{text!r} lies before 1970", param, ctx)
        return wall_ms


class Selector(click.ParamType):  # type: ignore[type-arg]
    """A name, a glob, `tag:NAME` or `all`; the daemon reads it, and completes the names."""

    name = "selector"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only at TAB

        from agentd.client import AgentdError, Client  # noqa: PLC0415 - only at TAB

        call = ctx.find_object(Invocation)
        if call is not None and call.hosts is not None:
            return []  # the agents of other hosts are not those of this one
        try:
            with Client(call.socket if call else None, timeout=COMPLETION_TIMEOUT_S) as client:
                names = client.list_agents()
        except AgentdError:
            return []  # at TAB, silence is the only good answer
        given = set(ctx.params.get(param.name or "") or ())
        return [
            CompletionItem(name)
            for name in [*names, "all"]
            if name.startswith(incomplete) and name not in given
        ]


class HostNames(click.ParamType):  # type: ignore[type-arg]
    """`a,b,@all`: hosts as ssh knows them; those of `[fleet.hosts]` are completed."""

    name = "hosts"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        param: click.Parameter,  # noqa: ARG002 - click's
        incomplete: str,
    ) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only at TAB

        from agentd.cli.exits import CommandError  # noqa: PLC0415 - only at TAB
        from agentd.cli.remote.configured import listed_hosts  # noqa: PLC0415 - only at TAB

        before, comma, last = incomplete.rpartition(",")
        try:
            names = [f"@{name}" for name in ("all", *listed_hosts())]
        except CommandError:
            return []  # at TAB, silence is the only good answer
        return [CompletionItem(before + comma + name) for name in names if name.startswith(last)]


class IncidentNumber(click.ParamType):  # type: ignore[type-arg]
    """The number of an incident; the open ones are completed."""

    name = "id"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002 - click's
        ctx: click.Context | None,  # noqa: ARG002 - click's
    ) -> int:
        text = str(value)
        if text.isdecimal() and 0 < int(text[: len(str(NUMBER_MAX)) + 1]) <= NUMBER_MAX:
            return int(text)
        told = f"{text!r} is not the number of an incident, such as 3"
        raise HintedUsageError(told, "agentctl incidents")

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only at TAB

        from agentd.client import AgentdError, Client  # noqa: PLC0415 - only at TAB

        socket = getattr(ctx.find_object(Invocation), "socket", None)
        try:
            with Client(socket, timeout=COMPLETION_TIMEOUT_S) as client:
                found = client.incidents(open_only=True)["incidents"]
        except AgentdError:
            return []  # at TAB, silence is the only good answer
        given = set(map(str, ctx.params.get(param.name or "") or ()))
        numbers = [str(incident["id"]) for incident in found]
        return [
            CompletionItem(number)
            for number in numbers
            if number.startswith(incomplete) and number not in given
        ]


def selectors(*, required: bool) -> Callable[[Decorated], Decorated]:
    """Take any number of selectors; without one, a read means all agents."""
    return click.argument(
        "select", metavar="SELECTOR...", nargs=-1, required=required, type=Selector()
    )


reason = click.option(
    "--reason", default="", metavar="TEXT", help="Kept in the journal and shown by `status`."
)
no_wait = click.option(
    "--no-wait", is_flag=True, help="Return once it is recorded, not once it has come true."
)
follow = click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
since = click.option(
    "--since", type=Moment(), metavar="TIME", help='"10m" (ago), or "2026-11-21T08:00".'
)


def global_options() -> list[click.Parameter]:
    """Make the options that stand before or after a command's name."""
    return [
        _global("socket", "-s", "--socket", metavar="PATH", help="The daemon's socket."),
        _global(
            "hosts",
            "-H",
            "--host",
            metavar="HOST,...",
            type=HostNames(),
            help="On these hosts, over ssh; @all: those of [fleet.hosts].",
        ),
        _global("json", "--json", is_flag=True, help="Print one JSON document."),
        _global("quiet", "-q", "--quiet", is_flag=True, help="No messages but errors."),
        _global(
            "color", "--color", type=click.Choice(["auto", "always", "never"]), help="Use colours."
        ),
        _global("timeout_s", "--timeout", type=Duration(), help="Bound the whole command, as 30s."),
    ]


def _global(field: str, *names: str, **attributes: Any) -> click.Option:  # noqa: ANN401 - click's
    def keep(ctx: click.Context, _param: click.Parameter, value: object) -> None:
        if value is not None and value is not False:
            setattr(ctx.ensure_object(Invocation), field, value)

    return click.Option(
        [*names, f"global_{field}"], callback=keep, expose_value=False, **attributes
    )
