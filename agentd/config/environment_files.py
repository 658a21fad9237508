"""Files of KEY=value lines, as `environment_files` names them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agentd.config.sources import (
    BadTomlError,
    Ownership,
    UnreadableError,
    decoded,
    read_bytes,
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Set by the daemon for every agent: a value of the user's could only break the connection.
RESERVED: Final = frozenset(
    {"AGENTD_SOCKET", "AGENTD_AGENT", "AGENTD_INCARNATION", "AGENTD_TOKEN", "NOTIFY_SOCKET"}
)


class BadLineError(Exception):
    """A file or a line of it that can't be used; `line` is None for the file as a whole."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


def read_variables(
    path: Path, note: Callable[[Ownership], object] | None = None
) -> dict[str, tuple[str, int]]:
    """Return (value, line) by name; of a name given twice the last counts.

    `note` is told who may change what was read.

    Blank lines and lines that begin with `#` are left out, `export ` before a name is allowed,
    white space around a value isn't part of it, and one pair of quotes around it is taken off.
    Nothing is expanded. The first thing that is wrong is a `BadLineError`; values, which may be
    secrets, never stand in its message.
    """
    try:
        content, ownership = read_bytes(path)
        if note is not None:
            note(ownership)
        text = decoded(content)
    except UnreadableError as error:
        raise BadLineError(str(error), None) from error
    except BadTomlError as error:
        raise BadLineError(str(error), error.line) from error
    variables: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            name, value = _assignment(stripped, number)
            variables[name] = (value, number)
    return variables


def name_mistake(name: str) -> str | None:
    """Return what is wrong with the name of a variable, or None."""
    if not name or "=" in name or "\0" in name or not name.isprintable():
        return "not a name that a variable can have"
    if name in RESERVED:
        return "set by agentd itself for every agent"
    return None


def _assignment(line: str, number: int) -> tuple[str, str]:
    name, equals, value = line.removeprefix("export ").partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not _NAME.fullmatch(name):
        raise BadLineError("not of the form KEY=value", number)
    mistake = name_mistake(name)
    if mistake is not None:
        raise BadLineError(f"{name}: {mistake}", number)
    if "\0" in value:
        raise BadLineError(f"{name}: holds a NUL character", number)
    quote = value[:1]
    if quote in {'"', "'"}:
        if len(value) < 2 or not value.endswith(quote):  # noqa: PLR2004 - the two quotes
            raise BadLineError(f"{name}: a quote is never closed", number)
        value = value[1:-1]
    return name, value
