"""A JSON Schema of the config file, for editors that complete and check TOML.

msgspec's own can't write the defaults of durations, sizes and money, nor say how they look
in the file; these do both.
"""

import typing
from typing import Any, Final

import msgspec
from msgspec import Struct

from agentd.config.agent import AgentConfig
from agentd.config.catalogue import default_of, documentation, summary
from agentd.config.convert import bare_type, is_table, option_types
from agentd.config.names import AGENT_NAME
from agentd.config.schema import Config
from agentd.config.units import Bytes, MicroDollars, Milliseconds

_UNITS: Final[dict[object, dict[str, object]]] = {
    Milliseconds: {
        "type": "string",
        "pattern": r"^\s*([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+\s*$",
        "examples": ["90s", "5m", "1h30m"],
    },
    Bytes: {
        "type": "string",
        "pattern": r"^\s*([0-9]+(\.[0-9]+)?\s*[KMGTkmgt]?([iI]?[bB])?)?\s*$",
        "examples": ["512M", "2G"],
    },
    MicroDollars: {"type": ["number", "string"], "minimum": 0},
}
_PLAIN: Final[dict[object, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def json_schema() -> dict[str, Any]:
    """Return the schema of `agentd.toml`; that of an agent's own file is `#/$defs/AgentConfig`."""
    definitions: dict[str, Any] = {}
    schema = _table(Config, definitions)
    reference = _of(AgentConfig, definitions)
    schema["properties"]["defaults"] = {
        **reference,
        "description": "Any option of an agent, for all of them.",
    }
    schema["properties"]["agents"]["propertyNames"] = {"pattern": f"^{AGENT_NAME.pattern}$"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "agentd.toml",
        **schema,
        "$defs": definitions,
    }


def _table(struct: type[Struct], definitions: dict[str, Any]) -> dict[str, Any]:
    texts = documentation(struct)
    properties = {}
    for key, hint in option_types(struct).items():
        schema = _of(hint, definitions)
        if key in texts:
            schema = {**schema, "description": texts[key]}
        default = default_of(struct, key)
        if default is not None and not isinstance(default, Struct):
            schema = {**schema, "default": default}
        properties[key] = schema
    required = [f.encode_name for f in msgspec.structs.fields(struct) if f.required]
    return {
        "type": "object",
        "description": summary(struct),
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a type form
    """Return the schema of one type, tables as references into `definitions`."""
    base, origin = bare_type(hint), typing.get_origin(bare_type(hint))
    inner = typing.get_args(base)
    if is_table(base):
        if base.__name__ not in definitions:
            definitions[base.__name__] = {}  # so that a table within itself would end
            definitions[base.__name__] = _table(base, definitions)
        return {"$ref": f"#/$defs/{base.__name__}"}
    if base in _UNITS:
        return dict(_UNITS[base])
    if origin is typing.Annotated:
        return {**_of(inner[0], definitions), **_bounds(inner[1:])}
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin is list:
        return {"type": "array", "items": _of(inner[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(inner[1], definitions)}
    if base in _PLAIN:
        return {"type": _PLAIN[base]}
    return {"anyOf": [_of(part, definitions) for part in inner]}


def _bounds(notes: tuple[object, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for note in notes:
        if isinstance(note, msgspec.Meta):
            bounds = {
                "minimum": note.ge,
                "maximum": note.le,
                "pattern": note.pattern,
                "examples": note.examples,
            }
            found.update({key: value for key, value in bounds.items() if value is not None})
    return found
