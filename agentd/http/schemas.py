"""The shapes of the documents, as JSON Schema, for the OpenAPI document.

What is named here is always there; more may be, of this version or a later one.
"""

from collections.abc import Mapping
from typing import Any, Final

from agentd.http.parameters import REASON_CHARS_MAX

Schema = dict[str, Any]

STRING: Final[Schema] = {"type": "string"}
TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
NUMBER: Final[Schema] = {"type": "number"}
NUMBER_OR_NULL: Final[Schema] = {"type": ["number", "null"]}
INTEGER: Final[Schema] = {"type": "integer"}
INTEGER_OR_NULL: Final[Schema] = {"type": ["integer", "null"]}
BOOLEAN: Final[Schema] = {"type": "boolean"}
WORDS: Final[Schema] = {"type": "array", "items": STRING}
ANY: Final[Schema] = {}


def shape(**fields: Schema) -> Schema:
    """Return an object that has all of these fields, and maybe more."""
    return {"type": "object", "required": list(fields), "properties": fields}


def many(items: Schema) -> Schema:
    """Return a list of things of one shape."""
    return {"type": "array", "items": items}


def named(name: str) -> Schema:
    """Return what points at a shape of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*words: str) -> Schema:
    """Return one of a closed set of words."""
    return {"type": "string", "enum": list(words)}


_AGENT: Final = shape(
    name=STRING,
    intent=STRING,
    state=STRING,
    health=one_of("healthy", "degraded", "unreachable", "killed", "unknown"),
    pid=INTEGER_OR_NULL,
    uptime_s=NUMBER_OR_NULL,
    restarts=INTEGER,
    failures=INTEGER,
    reason=TEXT_OR_NULL,
    evidence=TEXT_OR_NULL,
    silence_s=NUMBER_OR_NULL,
    heartbeats=INTEGER,
    rss_bytes=INTEGER_OR_NULL,
    memory_limit_bytes=INTEGER_OR_NULL,
    tokens=shape(total=INTEGER),
    cost_usd=shape(known=BOOLEAN),
    tasks=shape(success=INTEGER, failure=INTEGER),
    budgets=many(shape(name=STRING, limit=NUMBER, used=NUMBER)),
    depends_on=WORDS,
    blocked_by=WORDS,
    open_incident=INTEGER_OR_NULL,
    held=BOOLEAN,
    tags=WORDS,
)
_INCIDENT: Final = shape(
    id=INTEGER,
    agent=TEXT_OR_NULL,
    agents=WORDS,
    cause=STRING,
    severity=STRING,
    opened=STRING,
    resolved=TEXT_OR_NULL,
    summary=STRING,
    open=BOOLEAN,
)
_CHANGED_AGENT: Final = shape(name=STRING, state=STRING, intent=STRING, message=STRING)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Error": shape(error=shape(code=STRING, message=STRING, hint=STRING)),
    "Status": shape(
        host=STRING,
        time=STRING,
        daemon=shape(pid=INTEGER, version=STRING),
        summary={"type": "object", "additionalProperties": INTEGER},
        agents=many(named("Agent")),
    ),
    "Agent": _AGENT,
    "Event": shape(id=INTEGER, time=STRING, event=STRING, severity=STRING, message=STRING),
    "Events": shape(events=many(named("Event")), last_id=INTEGER),
    "Incident": _INCIDENT,
    "Incidents": shape(incidents=many(named("Incident"))),
    "History": shape(
        agents=many(
            shape(
                name=STRING,
                intervals=many(shape(**{"from": STRING, "to": TEXT_OR_NULL, "state": STRING})),
            )
        )
    ),
    "Report": shape(date=STRING, timezone=STRING, host=STRING, agents=many(ANY), ok=BOOLEAN),
    "Log": shape(agent=STRING, lines=WORDS),
    "Reason": {
        "type": "object",
        "properties": {"reason": {"type": "string", "maxLength": REASON_CHARS_MAX}},
    },
    "Changed": shape(agents=many(_CHANGED_AGENT)),
    "Acknowledged": shape(id=INTEGER, message=STRING),
    "Ready": shape(ready=BOOLEAN, reason=TEXT_OR_NULL),
    "AgentReady": shape(agent=STRING, ready=BOOLEAN, reason=TEXT_OR_NULL),
}
