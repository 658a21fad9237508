"""`docs/config.md` and `config.example.toml`, made from the schema; `make docs` writes them."""

import textwrap
from typing import Final

import tomli_w

from agentd.config.catalogue import Option, OptionTable, tables

_WIDTH: Final = 98

_MARKDOWN_HEAD: Final = """\
# Options

<!-- Written by `make docs` from agentd/config/; don't edit. -->

The config is TOML: `agentd.toml`, and beside it `agents.d/NAME.toml`, each of which holds the
options of one agent at top level, without the header `[agents.NAME]`. In `[defaults]` any option
of an agent may stand, in tables of it too: it counts for every agent that doesn't say otherwise.
Tables such as `environment` are merged, everything else is replaced.

Durations are strings such as `"90s"`, `"5m"`, `"1h30m"`, `"250ms"`, `"7d"`; sizes are strings such
as `"512M"`, `"2G"` (1024-based), the empty one means none; dollars are numbers. A command is a list
of strings, or one string that is split as a shell would split it; no shell ever runs it. Paths
start from the directory of the file that names them.

`agentd check` says everything that is wrong with a config, `agentd schema` prints a JSON Schema for
editors, and `agentctl show NAME` prints what counts for an agent and where each value was written.
Options marked *no effect yet* are read and checked, and do nothing in this version.
"""

_EXAMPLE_HEAD: Final = """\
# Every option of agentd.toml, with its default; where there is none, an example.
# Written by `make docs` from the schema.
#
# A line that begins with "#" and a space is for readers. To set an option, take the "#" away
# from its line and from the header above it. Durations: "250ms", "90s", "1h30m", "7d";
# sizes: "512M", "2G". `agentd check` says what is wrong.

# [defaults] takes any option of an agent, tables too: it counts for every agent that doesn't
# say otherwise.
#[defaults]
"""


def markdown() -> str:
    """Return docs/config.md."""
    return _MARKDOWN_HEAD + "".join(_section(table) for table in tables())


def example() -> str:
    """Return config.example.toml: everything commented, and valid once it isn't."""
    return _EXAMPLE_HEAD + "".join(_example_table(table) for table in tables())


def uncommented(text: str) -> str:
    """Return an example file with every option in it set."""
    lines = text.splitlines(keepends=True)
    return "".join(
        line[1:] if line.startswith("#") and line[1:2] not in {" ", "\n"} else line
        for line in lines
    )


def _section(table: OptionTable) -> str:
    rows = "".join(_row(option) for option in table.options)
    head = f"\n## `{table.header}`\n\n{table.text}\n"
    return f"{head}\n| option | kind | default | meaning |\n|---|---|---|---|\n{rows}"


def _row(option: Option) -> str:
    default = "" if option.default is None else f"`{_value(option.default)}`"
    text = option.text + (" *No effect yet.*" if option.is_without_effect else "")
    cells = (f"`{option.name}`", option.kind, default, text)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _example_table(table: OptionTable) -> str:
    text = f"\n{_comment(table.text)}#{table.example_header}\n"
    for option in table.options:
        notes = [option.text]
        if option.default is None:
            notes.append("(An example; there is no default.)")
        if option.is_without_effect:
            notes.append("(No effect yet.)")
        text += f"{_comment(' '.join(notes))}#{option.name} = {_value(option.example)}\n"
    return text


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH))


def _value(value: object) -> str:
    """Write a value as TOML, on one line."""
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_value(item)}' for key, item in value.items())}}}"
    return tomli_w.dumps({"key": value}).partition(" = ")[2].rstrip("\n")
