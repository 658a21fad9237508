"""What time and observation say of an agent: health that changed, deadlines that came, memory."""

from typing import Final

from agentd.config.units import format_duration
from agentd.core import (
    beating,
    deadlines,
    diagnosis,
    ends,
    leak_restart,
    ledger,
    lifecycle,
    liveness,
    minutes,
    pausing,
    remains,
)
from agentd.core.agent import After, Agent
from agentd.core.events import Froze, KillStuck, LinesDropped, OomChild, ProcessEvent, Sampled
from agentd.core.memory import MemoryNews
from agentd.core.states import Health, Intent, State, StopReason
from agentd.core.turn import CRITICAL, INFO, WARNING, Turn

# An agent that sends too much is named at most this often.
DROP_TOLD_EVERY_MS: Final = 60_000
# Below this, people want tenths of a second too.
EXACT_BELOW_MS: Final = 10_000


def judge(turn: Turn, agent: Agent) -> None:
    """Tell a health that changed, and act on silence where the config says so."""
    if agent.stop is not None:
        agent.look = None
        return  # it is on its way down already, and that was told
    if diagnosis.is_of_start(agent) and _is_late(turn, agent):
        _end_start(turn, agent)
        return
    if agent.memory.restart_by_ms is not None and leak_restart.take_moment(turn, agent):
        return
    health = liveness.health_of(agent, turn.now_ms)
    if agent.look is not None:
        diagnosis.settle(agent, health, turn.now_ms)
    if health is agent.noted or diagnosis.is_awaited(turn, agent, health):
        return
    before, agent.noted = agent.noted, health
    minutes.note(agent, turn.now_ms)
    if health is not Health.HEALTHY and agent.intent is not Intent.PAUSED:
        agent.healthy_since_ms = None
    elif agent.healthy_since_ms is None and health is Health.HEALTHY:
        agent.healthy_since_ms = turn.now_ms
    _tell(turn, agent, health, before)


def _tell(turn: Turn, agent: Agent, health: Health, before: Health) -> None:
    if health is Health.HEALTHY:
        _tell_healthy(turn, agent, before)
    elif health is Health.DEGRADED:
        _degraded(turn, agent)
    elif health is Health.UNREACHABLE and (agent.has_process or agent.config.external):
        _unreachable(turn, agent)


def _tell_healthy(turn: Turn, agent: Agent, before: Health) -> None:
    if agent.troubled or before in (Health.DEGRADED, Health.UNREACHABLE):
        agent.troubled = False
        turn.journal("agent.recovered", agent, "healthy again", alert=True)
    else:
        turn.journal("agent.healthy", agent, "healthy")


def _degraded(turn: Turn, agent: Agent) -> None:
    figures = beating.figures(agent, turn.now_ms)
    corpse = beating.evidence(agent, turn.now_ms)
    lasted_ms = figures.get("no_progress_ms")
    turn.journal(
        "agent.degraded",
        agent,
        _stuck(agent, lasted_ms if isinstance(lasted_ms, int) else None)
        + (corpse or _silence(agent, turn.now_ms, diagnosis.found(agent))),
        severity=WARNING,
        data=figures,
    )
    diagnosis.keep(turn, agent)


def _stuck(agent: Agent, lasted_ms: int | None) -> str:
    """Where it is stuck and for how long, in front of the other evidence; empty: nobody saw."""
    where = diagnosis.found(agent)
    if not where:
        return ""
    lasted = f" {_rounded(lasted_ms)}" if lasted_ms is not None else ""
    return f"stuck{lasted} {where}; "


def _unreachable(turn: Turn, agent: Agent) -> None:
    action = "alert" if agent.config.external else agent.config.heartbeat.on_unreachable
    silent_ms = liveness.silence_ms(agent, turn.now_ms)
    where = diagnosis.found(agent)
    evidence = _stuck(agent, silent_ms) + _silence(agent, turn.now_ms, where)
    turn.journal(
        "agent.unreachable",
        agent,
        evidence,
        severity=WARNING if action == "restart" else CRITICAL,
        reason=StopReason.TIMEOUT,
        data={"silence_ms": liveness.lifeless_ms(agent, turn.now_ms)},
    )
    diagnosis.keep(turn, agent)
    pausing.act(turn, agent, action, StopReason.TIMEOUT, evidence)


def _silence(agent: Agent, now_ms: int, where: str) -> str:
    """One line of evidence: how long, what was expected, what it was doing.

    What a look has just shown of its process (`where`) is not said again.
    """
    silent_ms = liveness.silence_ms(agent, now_ms)
    since = f"silent for {_rounded(silent_ms)}" if silent_ms is not None else "never heard of"
    if silent_ms is None and agent.config.external and agent.durable.heartbeats:
        since = "not heard of since agentd started"
    interval = format_duration(agent.config.heartbeat.interval_ms)
    parts = [f"{since} (a heartbeat is expected every {interval})"]
    telemetry = agent.telemetry
    doing = [
        f"{what} {said}"
        for what, said in (
            ("status", telemetry.status),
            ("task", telemetry.task),
            ("step", telemetry.step),
            ("tool", telemetry.tool),
        )
        if said
    ]
    if doing:
        parts.append("last " + ", ".join(doing))
    parts += _seen(agent, where)
    parts += [
        f"call {call.label} open for {_rounded(now_ms - call.begun_at_ms)}, past its deadline"
        for call in list(agent.calls.values())[:1]
    ]
    return "; ".join(parts)


def _seen(agent: Agent, where: str) -> list[str]:
    """What the last sample of its process showed: does it work, and on what does it wait."""
    memory, seen = agent.memory, []
    if memory.cpu_percent is not None and "CPU " not in where:
        seen.append(f"CPU {memory.cpu_percent:.0f} %")
    if memory.wait_channel and "wait channel " not in where:
        seen.append(f"wait channel {memory.wait_channel}")
    return [", ".join(seen)] if seen else []


def _rounded(duration_ms: int) -> str:
    if duration_ms < EXACT_BELOW_MS:
        return f"{duration_ms / 1000:.1f}s"
    return format_duration(duration_ms // 1000 * 1000)


def on_deadline(turn: Turn, agent: Agent) -> None:
    """Do what is due by time alone; whatever is not due yet is left as it is."""
    now_ms = turn.now_ms
    durable = agent.durable
    if agent.stop is not None and _is_due(agent.stop.kill_at_ms, now_ms):
        turn.journal(
            "agent.stopping",
            agent,
            f"still alive after {format_duration(agent.config.stop_timeout_ms)}: "
            "SIGKILL to the whole tree",
            reason=agent.stop.reason,
        )
        lifecycle.kill_tree(turn, agent)
    if _is_due(remains.due_ms(agent), now_ms):
        remains.give_up(turn, agent)
    if agent.stop is not None and _is_due(agent.stop.ask_until_ms, now_ms):
        patience = format_duration(agent.config.pause.checkpoint_timeout_ms)
        told = f"did not exit within {patience} of being asked: {agent.config.stop_signal}"
        lifecycle.stop_asked(turn, agent, told)
    if _is_due(agent.shortage_until_ms, now_ms):
        lifecycle.retry_spawn(turn, agent)
    if deadlines.ends_cooling(agent) and _is_due(durable.cooldown_until_ms, now_ms):
        ends.restart_now(turn, agent, durable.reason, "the cooldown is over")
    if agent.state is State.PARKED and _is_due(durable.parked_until_ms, now_ms):
        pausing.unpark(turn, agent)
    if _is_due(deadlines.startup_deadline_ms(agent), now_ms) and agent.stop is None:
        _end_start(turn, agent)
    if _is_due(deadlines.stable_at_ms(agent), now_ms):
        ends.forget_failures(agent)
        turn.touch(agent)


def _is_late(turn: Turn, agent: Agent) -> bool:
    """Whether a start still takes too long; else nothing is left to look at."""
    late = _is_due(deadlines.startup_deadline_ms(agent), turn.now_ms)
    if not late:
        agent.look = None  # it is ready by now, ends, or was given more time
    return late


def _end_start(turn: Turn, agent: Agent) -> None:
    """Stop what never became ready, once it was looked at where it is stuck."""
    if diagnosis.is_start_awaited(turn, agent):
        return
    within = format_duration(agent.config.startup_timeout_ms)
    told = f"{_stuck(agent, None)}never became ready within {within}"
    lifecycle.begin_stop(turn, agent, StopReason.STARTUP_TIMEOUT, told, After.POLICY)
    diagnosis.put_by(agent)


def _is_due(moment_ms: int | None, now_ms: int) -> bool:
    return moment_ms is not None and moment_ms <= now_ms


def on_observation(turn: Turn, agent: Agent, event: ProcessEvent) -> None:
    """Take in what was seen of a living process."""
    match event:
        case Sampled():
            agent.tally.note_rss(event.rss_bytes)
            # A frozen tree cannot grow, and no policy undoes a pause: the next sample tells.
            if agent.has_process and agent.state is not State.PAUSED:
                agent.progress.note_sample(event.cpu_ms, event.io_bytes, turn.now_ms)
                for news in agent.memory.observe(event, agent.config.memory, turn.now_ms):
                    _tell_memory(turn, agent, news)
        case OomChild():
            told = f"a helper was killed for memory: {event.evidence}"
            turn.journal("oom.child", agent, told, severity=WARNING, reason=StopReason.OOM_KILLED)
        case KillStuck():
            remains.on_stuck(turn, agent, event)
        case Froze():
            pausing.on_froze(turn, agent, event)
        case LinesDropped():
            _lines_dropped(turn, agent, event)
        case _:
            raise AssertionError(event)


def _lines_dropped(turn: Turn, agent: Agent, event: LinesDropped) -> None:
    telemetry = agent.telemetry
    telemetry.note_dropped(event.count, event.lines)
    ledger.take_dropped(turn, agent, event.lines)
    told_at_ms = telemetry.drop_told_at_ms
    if told_at_ms is None or turn.now_ms - told_at_ms >= DROP_TOLD_EVERY_MS:
        telemetry.drop_told_at_ms = turn.now_ms
        turn.journal(
            "security.refused",
            agent,
            f"sends more lines than daemon.line_rate allows; {telemetry.dropped} dropped so far, "
            "here or by its SDK; tokens and cost of those that came here are counted",
            severity=WARNING,
            alert=False,
        )


_MEMORY_SEVERITY: Final = {"memory.suspect": INFO}


def _tell_memory(turn: Turn, agent: Agent, news: MemoryNews) -> None:
    config = agent.config.memory
    reason = {"memory.leak": StopReason.MEMORY_LEAK, "memory.limit": StopReason.MEMORY_LIMIT}.get(
        news.event
    )
    turn.journal(
        news.event,
        agent,
        news.message,
        severity=_MEMORY_SEVERITY.get(news.event, CRITICAL),
        reason=reason,
        data=news.data,
    )
    if news.event == "memory.limit":
        pausing.act(turn, agent, config.on_limit, StopReason.MEMORY_LIMIT, news.message)
    elif news.event == "memory.leak" and config.leak == "restart":
        leak_restart.want(turn, agent, news.message)
