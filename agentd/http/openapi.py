"""The OpenAPI document, made from the table of routes."""

import re
from collections.abc import Mapping
from typing import Any, Final

from agentd import __version__
from agentd.config.names import AGENT_NAME, FLEET_HOST
from agentd.http.parameters import (
    AGENTS_MAX,
    EVENT_TYPE_CHARS_MAX,
    INTEGER_MAX,
    TYPES_MAX,
    VERBS,
)
from agentd.http.routes import ROUTES, Kind, Route
from agentd.http.schemas import SCHEMAS, Schema

_WHOLE: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX}
_NAME: Final[Schema] = {"type": "string", "pattern": f"^{AGENT_NAME.pattern}$"}
# Fewer than are taken, which JSON Schema can't say: none of these is longer than ten years.
_DURATION: Final = "^([0-9]{1,6}(ms|s|m)|[0-9]{1,4}h|[0-9]{1,3}d){1,3}$"
KINDS: Final[Mapping[Kind, Schema]] = {
    "integer": _WHOLE,
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "moment": {
        "anyOf": [
            _WHOLE,
            {"type": "string", "format": "date-time"},
            {"type": "string", "format": "date"},
            {"type": "string", "pattern": _DURATION},
        ],
        "example": "24h",
    },
    "date": {
        "anyOf": [
            {"type": "string", "format": "date"},
            {"type": "string", "enum": ["today", "yesterday"]},
        ],
        "example": "2026-11-20",
    },
    "names": {"type": "array", "items": _NAME, "maxItems": AGENTS_MAX},
    "types": {
        "type": "array",
        "items": {"type": "string", "maxLength": EVENT_TYPE_CHARS_MAX, "example": "agent.*"},
        "maxItems": TYPES_MAX,
    },
    "host": {"type": "string", "pattern": f"^({FLEET_HOST.pattern})?$"},
}
IN_PATH: Final[Mapping[str, Schema]] = {
    "name": _NAME,
    "id": _WHOLE,
    "verb": {"type": "string", "enum": list(VERBS)},
}
_ERRORS: Final[Mapping[int, str]] = {
    400: "What was asked makes no sense; `message` says why.",
    401: "A token is needed, or another one.",
    403: "This visitor may not do that.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "It cannot be done now.",
    413: "The body is too large.",
    415: "The body is of the wrong type.",
    421: "The Host is not one of this server's names.",
    429: "Too many wrong tokens.",
    500: "A fault of ours.",
    503: "agentd is not reachable, or too busy.",
    504: "agentd did not answer in time.",
}
_OF_ALL: Final = (400, 401, 421, 429, 500, 503, 504)


def document() -> dict[str, Any]:
    """Return the OpenAPI document of this version."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "agentd",
            "version": __version__,
            "description": "What a supervisor of long-running agents knows, and what it is told.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token."}
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    of_view = (403,) if route.access == "view" else ()
    not_found = (404,) if route.query or "{" in route.path else ()
    fails = sorted({*_OF_ALL, *route.fails, *of_view, *not_found})
    told: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "summary": route.told,
        "parameters": [*_in_path(route), *_in_query(route)],
        "responses": {
            "200": {"description": "As asked.", "content": _content(route)},
            **{str(status): _failure(route, status) for status in fails},
        },
    }
    if route.access != "public":
        # Where the server has no token, everybody may look.
        told["security"] = [{"bearer": []}] if route.writes else [{}, {"bearer": []}]
    if route.writes:
        reason = {"schema": {"$ref": "#/components/schemas/Reason"}}
        told["requestBody"] = {"required": False, "content": {"application/json": reason}}
    return told


def _in_path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": IN_PATH[name]}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]


def _in_query(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "in": "query",
            "required": False,
            "description": each.told,
            "schema": KINDS[each.kind],
        }
        for each in route.query
    ]


def _content(route: Route) -> dict[str, Any]:
    schema = (
        {"$ref": f"#/components/schemas/{route.answer}"} if route.answer else {"type": "string"}
    )
    return {route.media_type: {"schema": schema}}


def _failure(route: Route, status: int) -> dict[str, Any]:
    schema: Schema = {"$ref": "#/components/schemas/Error"}
    if route.access == "public" and status == 503:  # noqa: PLR2004 - its own meaning there
        schema = {"anyOf": [{"$ref": f"#/components/schemas/{route.answer}"}, schema]}
    return {"description": _ERRORS[status], "content": {"application/json": {"schema": schema}}}
