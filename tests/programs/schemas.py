"""The documents of the command line as JSON Schemas, written from the page that promises them.

Fields may be added (nothing here forbids one), but none listed may go or change its kind.
"""

from typing import Any, Final

Schema = dict[str, Any]

STATES: Final = [
    *("stopped", "starting", "running", "stopping", "cooldown"),
    *("parked", "escalated", "paused", "completed"),
]
HEALTHS: Final = ["healthy", "degraded", "unreachable", "killed", "unknown"]
REASONS: Final = [
    *("COMPLETED", "EXITED", "CRASHED", "OOM_KILLED", "SPAWN_FAILED", "STATE_INVALID"),
    *("STARTUP_TIMEOUT", "TIMEOUT", "LOOP_DETECTED", "DRIFT_DETECTED", "BUDGET_EXCEEDED"),
    *("COST_SPIKE", "RETRY_LIMIT_REACHED", "TOOL_FAILURE", "MEMORY_LEAK", "MEMORY_LIMIT"),
    *("DEPENDENCY_DOWN", "USER_PAUSED", "USER_KILLED", "USER_STOPPED", "USER_RESTARTED"),
    *("CONFIG_CHANGED", "DAEMON_STOPPED", "HOST_REBOOTED", "UNKNOWN"),
]
EVENTS: Final = [
    *(
        f"agent.{name}"
        for name in [
            "held",
            "unheld",
            "starting",
            "started",
            "ready",
            "healthy",
            "degraded",
            "unreachable",
            "recovered",
            "exited",
            "stopping",
            "stopped",
            "completed",
            "cooldown",
            "restarting",
            "escalated",
            "paused",
            "resumed",
            "killed",
            "parked",
            "adopted",
            "checkpoint",
            "added",
            "removed",
            "reconfigured",
        ]
    ),
    *("memory.suspect", "memory.leak", "memory.pressure", "memory.limit", "oom.child"),
    *("security.refused", "daemon.started", "daemon.stopping", "daemon.stalled"),
    *("daemon.storage", "config.applied", "config.rejected"),
    *("breaker.opened", "breaker.half_open", "breaker.closed", "latency.warning"),
    *("drift.warning", "drift.detected", "judge.failed"),
    *("incident.opened", "incident.updated", "incident.resolved"),
    *("alert.sent", "alert.failed", "report.sent"),
]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
TIME: Final[Schema] = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
REASON: Final[Schema] = {"enum": REASONS}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def record(**fields: Schema) -> Schema:
    """An object that has all of these fields."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def several(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def mapping(schema: Schema) -> Schema:
    return {"type": "object", "additionalProperties": schema}


AGENT: Final = record(
    name=TEXT,
    intent={"enum": ["up", "paused", "stopped", "killed"]},
    state={"enum": STATES},
    health={"enum": HEALTHS},
    pid=or_null(COUNT),
    incarnation=or_null(TEXT),
    execution=or_null(TEXT),
    uptime_s=or_null(NUMBER),
    restarts=COUNT,
    failures=COUNT,
    cooldown_s=or_null(NUMBER),
    reason=or_null(REASON),
    evidence=or_null(TEXT),
    last_exit=or_null(
        record(code=or_null(COUNT), signal=or_null(COUNT), reason=REASON, evidence=TEXT, time=TIME)
    ),
    silence_s=or_null(NUMBER),
    expected_silence_s=or_null(NUMBER),
    heartbeats=COUNT,
    status=or_null(TEXT),
    task=or_null(TEXT),
    step=or_null(TEXT),
    tool=or_null(TEXT),
    goal=or_null(TEXT),
    progress=or_null({"type": "number", "minimum": 0, "maximum": 1}),
    rss_bytes=or_null(COUNT),
    memory_limit_bytes=or_null(COUNT),
    memory_forecast_s=or_null(NUMBER),
    cpu_percent=or_null(NUMBER),
    tokens=record(
        total=COUNT,
        last_cycle=or_null(COUNT),
        baseline=or_null(NUMBER),
        per_minute=or_null(NUMBER),
    ),
    cost_usd=record(run=or_null(NUMBER), day=or_null(NUMBER), known=FLAG),
    tasks=record(
        success=COUNT,
        failure=COUNT,
        success_rate=or_null({"type": "number", "minimum": 0, "maximum": 1}),
        latency_ms=record(mean=or_null(NUMBER), p95=or_null(NUMBER)),
    ),
    budgets=several(record(name=TEXT, limit=NUMBER, used=or_null(NUMBER))),
    depends_on=several(TEXT),
    blocked_by=several(TEXT),
    unfinished_actions=COUNT,
    open_incident=or_null(COUNT),
    held=FLAG,
    parked_s=or_null(NUMBER),
    open_call=or_null({"type": "object"}),
    tags=several(TEXT),
)
STATUS: Final = record(
    host=TEXT,
    time=TIME,
    daemon=record(
        pid=COUNT,
        version=TEXT,
        uptime_s=NUMBER,
        rss_bytes=COUNT,
        open_fds=COUNT,
        agents=COUNT,
        heartbeats=COUNT,
        lines_rejected=COUNT,
        storage=TEXT,
    ),
    summary=record(**dict.fromkeys(HEALTHS, COUNT)),
    agents=several(AGENT),
)
EVENT: Final = record(
    id={"type": "integer", "minimum": 1},
    time=TIME,
    host=TEXT,
    agent=or_null(TEXT),
    incarnation=or_null(TEXT),
    event={"enum": EVENTS},
    severity={"enum": ["info", "warning", "critical"]},
    reason=or_null(REASON),
    message={"type": "string", "minLength": 1},
    data={"type": "object"},
)
ERROR: Final = record(file=TEXT, line=or_null(COUNT), key=TEXT, message=TEXT, hint=or_null(TEXT))
CHANGE: Final = record(agent=TEXT, keys=several(TEXT))
RELOAD: Final = record(
    dry_run=FLAG,
    added=several(TEXT),
    removed=several(TEXT),
    restarted=several(CHANGE),
    applied=several(CHANGE),
    unchanged=several(TEXT),
    errors=several(ERROR),
)
CHECK: Final = record(ok=FLAG, errors=several(ERROR))
SHOW: Final = record(
    agents=mapping(
        mapping(record(value={}, origin={"type": "string", "pattern": r"^default$|:\d+$"}))
    )
)
