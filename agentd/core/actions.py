"""What an agent has in flight and what it wants to find again: durable before it is answered.

An action that has begun and not ended is known to the next incarnation and to people. One
that isn't safe to repeat may hold the restart for a human (`restart.hold_unfinished`). With
its execution both end: they become history.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from agentd.config.units import format_duration
from agentd.core.agent import Agent
from agentd.core.effects import Recall, Reply, SaveCheckpoint
from agentd.core.lines import ActionBegun, ActionDone, CheckpointPut
from agentd.core.records import Action, CheckpointMark
from agentd.core.states import Intent, StopReason
from agentd.core.turn import CRITICAL, INFO, WARNING, Turn

# An agent that works on more things at once is wrong about some of them.
UNFINISHED_MAX: Final = 64
DETAIL_BYTES_MAX: Final = 2 << 10
# Checkpoints come as often as cycles; people want to know that they come.
CHECKPOINT_TOLD_EVERY_MS: Final = 60_000
# One sentence names so many; all of them stand in the event's data.
NAMED_MAX: Final = 3
# Below this, people want tenths of a second too.
EXACT_BELOW_MS: Final = 10_000

# Ends that an operator asked for: people are not paged for them.
_BY_HAND: Final = (
    StopReason.USER_PAUSED,
    StopReason.USER_KILLED,
    StopReason.USER_STOPPED,
    StopReason.USER_RESTARTED,
)

Refusal = tuple[str, str, str]
Answer = Mapping[str, object] | Refusal
"""What is answered, or an error of CONTRACT 5.2 as (code, message, hint)."""


def begin(turn: Turn, agent: Agent, line: ActionBegun) -> Answer:
    """Record an action before it is made; the same key again replaces what was there."""
    refusal = _refusal(turn, agent)
    if refusal is not None:
        return refusal
    durable = agent.durable
    others = tuple(action for action in durable.unfinished if action.key != line.key)
    if len(others) >= UNFINISHED_MAX:
        told = f"{UNFINISHED_MAX} actions of this agent are in flight"
        return ("too_busy", told, 'say {"type":"done","key":…} of those that have ended')
    detail, size_bytes = line.detail, len(line.detail.encode())
    answer: dict[str, object] = {"key": line.key}
    if size_bytes > DETAIL_BYTES_MAX:
        detail = ""
        answer["dropped"] = f"detail: {size_bytes} bytes, at most {DETAIL_BYTES_MAX} are kept"
    begun = Action(line.key, line.action, line.idempotent, turn.now_ms, agent.incarnation, detail)
    durable.unfinished = (*others, begun)
    turn.touch(agent)
    return answer


def finish(turn: Turn, agent: Agent, line: ActionDone) -> Answer:
    """Record the end of an action, however it went; one that is not known has ended before."""
    durable = agent.durable
    left = tuple(action for action in durable.unfinished if action.key != line.key)
    if len(left) < len(durable.unfinished):
        durable.unfinished = left
        turn.touch(agent)
    return {"key": line.key}


def keep(turn: Turn, agent: Agent, line: CheckpointPut) -> Answer:
    """Keep a state; it is the last of this execution as soon as it is durable."""
    refusal = _refusal(turn, agent)
    if refusal is not None:
        return refusal
    durable = agent.durable
    durable.checkpoints += 1
    seq, size_bytes = durable.checkpoints, len(line.state.encode())
    durable.checkpoint = CheckpointMark(seq, turn.now_ms, size_bytes)
    turn.touch(agent)
    turn.do(SaveCheckpoint(agent.name, durable.execution, seq, durable.incarnation_id, line.state))
    told_at_ms = agent.checkpoint_told_at_ms
    if told_at_ms is None or turn.now_ms - told_at_ms >= CHECKPOINT_TOLD_EVERY_MS:
        agent.checkpoint_told_at_ms = turn.now_ms
        data: dict[str, object] = {"seq": seq, "bytes": size_bytes}
        turn.journal("agent.checkpoint", agent, f"checkpoint {seq} kept", data=data)
    return {"seq": seq}


def recall(turn: Turn, agent: Agent, request: str) -> None:
    """Answer with the last state kept and with what was in flight when an earlier run ended."""
    refusal = _refusal(turn, agent)
    if refusal is not None:
        turn.do(Reply(request, error=refusal))
        return
    turn.do(Recall(request, agent.name, agent.durable.execution, cut_off(agent)))


def cut_off(agent: Agent) -> tuple[Action, ...]:
    """Return the actions whose incarnation is gone."""
    ended = agent.incarnation if agent.has_process else agent.incarnation + 1
    return tuple(each for each in agent.durable.unfinished if each.incarnation < ended)


def _refusal(turn: Turn, agent: Agent) -> Refusal | None:
    """Return why nothing more is recorded: the execution that this process served has ended."""
    if agent.config.external:
        if not agent.durable.execution:
            agent.durable.execution = turn.new_id()
            turn.touch(agent)
        return None
    if agent.intent is Intent.KILLED or not agent.durable.execution or agent.durable.first_start:
        return ("conflict", "its execution has ended: nothing is recorded any more", "")
    return None


def tell_cut_off(turn: Turn, agent: Agent, reason: StopReason) -> None:
    """A run has ended: name what it had in flight."""
    mine = [each for each in agent.durable.unfinished if each.incarnation == agent.incarnation]
    if mine:
        alert = False if reason in _BY_HAND else None
        told = f"ended with {_named(mine, turn.now_ms)} in flight; {_advice(agent, mine)}"
        _tell(turn, agent, told, mine, severity=_severity(mine), alert=alert)


def _tell(
    turn: Turn,
    agent: Agent,
    told: str,
    actions: Sequence[Action],
    *,
    severity: str,
    alert: bool | None,
) -> None:
    data: dict[str, object] = {
        "actions": [
            {
                "key": each.key,
                "action": each.action,
                "idempotent": each.idempotent,
                "age_ms": turn.now_ms - each.begun_at_ms,
            }
            for each in actions
        ]
    }
    mark = agent.durable.checkpoint
    if mark is not None:
        data["checkpoint"] = mark.seq
    reason = agent.durable.reason
    turn.journal(
        "action.unfinished", agent, told, severity=severity, reason=reason, data=data, alert=alert
    )


def _severity(actions: Sequence[Action]) -> str:
    return WARNING if all(each.idempotent for each in actions) else CRITICAL


def _named(actions: Sequence[Action], now_ms: int) -> str:
    """Name actions, the ones that must not be repeated first."""
    ranked = sorted(actions, key=lambda each: each.idempotent)
    named = [
        f'"{each.key}" ({each.action}, {"" if each.idempotent else "not "}idempotent, begun '
        f"{_rounded(now_ms - each.begun_at_ms)} before)"
        for each in ranked[:NAMED_MAX]
    ]
    more = f" and {len(ranked) - NAMED_MAX} more" if len(ranked) > NAMED_MAX else ""
    return f"{', '.join(named)}{more}"


def _rounded(age_ms: int) -> str:
    if age_ms < EXACT_BELOW_MS:
        return f"{age_ms / 1000:.1f}s"
    return format_duration(age_ms // 1000 * 1000)


def _advice(agent: Agent, actions: Sequence[Action]) -> str:
    if all(each.idempotent for each in actions):
        return f"safe to repeat: agentctl checkpoints {agent.name}"
    if agent.config.restart.hold_unfinished:
        return f"find out whether it was made, then: agentctl unhold {agent.name}"
    return f"find out whether it was made: agentctl checkpoints {agent.name}"


# -- holding a restart for a human -------------------------------------------


def hold(turn: Turn, agent: Agent) -> None:
    """Hold the automatic starts of an agent that may repeat what must not be repeated."""
    durable = agent.durable
    open_actions = [each for each in cut_off(agent) if not (each.idempotent or each.accepted)]
    if not open_actions or durable.held or not agent.config.restart.hold_unfinished:
        return
    durable.held = True
    durable.held_why = f"{_named(open_actions, turn.now_ms)} was in flight"
    turn.touch(agent)
    turn.journal(
        "agent.held",
        agent,
        f"not started again, {durable.held_why}; find out whether it was made, then: "
        f"agentctl unhold {agent.name}",
        severity=WARNING,
        reason=durable.reason,
    )


def accept(turn: Turn, agent: Agent, by: str) -> None:
    """A human lets it go on, knowing what was in flight; that holds nothing a second time."""
    durable = agent.durable
    if any(not each.accepted for each in durable.unfinished):
        durable.unfinished = tuple(replace(each, accepted=True) for each in durable.unfinished)
        turn.touch(agent)
    _let_go(turn, agent, by)


def _let_go(turn: Turn, agent: Agent, why: str) -> None:
    """End a hold of our own; an operator's stays."""
    if agent.durable.held_why:
        agent.durable.held, agent.durable.held_why = False, ""
        turn.touch(agent)
        turn.journal("agent.unheld", agent, f"let go: {why}")


# -- the end of an execution -------------------------------------------------


def end_execution(turn: Turn, agent: Agent, why: str, *, by_policy: bool = False) -> None:
    """The logical run is over: what it kept and had in flight is history from now on."""
    durable = agent.durable
    open_actions = durable.unfinished
    if open_actions:
        told = f"{_named(open_actions, turn.now_ms)} in flight, discarded: {why}"
        severity = _severity(open_actions) if by_policy else INFO
        _tell(turn, agent, told, open_actions, severity=severity, alert=by_policy)
    elif durable.checkpoint is not None:
        told = f"checkpoint {durable.checkpoint.seq} is history now: {why}"
        turn.journal("agent.checkpoint", agent, told, data={"seq": durable.checkpoint.seq})
    durable.execution = ""
    durable.unfinished = ()
    durable.checkpoint = None
    agent.checkpoint_told_at_ms = None
    _let_go(turn, agent, why)
    turn.touch(agent)
