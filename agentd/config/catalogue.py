"""Every option of the schema as a row: its name, kind, default and documentation.

The documentation is the string under a field, read from the source of the schema; nothing
here is imported while agentd runs.
"""

import ast
import inspect
import itertools
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Struct

from agentd.config.agent import AgentConfig
from agentd.config.convert import bare_type, is_table, option_types
from agentd.config.masking import as_written
from agentd.config.no_effect import is_without_effect
from agentd.config.schema import BreakerConfig, Config, PriceConfig, SinkConfig
from agentd.config.units import Bytes, MicroDollars, Milliseconds

_EXAMPLES: Final[dict[object, object]] = {MicroDollars: 5.0, Milliseconds: "5m", int: 100_000}


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a table."""

    name: str
    kind: str
    """In words: `duration`, `list of strings`, `"a" or "b"`."""

    default: object
    """As the file would have it; None where there is none."""

    example: object
    """A value to show: the default, or one that could be, where there is none."""

    text: str
    is_without_effect: bool


@dataclass(frozen=True, slots=True)
class OptionTable:
    """One table of the file, its options in the order of the schema."""

    header: str
    """As in the file, brackets included: `[agents.NAME.heartbeat]`."""

    example_header: str
    """The same with a name that could be: `[agents.example.heartbeat]`."""

    text: str
    options: tuple[Option, ...]


def tables() -> list[OptionTable]:
    """Return all tables of the config, those of an agent last."""
    found: list[OptionTable] = []
    for key, hint in option_types(Config).items():
        if is_table(hint):
            found.extend(_tables_of(hint, key, key, key))
            if key == "alerts":
                name = "alerts.sinks"
                found.append(_table(SinkConfig, f"[[{name}]]", f"[[{name}]]", name))
    found.append(_named(BreakerConfig, "breakers", "NAME", "openai"))
    found.append(_named(PriceConfig, "prices", '"MODEL"', '"model-name"'))
    found.extend(_tables_of(AgentConfig, "agents.NAME", "agents.example", "agents.*"))
    return found


@cache
def documentation(struct: type[Struct]) -> dict[str, str]:
    """Return the string under each field of a table, by the option's name in the file."""
    module = ast.parse(inspect.getsource(inspect.getmodule(struct)))  # type: ignore[arg-type]
    names = {found.name: found.encode_name for found in msgspec.structs.fields(struct)}
    body = next(
        node.body
        for node in module.body
        if isinstance(node, ast.ClassDef) and node.name == struct.__name__
    )
    texts = {}
    for field, below in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            texts[names[field.target.id]] = " ".join(str(below.value.value).split())
    return texts


def summary(struct: type[Struct]) -> str:
    """Return what a table is for: its docstring, without the header it begins with."""
    text = " ".join((struct.__doc__ or "").split())
    rest = text.partition("]: ")[2] or text
    return rest[:1].upper() + rest[1:]


def default_of(struct: type[Struct], key: str) -> object:
    """Return the default of an option as the file would have it; None where there is none."""
    found = next(f for f in msgspec.structs.fields(struct) if f.encode_name == key)
    if found.default is not NODEFAULT:
        return as_written(found.default)
    if found.default_factory is not NODEFAULT:
        return as_written(found.default_factory())
    return None


def _named(struct: type[Struct], key: str, name: str, example: str) -> OptionTable:
    return _table(struct, f"[{key}.{name}]", f"[{key}.{example}]", f"{key}.*")


def _tables_of(
    struct: type[Struct], header: str, example: str, pattern: str
) -> Iterator[OptionTable]:
    yield _table(struct, f"[{header}]", f"[{example}]", pattern)
    for key, hint in option_types(struct).items():
        if is_table(hint):
            yield from _tables_of(hint, f"{header}.{key}", f"{example}.{key}", f"{pattern}.{key}")


def _table(struct: type[Struct], header: str, example: str, pattern: str) -> OptionTable:
    texts = documentation(struct)
    options = tuple(
        Option(
            name=key,
            kind=kind_of(hint),
            default=default_of(struct, key),
            example=_example(struct, key, hint),
            text=texts[key],
            is_without_effect=is_without_effect(f"{pattern}.{key}"),
        )
        for key, hint in option_types(struct).items()
        if not is_table(hint) and typing.get_args(hint)[:1] != (SinkConfig,)
    )
    return OptionTable(header, example, summary(struct), options)


def kind_of(hint: Any) -> str:  # noqa: ANN401 - a type form
    """Name the kind of value that an option takes."""
    base = _base(hint)
    if typing.get_origin(base) is typing.Literal:
        return " or ".join(f'"{choice}"' for choice in typing.get_args(base))
    if typing.get_origin(base) is list:
        return f"list of {kind_of(typing.get_args(base)[0])}s"
    if typing.get_origin(base) is dict:
        return f"table of {kind_of(typing.get_args(base)[1])}s"
    kinds: dict[object, str] = {
        str: "string",
        int: "whole number",
        float: "number",
        bool: "boolean",
        Milliseconds: "duration",
        Bytes: "size",
        MicroDollars: "dollars",
    }
    return kinds.get(base, "command")


def _base(hint: Any) -> Any:  # noqa: ANN401 - a type form
    base = bare_type(hint)
    if typing.get_origin(base) is typing.Annotated:
        return typing.get_args(base)[0]
    return base


def _example(struct: type[Struct], key: str, hint: Any) -> object:  # noqa: ANN401 - a type form
    default = default_of(struct, key)
    if default is not None and default not in ("", []):
        return default
    wanted = bare_type(hint)
    for note in typing.get_args(wanted)[1:] if wanted is not _base(hint) else ():
        if isinstance(note, msgspec.Meta) and note.examples:
            return note.examples[0]
    if default is not None:
        return default
    base = _base(hint)
    if base is Milliseconds:  # it follows from other options: show what follows from the defaults
        return as_written(Milliseconds(getattr(struct(), f"{key}_ms")))
    if typing.get_origin(base) is typing.Literal:
        return typing.get_args(base)[0]
    return _EXAMPLES[base]
