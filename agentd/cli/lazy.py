"""A group of commands from a static table: one is imported only when it is called.

Help and completion come from the table too, since both would import every command else.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class HintedUsageError(click.UsageError):
    """A usage error that knows what the user may have meant."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class LazyGroup(click.Group):
    """Commands of `package`, one a module, by a table of name → one line of help.

    `around` may put another in the place of a command that is called, given its words.
    `shared` makes the options that every command takes besides its own, so that they may
    stand before or after the command's name.
    """

    def __init__(
        self,
        *,
        package: str,
        table: Mapping[str, str],
        aliases: Mapping[str, str] | None = None,
        shared: Callable[[], Sequence[click.Parameter]] = tuple,
        around: Callable[[click.Command, Sequence[str]], click.Command] | None = None,
        **attributes: Any,  # noqa: ANN401 - handed on to click as they are
    ) -> None:
        super().__init__(**attributes)
        self.package = package
        self.table = table
        self.aliases = aliases or {}
        self.shared = shared
        self.around = around

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        name = self.aliases.get(cmd_name, cmd_name)
        if name not in self.table:  # the table decides what is imported, never the user
            return None
        module = import_module(f"{self.package}.{name.replace('-', '_')}")
        found: click.Command = module.command
        taken = {option for param in found.params for option in param.opts}
        found.params.extend(param for param in self.shared() if not taken & set(param.opts))
        found.context_settings.setdefault("help_option_names", ["-h", "--help"])
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in self.table or name in self.aliases or ctx.resilient_parsing:
            found, command, words = super().resolve_command(ctx, args)
            if command is not None and self.around is not None:
                command = self.around(command, words)
            return found, command, words
        raise HintedUsageError(f"unknown command {name!r}", self._nearest(ctx, name))

    def _nearest(self, ctx: click.Context, name: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415 - only for a mistyped command

        near = get_close_matches(name, [*self.table, *self.aliases], n=1)
        return f'did you mean "{near[0]}"?' if near else f"{ctx.command_path} --help"

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only at TAB

        items = [
            CompletionItem(name, help=line)
            for name, line in self.table.items()
            if name.startswith(incomplete)
        ]
        # Past `click.Group`, which would import every command for its help.
        return items + super(click.Group, self).shell_complete(ctx, incomplete)
