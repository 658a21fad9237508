"""What is one incident: which events are trouble, and when an agent is well again.

Rule 1: an incident is opened by trouble that people are told of, never by what an operator
did. Warnings of what may come open none.
Rule 2: trouble with an agent's health is over when it is proven to be well. The first proof
is a heartbeat, or where none is required half a minute of running; each time that it came
too early, the next has to last twice as long.
Rule 3: any other trouble is over with a new incarnation that is well, with an operator's word,
or, where the agent goes on all the same, when it hasn't been told again for a while.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentd.core.agent import After, Agent
from agentd.core.budgets import FLEET_BUDGET
from agentd.core.records import IncidentRecord, Member, Record
from agentd.core.states import Health, Intent, State, StopReason

# Who pauses and kills where no operator does (`Durable.intent_by`).
POLICY: Final = "agentd"
# Where no heartbeat is required, so much running without failure is the first proof.
PROOF_MS: Final = 30_000
# After an incident was resolved too early once, twice, three times: 1, 2, 4 minutes.
PROOF_AGAIN_MS: Final = 60_000
PROOF_DOUBLINGS_MAX: Final = 20
# Trouble that a healthy agent goes on with is over when it wasn't told again for so long.
FADES_MS: Final = 3_600_000
# Memory moves slowly: a leak that is told once an hour must not be a new incident each time.
MEMORY_FADES_MS: Final = 86_400_000
# A lost host that the whole fleet has known nothing of for so long was taken away for good.
HOST_FORGOTTEN_MS: Final = 86_400_000
MESSAGE_CHARS_MAX: Final = 500
FLEET_BUDGET_SUBJECT: Final = "fleet budget"
# Why what is about other hosts is over where the link to them was taken away.
NO_OTHERS: Final = "this host hears of no other any more"

SEVERITIES: Final = ("info", "warning", "critical")
_HOST: Final = "host "
UNWELL: Final = "health"
"""The trouble of a member that isn't well, and of which nothing more is told."""


class Kind(StrEnum):
    """What has to happen before a trouble is over."""

    HEALTH = "health"
    CONDUCT = "conduct"
    MEMORY = "memory"
    REMAINS = "remains"
    """Something of it survives SIGKILL: over when that is gone."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What one event says of an agent (or of what `subject_of` names)."""

    kind: Kind
    says: str
    severity: str = "warning"
    """The least that opens an incident."""


TROUBLES: Final[Mapping[str, Trouble]] = {
    "agent.degraded": Trouble(Kind.HEALTH, "is degraded"),
    "agent.unreachable": Trouble(Kind.HEALTH, "is unreachable"),
    "agent.exited": Trouble(Kind.HEALTH, "failed"),
    "agent.escalated": Trouble(Kind.HEALTH, "needs a human"),
    "agent.completed": Trouble(Kind.HEALTH, "ended without a word"),
    "agent.held": Trouble(Kind.HEALTH, "waits for a human"),
    "agent.paused": Trouble(Kind.HEALTH, "was paused by agentd"),
    "agent.killed": Trouble(Kind.HEALTH, "was killed by agentd"),
    "agent.stopping": Trouble(Kind.REMAINS, "can't be killed", "critical"),
    "memory.leak": Trouble(Kind.MEMORY, "leaks memory", "critical"),
    "memory.pressure": Trouble(Kind.MEMORY, "is short of memory"),
    "memory.limit": Trouble(Kind.MEMORY, "reached its memory limit"),
    "oom.child": Trouble(Kind.CONDUCT, "lost a helper"),
    "cost.runaway": Trouble(Kind.CONDUCT, "spends far more than usual"),
    "budget.exceeded": Trouble(Kind.CONDUCT, "exceeded a budget"),
    "loop.detected": Trouble(Kind.CONDUCT, "is in a loop"),
    "drift.detected": Trouble(Kind.CONDUCT, "drifts from its goal"),
    # These two are warnings until they are acted upon.
    "tool.failing": Trouble(Kind.CONDUCT, "uses a tool that fails", "critical"),
    "retry.limit": Trouble(Kind.CONDUCT, "retries in vain", "critical"),
    "daemon.fault": Trouble(Kind.CONDUCT, "met a bug of agentd", "critical"),
    "breaker.opened": Trouble(Kind.CONDUCT, ""),
    "daemon.storage": Trouble(Kind.CONDUCT, "", "critical"),
    "host.lost": Trouble(Kind.CONDUCT, "", "critical"),
}
# What a dependency that is down may explain.
_EXPLICABLE: Final = ("tool.failing", "retry.limit")
# Trouble that strikes many agents at once when it isn't theirs.
_COMMON: Final = ("agent.exited", "agent.degraded", "agent.unreachable", "agent.completed")
# What names where it is stuck or what it ran into, and what is final.
_TELLING: Final = ("agent.unreachable", "agent.escalated", "memory.limit")
_PRESSURES: Final = ("memory.pressure", "memory.limit")


def trouble_of(record: Record, agent: Agent | None, *, told: bool) -> Trouble | None:
    """Return what trouble a record is, if it is any; `told`: people are told of it.

    An end that the opening of a breaker has explained isn't told again, and is trouble.
    """
    trouble = TROUBLES.get(record.event)
    if trouble is None or rank(record.severity) < rank(trouble.severity):
        return None
    if not told and not is_explained(record):
        return None
    if agent is None or trouble.kind is Kind.REMAINS or not is_kept_down(agent):
        return trouble
    return None


def rank(severity: str) -> int:
    """Order severities."""
    return SEVERITIES.index(severity)


def is_explained(record: Record) -> bool:
    """Whether a failing breaker, or the fleet's budget, may have told of this already."""
    down = StopReason.DEPENDENCY_DOWN.value
    ended = record.event == "agent.exited" and record.reason == down
    return (ended and record.severity != "info") or is_of_fleet_budget(record)


def is_of_fleet_budget(record: Record) -> bool:
    """Whether an agent was paused because all hosts together have spent enough."""
    return record.event == "agent.paused" and record.data.get("budget") == FLEET_BUDGET


def may_be_explained(record: Record, trouble: Trouble) -> bool:
    """Whether the outage of a dependency explains this trouble."""
    return trouble.kind is Kind.HEALTH or record.event in _EXPLICABLE


def signature(record: Record) -> tuple[object, ...] | None:
    """Return what this trouble has in common with that of others; None: it is its own."""
    if record.event not in _COMMON:
        return None
    return record.event, record.reason, record.data.get("code"), record.data.get("signal")


def subject_of(record: Record) -> str:
    """Name what a record is about that is about no agent; empty: nothing that has incidents."""
    if record.event.startswith("breaker."):
        return f"breaker {record.data.get('name')}"
    if record.event.startswith("host."):
        return host_subject(str(record.data.get("host")))
    if record.event == "budget.exceeded":
        return FLEET_BUDGET_SUBJECT
    return record.event.replace(".", " ") if record.event.startswith("daemon.") else ""


def host_subject(host: str) -> str:
    """Name a host as what an incident is about."""
    return f"{_HOST}{host}"


def lost_host(subject: str) -> str:
    """Return the host that an incident is about; empty: it is about something else."""
    return subject.removeprefix(_HOST) if subject.startswith(_HOST) else ""


def shared_key(subject: str) -> str:
    """Return the key that all hosts give to one incident; empty: it is this host's alone."""
    host = lost_host(subject)
    return f"host.lost:{host}" if host else ""


# What is no agent has trouble of this kind only.
SUBJECT_KINDS: Final = frozenset({Kind.CONDUCT.value})


def is_ill(member: Member) -> bool:
    """Whether its trouble is with its health, of which outages elsewhere may be the cause."""
    return member.left_at_ms is None and Kind.HEALTH.value in kinds_of(member)


def kinds_of(member: Member) -> frozenset[str]:
    """Return the kinds of trouble that a member had; those of a new one are none."""
    known = {TROUBLES[each].kind.value for each in member.troubles if each in TROUBLES}
    return frozenset(member.kinds) | known


# -- one agent ---------------------------------------------------------------


def is_kept_down(agent: Agent) -> bool:
    """Whether an operator wants it down: then nothing that it does is trouble."""
    if agent.stop is not None and agent.stop.after is After.REMOVE:
        return True
    wished = agent.intent in (Intent.STOPPED, Intent.KILLED)
    return wished and agent.durable.intent_by != POLICY


def rests(agent: Agent, member: Member) -> str:
    """Return why it is well although it doesn't run; empty: it has to run to be well."""
    if is_kept_down(agent):
        by = f" by {agent.durable.intent_by}" if agent.durable.intent_by else ""
        return f"{agent.intent.value}{by}"
    silent = "agent.completed" in member.troubles
    return "its work is done" if agent.state is State.COMPLETED and not silent else ""


def is_stuck(agent: Agent) -> bool:
    """Whether something of it survives SIGKILL."""
    return bool(agent.stuck)


def is_well(agent: Agent) -> bool:
    """Whether it is healthy, and has shown it itself where it is to beat."""
    if agent.stop is not None or agent.noted is not Health.HEALTHY:
        return False
    return agent.beat_at_ms is not None or not beats(agent)


def beats(agent: Agent) -> bool:
    """Whether heartbeats are expected of it."""
    return agent.config.external or agent.config.heartbeat.required


def proof_ms(agent: Agent, reopened: int) -> int:
    """How long it has to be well before that is believed."""
    stable_ms = int(agent.config.restart.stable_after_ms)
    if reopened:
        doublings = min(reopened - 1, PROOF_DOUBLINGS_MAX)
        return min(stable_ms, PROOF_AGAIN_MS << doublings)
    return 0 if beats(agent) else min(stable_ms, PROOF_MS)


def of_health(member: Member) -> tuple[str, ...]:
    """Return what of its trouble an operator's word doesn't end."""
    kept = (Kind.HEALTH, Kind.REMAINS)
    return tuple(one for one in member.troubles if one == UNWELL or TROUBLES[one].kind in kept)


def fades_ms(member: Member) -> int | None:
    """When what is left of its trouble is over if it isn't told again; None: never by time."""
    kinds = {TROUBLES[each].kind for each in member.troubles if each != UNWELL}
    if not kinds or not kinds <= {Kind.CONDUCT, Kind.MEMORY}:
        return None
    return member.told_at_ms + (MEMORY_FADES_MS if Kind.MEMORY in kinds else FADES_MS)


def troubles_left(agent: Agent, member: Member, now_ms: int) -> tuple[str, ...]:
    """Return what of its trouble isn't over; none is left once nothing speaks against it."""
    well = is_well(agent)
    if well and agent.incarnation > member.incarnation:
        return ()
    left = [each for each in member.troubles if _stands(agent, each, well=well)]
    ends_ms = fades_ms(Member(member.agent, 0, tuple(left), told_at_ms=member.told_at_ms))
    if well and ends_ms is not None and now_ms >= ends_ms:
        return ()
    if not well and not left:
        left.append(UNWELL)
    return tuple(left)


def _stands(agent: Agent, event: str, *, well: bool) -> bool:
    """Whether one trouble is there still, as far as the agent itself shows."""
    if event == UNWELL:
        return not well
    kind = TROUBLES[event].kind
    if kind is Kind.HEALTH:
        return not well
    if kind is Kind.REMAINS:
        return is_stuck(agent)
    if event in _PRESSURES and agent.memory.sampled_at_ms is not None:
        return agent.memory.pressed
    return True


# -- words -------------------------------------------------------------------


def who(incident: IncidentRecord) -> str:
    """Name whom an incident is about, for the head of its summary."""
    if incident.agent is None:
        return ""
    others = len(set(incident.agents) - {incident.agent})
    return incident.agent if not others else f"{incident.agent} (and {others} more)"


def summary_of(record: Record, named: str) -> str:
    """Write what broke, and what is known of why, in one sentence."""
    said = record.message[:MESSAGE_CHARS_MAX]
    says = TROUBLES[record.event].says
    return f"{named} {says}: {said}" if named and says else said


def tells_more(record: Record, incident: IncidentRecord) -> bool:
    """Whether a record says more of what broke than what its incident is called by so far.

    What is worse does. Of equals: where it is stuck, what it ran into, that restarting has
    ended, what the kernel did; and any end where nothing but silence was known.
    """
    if record.severity != incident.severity:
        return rank(record.severity) > rank(incident.severity)
    if record.event in _TELLING or record.reason == StopReason.OOM_KILLED.value:
        return True
    silent = f"{who(incident)} {TROUBLES['agent.degraded'].says}: "
    return record.event == "agent.exited" and incident.summary.startswith(silent)


def renamed(incident: IncidentRecord, before: str) -> str:
    """Return the summary of an incident that has other members than when it named `before`."""
    if not before or not incident.summary.startswith(before):
        return incident.summary
    return who(incident) + incident.summary[len(before) :]
