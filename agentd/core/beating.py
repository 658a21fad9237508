"""Heartbeats with no work behind them: whether an agent that beats is degraded all the same.

The question is asked of facts and a moment, each time anew. It is not asked of one that says
why it does nothing: idle, waiting for a human, an announced silence, an open call within its
deadline, parked, paused, shutting down. Without a sample of CPU time there is no answer,
but for an external agent: there, that all its heartbeats come from beside the work loop.
"""

from agentd.config.units import format_duration
from agentd.core.agent import Agent
from agentd.core.draining import is_draining
from agentd.core.lines import Heartbeat, Notify, Status
from agentd.core.progress import Progress, Stretch
from agentd.core.states import State

_EXCUSED = (Status.IDLE, Status.WAITING_HUMAN)


def note_heartbeat(agent: Agent, beat: Heartbeat, now_ms: int) -> None:
    """Take in a heartbeat, before what it says replaces what was said before.

    It is progress if it comes from the work loop and says something new, or counts work done;
    a time that was explained is followed by a new one.
    """
    explained = agent.hold_until_ms is not None or agent.telemetry.status in _EXCUSED
    worked = explained or _is_progress(agent, beat)
    agent.progress.note_beat(now_ms, off_thread=beat.off_thread, worked=worked)


def note_notify(agent: Agent, said: Notify, now_ms: int) -> None:
    """A new STATUS= is a new step."""
    if said.status is not None and said.status != agent.telemetry.step:
        agent.progress.note_work(now_ms)


def _is_progress(agent: Agent, beat: Heartbeat) -> bool:
    """Whether a heartbeat tells of work.

    One from beside the work loop never does, whatever it repeats. Tokens count where they
    differ from those of the heartbeat before: a dead loop's last figures stay the same.
    """
    if beat.off_thread:
        return False
    telemetry, progress = agent.telemetry, agent.progress
    tokens = beat.tokens
    if tokens is None and beat.usage is not None:
        tokens = beat.usage.total_tokens
    is_new = beat.successes > 0
    if tokens is not None:
        is_new = is_new or (tokens > 0 and tokens != progress.tokens)
        progress.tokens = tokens
    if beat.progress_fp is not None:
        is_new = is_new or beat.progress_fp != progress.state_fp
        progress.state_fp = beat.progress_fp
    return (
        is_new
        or (beat.task is not None and beat.task != telemetry.task)
        or (beat.step is not None and beat.step != telemetry.step)
        or (beat.progress is not None and beat.progress != telemetry.progress)
    )


def stands(agent: Agent, now_ms: int) -> bool:
    """Whether it has beaten for `no_progress_after` and done nothing else."""
    return _found(agent, now_ms) is not None


def due_ms(agent: Agent, now_ms: int) -> int | None:
    """When it will be found if nothing is heard; None where a sample or a line tells.

    Samples come by themselves, so that only an external agent needs a deadline.
    """
    if not agent.config.external or not _is_judged(agent, now_ms):
        return None
    stretch = agent.progress.spinning
    if stretch is None or not stretch.beats:
        return None
    at_ms = _begins_ms(agent, stretch) + agent.config.heartbeat.no_progress_ms
    return at_ms if at_ms > now_ms else None


def _found(agent: Agent, now_ms: int) -> Stretch | None:
    """The stretch that has lasted too long, if there is one."""
    progress = agent.progress
    if agent.config.external:
        found = _lasting(agent, progress.spinning, now_ms)
    elif progress.sampled_at_ms is None:
        return None
    else:
        found = _lasting(agent, progress.quiet, progress.sampled_at_ms)
        if found is None:
            found = _lasting(agent, progress.spinning, progress.sampled_at_ms)
    return found if found is not None and _is_judged(agent, now_ms) else None


def _is_judged(agent: Agent, now_ms: int) -> bool:
    if agent.state is not State.RUNNING or agent.telemetry.status in _EXCUSED:
        return False
    return not is_draining(agent, now_ms)


def _lasting(agent: Agent, stretch: Stretch | None, until_ms: int) -> Stretch | None:
    if stretch is None or not stretch.beats:
        return None
    if until_ms - stretch.since_ms < agent.config.heartbeat.no_progress_ms:
        return None  # the common case, and the quick answer
    if not agent.config.external and stretch.cpu_ms is None:
        return None
    bound_ms = _begins_ms(agent, stretch) + agent.config.heartbeat.no_progress_ms
    if until_ms < bound_ms or not _beats_still(agent, bound_ms):
        return None
    return stretch


def _beats_still(agent: Agent, at_ms: int) -> bool:
    """Whether heartbeats came up to then: one that falls silent is another matter."""
    last_ms = agent.beat_at_ms
    return last_ms is not None and at_ms - last_ms <= agent.config.heartbeat.degraded_after_ms


def _begins_ms(agent: Agent, stretch: Stretch) -> int:
    """What was announced, and a call within its deadline, explains itself up to its end."""
    called_ms = max((call.until_ms for call in agent.calls.values()), default=0)
    return max(stretch.since_ms, agent.hold_until_ms or 0, called_ms)


def evidence(agent: Agent, now_ms: int) -> str:
    """Write what was seen, in one line; empty where nothing stands."""
    stretch = _found(agent, now_ms)
    if stretch is None:
        return ""
    progress = agent.progress
    lasted = _duration(now_ms - _begins_ms(agent, stretch))
    parts = [f"no progress for {lasted} behind {stretch.beats} heartbeats"]
    if not agent.config.external:
        parts += _figures(agent, progress, stretch)
    if progress.beside:
        last_ms = progress.loop_beat_at_ms
        since = "never" if last_ms is None else f"last {_duration(now_ms - last_ms)} ago"
        parts.append(
            f"a thread beats over a dead loop? Heartbeats of the work loop itself: {since}"
        )
    doing = [f"{what} {said}" for what, said in _last_said(agent) if said]
    if doing:
        parts.append("last " + ", ".join(doing))
    return "; ".join(parts)


def figures(agent: Agent, now_ms: int) -> dict[str, object]:
    """The evidence as figures, for programs."""
    stretch = _found(agent, now_ms)
    if stretch is None:
        return {}
    cpu_ms, io_bytes = agent.progress.used(stretch)
    own = not agent.config.external
    return {
        "no_progress_ms": now_ms - _begins_ms(agent, stretch),
        "heartbeats": stretch.beats,
        "cpu_ms": cpu_ms if own else None,
        "io_bytes": io_bytes if own and stretch.io_bytes is not None else None,
        "wait_channel": agent.memory.wait_channel or None,
        "off_thread": agent.progress.beside > 0,
    }


def _figures(agent: Agent, progress: Progress, stretch: Stretch) -> list[str]:
    cpu_ms, io_bytes = progress.used(stretch)
    assert progress.sampled_at_ms is not None
    lasted_ms = max(1, progress.sampled_at_ms - stretch.since_ms)
    told = [f"CPU {cpu_ms} ms ({100 * cpu_ms / lasted_ms:.0f} %)"]
    if stretch.io_bytes is not None:
        told.append(f"{io_bytes} bytes of I/O")
    if agent.memory.wait_channel:
        told.append(f"wait channel {agent.memory.wait_channel}")
    return [", ".join(told)]


def _last_said(agent: Agent) -> list[tuple[str, str | None]]:
    telemetry = agent.telemetry
    return [("task", telemetry.task), ("step", telemetry.step), ("tool", telemetry.tool)]


def _duration(duration_ms: int) -> str:
    return format_duration(max(0, duration_ms) // 1000 * 1000)
