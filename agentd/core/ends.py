"""The end of a run: its reason, whether it counts, and what comes next."""

from agentd.core import actions, breakers, diagnosis, exits, lifecycle, restart
from agentd.core.agent import After, Agent, Presence
from agentd.core.dependencies import outages
from agentd.core.effects import KillTree, Run
from agentd.core.events import Exited
from agentd.core.exits import End
from agentd.core.records import LastExit
from agentd.core.restart import Next
from agentd.core.states import Intent, State, StopReason, Trigger
from agentd.core.turn import CRITICAL, INFO, WARNING, Turn


def on_exited(turn: Turn, agent: Agent, event: Exited) -> None:
    """The leader is gone; the run is over when nothing of its tree is left."""
    if agent.presence not in (Presence.ALIVE, Presence.SPAWNING):
        return
    agent.presence = Presence.LEADERLESS
    agent.pid = None
    agent.ended = event
    if event.evidence.survivors:
        turn.do(KillTree(agent.name, agent.incarnation))


def on_tree_empty(turn: Turn, agent: Agent) -> None:
    """Nothing of it is left: the run is over, once."""
    if not agent.has_process:
        return
    ended = agent.ended or Exited(agent.name, agent.incarnation)
    down = outages(agent, turn.fleet, turn.hosts) + breakers.outages(turn, agent)
    end = exits.classify(agent, ended, turn.now_ms, down)
    finish_run(turn, agent, end, code=ended.code, signal=ended.signal)


def fail_start(turn: Turn, agent: Agent, reason: StopReason, evidence: str) -> None:
    """No process came of a start: a failure like any other, unless a stop overtook it."""
    if agent.stop is not None:
        end = End(agent.stop.reason, evidence, agent.stop.after is After.POLICY)
    else:
        end = End(reason, evidence, failed=True)
    finish_run(turn, agent, end)


def finish_run(
    turn: Turn, agent: Agent, end: End, *, code: int | None = None, signal: int | None = None
) -> None:
    """Book the end of a run, and go on as intent, plan and policy say."""
    durable = agent.durable
    after = agent.stop.after if agent.stop is not None else None
    parked_until_ms = durable.parked_until_ms if agent.state is State.PARKED else None
    # An end while it waits for its provider is no failure, unless the kernel or we made it.
    excused = end.by_hand or (parked_until_ms is not None and after is None and not _is_grave(end))
    if agent.intent is not Intent.PAUSED or agent.stop is None:
        durable.reason, durable.evidence = end.reason, end.evidence  # else why it is paused stands
    durable.last_exit = LastExit(end.reason, end.evidence, turn.now_ms, code, signal)
    turn.touch(agent)
    turn.journal(
        "agent.exited",
        agent,
        f"{end.reason}: {end.told}",
        severity=_severity(end),
        reason=end.reason,
        data={"code": code, "signal": signal},
        alert=False if excused or breakers.explains(turn, agent, end.reason) else None,
    )
    diagnosis.keep_of_stop(turn, agent)
    if end.failed or _is_grave(end):
        ended = agent.ended or Exited(agent.name, agent.incarnation, code, signal)
        diagnosis.ask_of_end(turn, agent, end, ended)
    actions.tell_cut_off(turn, agent, end.reason)
    lifecycle.refuse_early(turn, agent)
    agent.forget_run()
    agent.ended_by_hand = end.by_hand
    if after is After.REMOVE:
        durable.removed = True
    elif agent.intent is not Intent.UP:
        _rest(turn, agent, end)
    elif after is After.AGAIN:
        by_hand = end.reason is StopReason.USER_RESTARTED
        # It ran though it was held: a new config is no failure to be held back after.
        goes_on = end.reason is StopReason.CONFIG_CHANGED
        lifecycle.want_start(turn, agent, end.reason.value, by_hand=by_hand, goes_on=goes_on)
    elif after is After.STAY:
        agent.move(Trigger.END, turn.now_ms, end.reason.value)
    elif parked_until_ms is not None and parked_until_ms > turn.now_ms:
        _wait_parked(turn, agent, parked_until_ms)
    else:
        follow_policy(turn, agent, end)


def _is_grave(end: End) -> bool:
    return end.reason is StopReason.OOM_KILLED


def _severity(end: End) -> str:
    if _is_grave(end):
        return CRITICAL
    return WARNING if end.failed else INFO


def _rest(turn: Turn, agent: Agent, end: End) -> None:
    """It is down because somebody said so."""
    if agent.intent is Intent.PAUSED:
        agent.move(Trigger.HELD_BACK, turn.now_ms, end.reason.value)
        agent.paused_at_ms = turn.now_ms
        return
    agent.move(Trigger.END, turn.now_ms, end.reason.value)
    if agent.intent is Intent.STOPPED:
        turn.journal("agent.stopped", agent, f"stopped: {end.evidence}", reason=end.reason)


def _wait_parked(turn: Turn, agent: Agent, until_ms: int) -> None:
    agent.move(Trigger.WAIT_PARKED, turn.now_ms, "its provider said when")
    agent.durable.parked_until_ms = until_ms
    actions.hold(turn, agent)


def follow_policy(turn: Turn, agent: Agent, end: End) -> None:
    """Count a failure, decide, and say what was decided and why."""
    durable = agent.durable
    if end.failed:
        durable.failures += 1
    decision = restart.decide(
        agent.config.restart,
        failed=end.failed,
        failures=durable.failures,
        row=durable.row,
        auto_start_at_ms=durable.auto_start_at_ms,
        now_ms=turn.now_ms,
        jitter=turn.jitter,
    )
    if decision.next is Next.AGAIN:
        restart_now(turn, agent, end.reason, decision.why)
    elif decision.next is Next.COOLDOWN:
        agent.move(Trigger.RETRY, turn.now_ms, decision.why)
        durable.cooldown_until_ms = decision.at_ms
        actions.hold(turn, agent)
        turn.journal(
            "agent.cooldown",
            agent,
            decision.why,
            reason=end.reason,
            data={"cooldown_ms": decision.at_ms - turn.now_ms},
        )
    elif decision.next is Next.ESCALATE:
        escalate(turn, agent, end, decision.why)
    elif decision.next is Next.FINISH:
        _complete(turn, agent, end)
    else:
        agent.move(Trigger.END, turn.now_ms, decision.why)


def restart_now(turn: Turn, agent: Agent, reason: StopReason | None, why: str) -> None:
    """An automatic restart: it takes its place in the row."""
    durable = agent.durable
    turn.touch(agent)
    actions.hold(turn, agent)
    if not durable.held:  # one that is held waits, and its start is told when it comes
        turn.journal(
            "agent.restarting",
            agent,
            f"restarting: {why}",
            severity=WARNING,
            reason=reason,
            alert=False if agent.ended_by_hand or breakers.explains(turn, agent, reason) else None,
        )
    durable.automatic = True
    lifecycle.want_start(turn, agent, f"restart after {reason or 'a failure'}")


def escalate(turn: Turn, agent: Agent, end: End, why: str) -> None:
    """Restarting has ended; a human is called, once."""
    agent.move(Trigger.GIVE_UP, turn.now_ms, why)
    message = f"gave up after {why}: {end.reason}, {end.told}"
    turn.journal(
        "agent.escalated",
        agent,
        message,
        severity=CRITICAL,
        reason=end.reason,
        data={"failures": agent.durable.failures},
    )
    if agent.config.restart.on_escalate:
        turn.do(
            Run(
                agent.name,
                {
                    "agent": agent.name,
                    "reason": end.reason.value,
                    "evidence": end.evidence,
                    "failures": agent.durable.failures,
                    "message": message,
                    "unfinished": [each.key for each in agent.durable.unfinished],
                    "incident": _incident(turn, agent),
                },
            )
        )


def _incident(turn: Turn, agent: Agent) -> dict[str, object] | None:
    """The incident of an escalation, for the command that is told of it."""
    incident = turn.incidents.of(agent.name)
    if incident is None:
        return None
    return {
        "number": incident.number,
        "key": incident.key,
        "cause": incident.cause,
        "severity": incident.severity,
        "summary": incident.summary,
        "agents": list(incident.agents),
        "open_s": (turn.now_ms - incident.opened_at_ms) / 1000,
    }


def _complete(turn: Turn, agent: Agent, end: End) -> None:
    agent.move(Trigger.FINISH, turn.now_ms, end.evidence)
    turn.journal(
        "agent.completed",
        agent,
        f"completed: {end.evidence}",
        severity=WARNING if end.silent else INFO,
        reason=end.reason,
    )
    actions.end_execution(turn, agent, "its work is done")


def forget_failures(agent: Agent) -> None:
    """The row starts anew."""
    agent.durable.failures = 0
    agent.durable.row = 0
    agent.durable.auto_start_at_ms = None
