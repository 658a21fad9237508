"""A command line as it is said again on another machine.

It is built anew from what was parsed here: options by their long names with their values
behind `=`, then `--`, then the rest. So nothing that was an argument here is an option there.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import click

PROGRAM_VARIABLE: Final = "AGENTD_REMOTE"
PROGRAM: Final = "agentctl"
# How it is shown, and how long it may take, is settled here.
_HERE: Final = frozenset(
    f"global_{name}" for name in ("hosts", "json", "quiet", "color", "timeout_s", "socket")
)
# Of options of this name only the daemon's own machine makes a table, a page or a loop.
_VIEWS: Final = frozenset({"watch", "markdown", "once"})


class Asked(NamedTuple):
    """One command line: the command, its parameters as they were read, its words."""

    command: click.Command
    params: Mapping[str, Any]
    words: Sequence[str]

    @property
    def name(self) -> str:
        """Return the name of the command; an alias's is that of the command itself."""
        return self.command.name or ""


def words_of(command: click.Command, ctx: click.Context, given: Sequence[str]) -> list[str]:
    """Return the name of a command, its options and arguments, from what the user typed."""
    values, _, _ = command.make_parser(ctx).parse_args(list(given))
    options: list[str] = []
    arguments: list[str] = []
    for param in command.params:
        value = values.get(param.name or "")
        if param.name in _HERE | _VIEWS or value is None:
            continue
        if isinstance(param, click.Option):
            options += _option(param, value)
        else:
            arguments += [value] if isinstance(value, str) else _texts(value)
    return [command.name or "", *options, *(["--", *arguments] if arguments else [])]


def _option(option: click.Option, value: Any) -> list[str]:  # noqa: ANN401 - click's
    name = max(option.opts, key=len)
    if option.is_flag:
        return [name]
    return [f"{name}={text}" for text in ([value] if isinstance(value, str) else _texts(value))]


def _texts(values: Any) -> list[str]:  # noqa: ANN401 - click's; a missing one is no text
    return [text for text in values if isinstance(text, str)] if _is_list(values) else []


def _is_list(values: object) -> bool:
    return isinstance(values, list | tuple)


def remote_line(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    socket: str | None = None,
    timeout_s: float | None = None,
) -> str:
    """Return the line that the shell of another machine gets; each word of it is quoted.

    `AGENTD_REMOTE` takes the place of `agentctl`, as the user wrote it: `sudo -n agentctl`.
    """
    globals_ = ["--json"]
    if socket is not None:
        globals_.append(f"--socket={socket}")
    if timeout_s is not None:
        globals_.append(f"--timeout={timeout_s:.3f}")
    said = " ".join(shlex.quote(word) for word in (*globals_, *words))
    return f"{env.get(PROGRAM_VARIABLE) or PROGRAM} {said}"
