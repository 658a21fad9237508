"""Silence, what explains it, and the health that follows: computed each time, never stored.

Silence counts from the last sign of life: a heartbeat, the end of a call or of a step, or
what stands for one (the spawn, the adoption, the end of a pause). An announced silence
and the wait for a human end later and count from their end; an open call holds a verdict
back until its deadline, and past it is a stall.
"""

from typing import Final

from agentd.core import beating
from agentd.core.agent import CALLS_OPEN_MAX, Agent, OpenCall
from agentd.core.lines import Call, Heartbeat, Status
from agentd.core.states import Health, Intent, State

# States in which a living process is expected to show that it lives.
JUDGED: Final = (State.RUNNING, State.PARKED)


def health_of(agent: Agent, now_ms: int) -> Health:
    """Judge an agent as of `now_ms`; the pure function behind every health that is shown."""
    if agent.intent is Intent.KILLED:
        return Health.KILLED
    if agent.intent is not Intent.UP:
        return Health.UNKNOWN
    if agent.config.external:
        return _of_external(agent, now_ms)
    waits = bool(agent.awaiting) and not agent.durable.held_why  # that needs a human
    if agent.state in (State.STARTING, State.COMPLETED) or waits:
        return Health.UNKNOWN
    if not agent.has_process:
        return Health.UNREACHABLE
    if agent.state not in (*JUDGED, State.STOPPING) or not agent.durable.ready:
        return Health.UNKNOWN
    if not agent.config.heartbeat.required:
        return Health.DEGRADED if beating.stands(agent, now_ms) else Health.HEALTHY
    return _by_silence(agent, now_ms)


def _of_external(agent: Agent, now_ms: int) -> Health:
    """Judge by silence alone; an old acquaintance that says nothing is missed, never praised."""
    if agent.alive_at_ms is None:
        return Health.UNKNOWN
    found = _by_silence(agent, now_ms)
    return Health.UNKNOWN if agent.beat_at_ms is None and found is Health.HEALTHY else found


def _by_silence(agent: Agent, now_ms: int) -> Health:
    degraded_ms, unreachable_ms = silence_deadlines(agent)
    if now_ms < degraded_ms:
        return Health.DEGRADED if beating.stands(agent, now_ms) else Health.HEALTHY
    return Health.DEGRADED if now_ms <= unreachable_ms else Health.UNREACHABLE


def silence_deadlines(agent: Agent) -> tuple[int, int]:
    """From when on it is degraded, and beyond when unreachable, if it stays silent."""
    alive_at_ms = agent.alive_at_ms if agent.alive_at_ms is not None else agent.since_ms
    base_ms = max(alive_at_ms, agent.hold_until_ms or 0)
    if agent.state is State.PARKED:
        base_ms = max(base_ms, agent.durable.parked_until_ms or 0)
    beat = agent.config.heartbeat
    # The longest open call decides: each of them explains the silence on its own.
    held_ms = max(call.until_ms for call in agent.calls.values()) if agent.calls else 0
    return (
        max(base_ms + beat.degraded_after_ms, held_ms),
        max(base_ms + beat.unreachable_after_ms, held_ms),
    )


def next_change_ms(agent: Agent, now_ms: int) -> int | None:
    """When its health changes next if nothing is heard; None where silence is not judged."""
    if agent.intent is not Intent.UP:
        return None
    if agent.config.external:
        if agent.alive_at_ms is None:
            return None
    elif agent.state not in JUDGED or not agent.has_process or not agent.config.heartbeat.required:
        return None
    degraded_ms, unreachable_ms = silence_deadlines(agent)
    if now_ms < degraded_ms:
        return degraded_ms
    return unreachable_ms + 1 if now_ms <= unreachable_ms else None


def note_heartbeat(agent: Agent, beat: Heartbeat, now_ms: int) -> None:
    """A heartbeat ends every silence announced before it, and may announce the next."""
    agent.beat_at_ms = agent.alive_at_ms = now_ms
    longest_ms = agent.config.heartbeat.max_silence_ms
    if beat.silence_ms is not None:
        agent.hold_until_ms = now_ms + min(beat.silence_ms, longest_ms)
    elif beat.status is Status.WAITING_HUMAN:
        agent.hold_until_ms = now_ms + longest_ms
    else:
        agent.hold_until_ms = None


def note_call(agent: Agent, call: Call, now_ms: int) -> None:
    """An open call explains silence up to its deadline; its end is a sign of life."""
    if not call.start:
        agent.calls.pop(call.call, None)
        agent.alive_at_ms = now_ms
        return
    longest_ms = agent.config.heartbeat.max_silence_ms
    allowed_ms = call.deadline_ms if call.deadline_ms is not None else longest_ms
    label = " ".join(part for part in (call.op, call.provider, call.model) if part) or call.call
    if call.call not in agent.calls and len(agent.calls) >= CALLS_OPEN_MAX:
        agent.calls.pop(next(iter(agent.calls)))  # the oldest: bounded, whatever is sent
    until_ms = now_ms + allowed_ms
    agent.calls[call.call] = OpenCall(label, now_ms, until_ms, call.model, call.provider)


def shift(agent: Agent, gap_ms: int, now_ms: int) -> None:
    """Time that was nobody's silence: everything that measures silence moves along with it.

    Only ever later: what begins to count in the future, as after an adoption, stays there.
    """
    if agent.alive_at_ms is not None:
        moved_ms = min(now_ms, agent.alive_at_ms + gap_ms)
        agent.alive_at_ms = max(agent.alive_at_ms, moved_ms)
    if agent.healthy_since_ms is not None:
        agent.healthy_since_ms = min(now_ms, agent.healthy_since_ms + gap_ms)
    if agent.hold_until_ms is not None:
        agent.hold_until_ms += gap_ms
    for call in agent.calls.values():
        call.until_ms += gap_ms
    agent.progress.shift(gap_ms, now_ms)


def silence_ms(agent: Agent, now_ms: int) -> int | None:
    """Time since the last heartbeat of this incarnation; None before the first."""
    return None if agent.beat_at_ms is None else max(0, now_ms - agent.beat_at_ms)


def lifeless_ms(agent: Agent, now_ms: int) -> int | None:
    """Time since its last sign of life, or what stands for one; what nobody watched is left out."""
    return None if agent.alive_at_ms is None else max(0, now_ms - agent.alive_at_ms)


def expected_silence_ms(agent: Agent, now_ms: int) -> int | None:
    """How long silence is still explained; None where nothing explains it."""
    until_ms = agent.hold_until_ms or 0
    if agent.calls:
        until_ms = max(until_ms, *(call.until_ms for call in agent.calls.values()))
    return until_ms - now_ms if until_ms > now_ms else None
