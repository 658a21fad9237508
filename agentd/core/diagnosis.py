"""A look before the axe: a stalled agent is looked at, and told of when what was seen is here.

The look has a limit; when it is over without an answer, the verdict goes on without one. A sign
of life ends it without a verdict, and an operator's word, or the end of the process, outranks
it. Nothing of it lasts: a daemon that starts meanwhile looks again. What an end left behind is
asked for too, and delays nothing.
"""

from collections.abc import Mapping
from typing import Final, Literal

from agentd.core import beating
from agentd.core.agent import Agent, Look, Presence
from agentd.core.effects import Diagnose, SaveEvidence
from agentd.core.events import Diagnosed, Exited
from agentd.core.exits import End
from agentd.core.records import IncidentRecord
from agentd.core.states import Health
from agentd.core.turn import Turn

# The daemon's own limit is 2.5 s (`daemon.diagnosis`); beyond this nothing is waited for.
DIAGNOSIS_MS_MAX: Final = 3_000
LINE_CHARS_MAX: Final = 400
STEPS_SHOWN_MAX: Final = 10
CALLS_SHOWN_MAX: Final = 8


def is_awaited(turn: Turn, agent: Agent, health: Health) -> bool:
    """Whether a verdict waits until the agent was looked at; the look begins with the question.

    Only a process of our own can be looked at: of an external agent not even the pid is known.
    Where the leader ends meanwhile, its end is the news; it is soon told.
    """
    look = agent.look
    if look is None:
        if not _deserves_a_look(agent, health, turn.now_ms):
            return False
        look = _begin(turn, agent, health)
    is_over = look.answer is not None and agent.presence is Presence.ALIVE
    return not is_over and turn.now_ms < look.until_ms


def is_start_awaited(turn: Turn, agent: Agent) -> bool:
    """Whether the end of a start that takes too long waits until it was looked at, likewise."""
    look = agent.look or _begin(turn, agent, Health.UNKNOWN)
    return look.answer is None and turn.now_ms < look.until_ms


def is_of_start(agent: Agent) -> bool:
    """Whether it is looked at because it doesn't become ready."""
    return agent.look is not None and agent.look.health is Health.UNKNOWN


def settle(agent: Agent, health: Health, now_ms: int) -> None:
    """Give up a look at what is no longer so: it gave a sign of life, or somebody had his way."""
    if agent.look is None or agent.look.health is health:
        return
    agent.look = None
    if health is Health.HEALTHY and agent.noted is Health.HEALTHY:
        agent.healthy_since_ms = now_ms


def due_ms(agent: Agent) -> int | None:
    """When a verdict waits no longer; None where nothing is waited for."""
    return agent.look.until_ms if agent.look is not None else None


def take(turn: Turn, agent: Agent, event: Diagnosed) -> None:
    """Take an answer in; one about an earlier look or run says nothing of this one."""
    if event.kind == "death":
        # It may have started again and be well by now; what it died of is no less of use.
        incident = turn.incidents.of_lately(agent.name, event.asked_at_ms)
        save(turn, incident, agent, "death", event.evidence)
        return
    look = agent.look
    if look is None or event.incarnation != agent.incarnation:
        return
    if event.asked_at_ms == look.asked_at_ms:
        look.answer = event


def found(agent: Agent) -> str:
    """In one line, where it is stuck; empty where nobody could say."""
    look = agent.look
    if look is None or look.answer is None:
        return ""
    return look.answer.line[:LINE_CHARS_MAX]


def keep(turn: Turn, agent: Agent) -> None:
    """End the look and keep what it showed, now that its verdict is told."""
    look, agent.look = agent.look, None
    if look is not None:
        seen = look.answer.evidence if look.answer is not None else look.context
        save(turn, turn.incidents.of(agent.name), agent, "stall", seen)


def put_by(agent: Agent) -> None:
    """End the look before a stop that is told of when it is over: its end is what has a part
    in an incident.
    """
    look, agent.look = agent.look, None
    if look is not None and agent.stop is not None:
        agent.stop.seen = look.answer.evidence if look.answer is not None else look.context


def keep_of_stop(turn: Turn, agent: Agent) -> None:
    """Keep what was seen before the stop that has ended now."""
    if agent.stop is not None:
        save(turn, turn.incidents.of(agent.name), agent, "stall", agent.stop.seen)


def ask_of_end(turn: Turn, agent: Agent, end: End, ended: Exited) -> None:
    """Have what a failed end left behind kept; asked before anything of the run is forgotten."""
    evidence = ended.evidence
    exit_status = {
        "code": ended.code,
        "signal": ended.signal,
        "reason": end.reason.value,
        "evidence": end.evidence,
        "oom_kills": evidence.oom_kills,
        "oom_source": evidence.oom_source,
        "rss_bytes": evidence.rss_bytes,
        "memory_limit_bytes": evidence.limit_bytes,
        "survivors": evidence.survivors,
    }
    context = {**_context(agent, turn.now_ms), "exit": exit_status}
    turn.do(Diagnose(agent.name, agent.incarnation, "death", turn.now_ms, context))


def save(
    turn: Turn,
    incident: IncidentRecord | None,
    agent: Agent,
    kind: Literal["stall", "death"],
    evidence: Mapping[str, object],
) -> None:
    """Keep evidence with the incident that the agent is part of; without one it says nothing."""
    if incident is not None and evidence:
        turn.do(SaveEvidence(incident.number, agent.name, kind, evidence))


def _deserves_a_look(agent: Agent, health: Health, now_ms: int) -> bool:
    if agent.presence is not Presence.ALIVE or agent.config.external:
        return False
    if health is Health.DEGRADED:
        return beating.stands(agent, now_ms)
    return health is Health.UNREACHABLE


def _begin(turn: Turn, agent: Agent, health: Health) -> Look:
    context = _context(agent, turn.now_ms)
    look = Look(health, turn.now_ms, turn.now_ms + DIAGNOSIS_MS_MAX, context)
    agent.look = look
    agent.healthy_since_ms = None
    turn.do(
        Diagnose(
            agent.name,
            agent.incarnation,
            "stall",
            turn.now_ms,
            context,
            agent.telemetry.stack_signal,
        )
    )
    return look


def _context(agent: Agent, now_ms: int) -> dict[str, object]:
    """What the core knows of its work and nobody sees from outside."""
    telemetry = agent.telemetry
    said = {
        "status": telemetry.status.value if telemetry.status is not None else None,
        "task": telemetry.task,
        "step": telemetry.step,
        "tool": telemetry.tool,
        "goal": telemetry.goal,
    }
    progress, quiet = agent.progress, agent.progress.quiet
    since: dict[str, object] = {}
    if quiet is not None and quiet.cpu_ms is not None:
        cpu_ms, io_bytes = progress.used(quiet)
        since = {"for_ms": now_ms - quiet.since_ms, "cpu_ms": cpu_ms, "io_bytes": io_bytes}
    calls = list(agent.calls.values())[:CALLS_SHOWN_MAX]
    return {
        "last_steps": [dict(step) for step in list(agent.judging.steps)[-STEPS_SHOWN_MAX:]],
        "since_work": since,
        "last_said": {name: value for name, value in said.items() if value is not None},
        "open_call": [{"call": call.label, "open_ms": now_ms - call.begun_at_ms} for call in calls],
    }
