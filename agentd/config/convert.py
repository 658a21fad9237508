"""Tables of a TOML document into the structs of the schema, with every mistake at once.

msgspec alone stops at the first mistake and leaves out the names of tables. So it converts
what is right, in one call; only what it refuses is walked again, key by key.
"""

import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from agentd.config.errors import KeyPath
from agentd.config.suggest import Suggestions
from agentd.config.units import (
    Bytes,
    MicroDollars,
    Milliseconds,
    parse_dollars,
    parse_duration,
    parse_size,
)

Report = Callable[[KeyPath, str, str], None]
"""Takes a mistake: the path below the table that is converted, what, and what instead."""

T = TypeVar("T", bound=msgspec.Struct)

_UNITS: Final[Mapping[object, Callable[[object], object]]] = {
    Milliseconds: parse_duration,
    Bytes: parse_size,
    MicroDollars: parse_dollars,
}
_AT: Final = re.compile(r" - at `\$.*`$", re.DOTALL)
_BOUND: Final = re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (\S+)")
_BOUND_WORDS: Final = {
    ">=": "must be at least",
    "<=": "must be at most",
    ">": "must be more than",
    "<": "must be less than",
}


class _Bad:
    """Stands for a value that was refused."""


_BAD: Final = _Bad()


def convert(raw: object, struct: type[T], report: Report, suggest: Suggestions) -> T | None:
    """Convert a table; None, and everything that is wrong with it reported, if it isn't right."""
    found, is_right = convert_rest(raw, struct, report, suggest)
    return found if is_right else None


def convert_rest(
    raw: object, struct: type[T], report: Report, suggest: Suggestions
) -> tuple[T | None, bool]:
    """Convert what is right of a table: (the value, whether all of it was right).

    Each mistake is reported. The value is None where what is left of the table is none by
    itself, because something is missing in it.
    """
    try:
        return msgspec.convert(raw, struct, dec_hook=_read_unit), True
    except (msgspec.ValidationError, OverflowError, RecursionError):
        right = clean(raw, struct, report, suggest)
    try:
        return msgspec.convert(right, struct, dec_hook=_read_unit), False
    except msgspec.ValidationError:  # what remains contradicts itself, or lacks something
        return None, False


def clean(
    raw: object, struct: type[msgspec.Struct], report: Report, suggest: Suggestions
) -> dict[str, Any]:
    """Report everything that is wrong with a table, and return what is right of it."""
    found = _Cleaner(report, suggest).table(raw, struct, ())
    return found if isinstance(found, dict) else {}


def _read_unit(wanted: type, raw: object) -> object:
    return _UNITS[wanted](raw)


@cache
def options_of(struct: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return the options of a table; msgspec reads the annotations anew each time."""
    return msgspec.structs.fields(struct)


@cache
def option_types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the type of each option of a table, by its name in the file."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return {found.encode_name: hints[found.name] for found in options_of(struct)}


def bare_type(hint: Any) -> Any:  # noqa: ANN401 - a type form, which has no type of its own yet
    """Return a type without `| None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [part for part in typing.get_args(hint) if part is not type(None)]
        return rest[0] if len(rest) == 1 else hint
    return hint


def is_table(hint: Any) -> bool:  # noqa: ANN401 - a type form
    """Return whether an option is a table of options."""
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


class _Cleaner:
    """Walks a table that was refused, reports each mistake, and keeps the rest."""

    def __init__(self, report: Report, suggest: Suggestions) -> None:
        self._report = report
        self._suggest = suggest

    def table(
        self, raw: object, struct: type[msgspec.Struct], path: KeyPath
    ) -> dict[str, Any] | _Bad:
        if not isinstance(raw, dict):
            self._report(path, f"expected a table, found {_kind(raw)}", "")
            return _BAD
        options, kept = option_types(struct), {}
        for key, value in raw.items():
            if key not in options:
                self._report((*path, key), "unknown option", self._hint(key, struct))
                continue
            found = self._value(value, options[key], (*path, key))
            if found is not _BAD:
                kept[key] = found
        return self._whole(raw, kept, struct, path)

    def _whole(
        self,
        raw: dict[str, Any],
        kept: dict[str, Any],
        struct: type[msgspec.Struct],
        path: KeyPath,
    ) -> dict[str, Any] | _Bad:
        """Check what only the whole table shows: what is missing, and what contradicts."""
        missing = [
            found.encode_name
            for found in options_of(struct)
            if found.required and found.encode_name not in raw
        ]
        for key in missing:
            self._report((*path, key), "missing", "")
        if missing:
            return _BAD
        try:
            msgspec.convert(kept, struct, dec_hook=_read_unit)
        except msgspec.ValidationError as error:
            if _AT.search(str(error)) is None:  # else it was reported where it belongs
                if kept.keys() == raw.keys():  # else a default contradicts, not what was written
                    self._contradiction(str(error), raw, struct, path)
                return _BAD
        return kept

    def _contradiction(
        self, message: str, raw: dict[str, Any], struct: type[msgspec.Struct], path: KeyPath
    ) -> None:
        """Report against the option that the message names, one that was written if possible."""
        named = [word for word in re.findall(r"[a-z_]+", message) if word in option_types(struct)]
        written = [word for word in named if word in raw]
        key = (written or named or [None])[0]
        self._report((*path, key) if key else path, message, "")

    def _value(self, raw: object, hint: Any, path: KeyPath) -> Any:  # noqa: ANN401 - any option
        wanted = bare_type(hint)
        origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
        if is_table(wanted):
            return self.table(raw, wanted, path)
        if origin is dict:
            return self._names(raw, inner[1], path)
        if origin is list:
            return self._items(raw, inner[0], path)
        if wanted == str | list[str] and isinstance(raw, list):
            return self._items(raw, str, path)
        return self._leaf(raw, wanted, path)

    def _names(self, raw: object, inner: Any, path: KeyPath) -> Any:  # noqa: ANN401 - any option
        if not isinstance(raw, dict):
            self._report(path, f"expected a table, found {_kind(raw)}", "")
            return _BAD
        found = {key: self._value(value, inner, (*path, key)) for key, value in raw.items()}
        return {key: value for key, value in found.items() if value is not _BAD}

    def _items(self, raw: object, inner: Any, path: KeyPath) -> Any:  # noqa: ANN401 - any option
        if not isinstance(raw, list):
            self._report(path, f"expected a list, found {_kind(raw)}", "")
            return _BAD
        found = [self._value(value, inner, (*path, index)) for index, value in enumerate(raw)]
        return _BAD if any(value is _BAD for value in found) else found

    def _leaf(self, raw: object, wanted: Any, path: KeyPath) -> Any:  # noqa: ANN401 - any option
        try:
            msgspec.convert(raw, wanted, dec_hook=_read_unit)
        except (msgspec.ValidationError, OverflowError, RecursionError) as error:
            self._report(path, *self._explain(str(error), raw, wanted))
            return _BAD
        return raw

    def _explain(self, message: str, raw: object, wanted: Any) -> tuple[str, str]:  # noqa: ANN401 - a type form
        """Put msgspec's words into ours: (message, hint)."""
        base, meta = _stripped(wanted)
        if base in _UNITS:
            return _AT.sub("", message), ""
        if typing.get_origin(base) is typing.Literal:
            return self._explain_choice(raw, typing.get_args(base))
        bound = _BOUND.match(message)
        if bound is not None:
            limit = f"{_BOUND_WORDS[bound[1]]} {bound[2].removesuffix('.0')}"
            return f"{_shown(raw)} is out of bounds: {limit}", ""
        if isinstance(raw, str) and base is str and meta is not None and meta.examples:
            form = str((meta.extra or {}).get("form", ""))
            such = f'such as "{meta.examples[0]}"'
            return f"{raw!r} is not of the form that is wanted", f"{form}, {such}" if form else such
        return f"expected {_kind_wanted(base)}, found {_kind(raw)}", _quote_hint(raw, base)

    def _explain_choice(self, raw: object, choices: tuple[str, ...]) -> tuple[str, str]:
        listed = ", ".join(f'"{choice}"' for choice in choices)
        if not isinstance(raw, str):
            return f"expected one of {listed}, found {_kind(raw)}", ""
        return f"{raw!r} is not one of {listed}", self._suggest.hint(raw, choices)

    def _hint(self, key: str, struct: type[msgspec.Struct]) -> str:
        """Name the option of that name in a table of this one, else the nearest of this one."""
        options = option_types(struct)
        for table, hint in options.items():
            if is_table(hint) and key in option_types(hint):
                return f'did you mean "{table}.{key}"?'
        return self._suggest.hint(key, options)


def _stripped(wanted: Any) -> tuple[Any, msgspec.Meta | None]:  # noqa: ANN401 - a type form
    if typing.get_origin(wanted) is not typing.Annotated:
        return wanted, None
    base, *notes = typing.get_args(wanted)
    return base, next((note for note in notes if isinstance(note, msgspec.Meta)), None)


def _kind_wanted(base: object) -> str:
    names: dict[object, str] = {
        str: "a string",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
    }
    return names.get(base, "a string or a list of strings")


def _kind(raw: object) -> str:
    """Name what stands in the file, by its kind; numbers and booleans as they are."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int | float):
        return f"the number {_shown(raw)}"
    names: dict[type, str] = {str: "a string", list: "a list", dict: "a table"}
    return names.get(type(raw), "a date or time")


def _shown(raw: object) -> str:
    """Write a number; Python refuses to write an integer of thousands of digits."""
    if isinstance(raw, int) and abs(raw) >= 10**20:
        return "of more than twenty digits"
    return repr(raw)


def _quote_hint(raw: object, base: object) -> str:
    if base is str and isinstance(raw, int | float) and not isinstance(raw, bool):
        return f'in quotes it is a string: "{_shown(raw)}"'
    return ""
