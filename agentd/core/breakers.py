"""Breakers in use: what agents ask and report of a shared dependency, and who is told of it.

Several agents that fail on one dependency are one piece of news: the opening is told once,
and their ends name it instead of being told one by one.
"""

from typing import Final

from agentd.config.units import format_duration
from agentd.core.agent import Agent
from agentd.core.breaker import Breaker, BreakerState, Trial
from agentd.core.effects import Control
from agentd.core.lines import BreakerReport
from agentd.core.states import StopReason
from agentd.core.turn import INFO, WARNING, Turn

NEXT: Final = "agentctl breakers"
# More names than that make a sentence unreadable; the data has them all.
NAMES_TOLD_MAX: Final = 5


def report(turn: Turn, agent: Agent, line: BreakerReport) -> None:
    """Take in how a call of a dependency went."""
    breaker = turn.breakers.of(line.name, agent.name, turn.now_ms)
    if breaker is None:
        return
    _catch_up(turn, breaker)
    _drop_lost_trials(turn, breaker)
    breaker.retries.count(line.attempt, turn.now_ms)
    before = breaker.state
    after = breaker.report(agent.name, ok=line.ok, error=line.error or "", now_ms=turn.now_ms)
    if after is BreakerState.OPEN and before is not after:
        _tell_opened(turn, breaker, again=before is BreakerState.HALF_OPEN)
    elif after is BreakerState.CLOSED and before is not after:
        _tell(turn, breaker, f"dependency {breaker.name!r} answers again", alert=True)


def answer(turn: Turn, agent: Agent, name: str) -> dict[str, object]:
    """Say whether a dependency may be called, called again, and if not, in how many seconds."""
    breaker = turn.breakers.of(name, agent.name, turn.now_ms)
    if breaker is None:  # nothing is known of it, and nothing is kept
        return _said(BreakerState.CLOSED, allow=True, retry_allowed=True, wait_ms=0)
    _catch_up(turn, breaker)
    _drop_lost_trials(turn, breaker)
    until_ms = turn.now_ms + breaker.config.reset_ms
    if not breaker.let_through(Trial(agent.name, agent.incarnation, until_ms)):
        wait_ms = _wait_ms(breaker, turn.now_ms)
        return _said(breaker.state, allow=False, retry_allowed=False, wait_ms=wait_ms)
    retry_ms = breaker.retries.wait_ms(breaker.config, turn.now_ms)
    # Never by what is known: then after a window, in which there may be first attempts.
    wait_ms = breaker.config.window_ms if retry_ms is None else retry_ms
    return _said(breaker.state, allow=True, retry_allowed=retry_ms == 0, wait_ms=wait_ms)


def on_time(turn: Turn) -> None:
    """Let those be tried again that have been open for long enough."""
    for breaker in list(turn.breakers.known.values()):
        _catch_up(turn, breaker)
    turn.breakers.rearm()


def outages(turn: Turn, agent: Agent) -> list[str]:
    """The dependencies that fail the agent now, as they are named in its evidence."""
    return [
        f"{breaker.name} (breaker {breaker.state.value}"
        + (f", last error {breaker.last_error})" if breaker.last_error else ")")
        for breaker in turn.breakers.failing_for(agent.name, turn.now_ms)
    ]


def explains(turn: Turn, agent: Agent, reason: StopReason | None) -> bool:
    """Whether an end for `reason` was told already, when the breaker of a dependency opened."""
    if reason is not StopReason.DEPENDENCY_DOWN:
        return False
    return bool(turn.breakers.failing_for(agent.name, turn.now_ms))


def _catch_up(turn: Turn, breaker: Breaker) -> None:
    if breaker.wait_over(turn.now_ms):
        told = f"dependency {breaker.name!r} may be tried again"
        _tell(turn, breaker, told)


def _drop_lost_trials(turn: Turn, breaker: Breaker) -> None:
    """A trial whose agent has ended, or that nobody reported, makes room for another."""
    breaker.trials = [
        trial
        for trial in breaker.trials
        if turn.now_ms < trial.until_ms and _is_running(turn, trial)
    ]


def _is_running(turn: Turn, trial: Trial) -> bool:
    agent = turn.fleet.get(trial.agent)
    if agent is None or agent.incarnation != trial.incarnation:
        return False
    return agent.has_process or agent.config.external


def _wait_ms(breaker: Breaker, now_ms: int) -> int:
    """How long whoever is refused should wait; half open, until the first trial is given up."""
    until_ms = breaker.half_open_at_ms()
    if until_ms is None:
        until_ms = min((trial.until_ms for trial in breaker.trials), default=now_ms)
    return max(0, until_ms - now_ms)


def _said(
    state: BreakerState, *, allow: bool, retry_allowed: bool, wait_ms: int
) -> dict[str, object]:
    return {
        "state": state.value,
        "allow": allow,
        "retry_allowed": retry_allowed,
        "retry_in_s": wait_ms / 1000,
    }


def _tell_opened(turn: Turn, breaker: Breaker, *, again: bool) -> None:
    failed = sorted({agent for _, agent in breaker.failed})
    names = ", ".join(failed[:NAMES_TOLD_MAX])
    if len(failed) > NAMES_TOLD_MAX:
        names += f" and {len(failed) - NAMES_TOLD_MAX} more"
    error = f", last error {breaker.last_error!r}" if breaker.last_error else ""
    reset = format_duration(breaker.config.reset_ms)
    if again:
        told = f"the trial failed ({names}{error})"
    else:
        window = format_duration(breaker.config.window_ms)
        told = f"{len(breaker.failed)} failures within {window} ({names}{error})"
    # An outage that lasts is told when it begins, not at each trial that fails.
    _tell(
        turn,
        breaker,
        f"dependency {breaker.name!r} fails: {told}; not called for {reset}",
        severity=WARNING,
        reason=StopReason.DEPENDENCY_DOWN,
        alert=not again,
    )


def _tell(
    turn: Turn,
    breaker: Breaker,
    message: str,
    *,
    severity: str = INFO,
    reason: StopReason | None = None,
    alert: bool = False,
) -> None:
    """Journal a change, and tell it to the agents that used the dependency lately."""
    turn.breakers.rearm()
    name = "opened" if breaker.state is BreakerState.OPEN else breaker.state.value
    users = breaker.users_lately(turn.now_ms)
    failed = sorted({agent for _, agent in breaker.failed})
    wait_ms = _wait_ms(breaker, turn.now_ms)
    turn.journal(
        f"breaker.{name}",
        None,
        message,
        severity=severity,
        reason=reason,
        data={
            "name": breaker.name,
            "agents": failed or users,
            "error": breaker.last_error or None,
            "retry_in_s": wait_ms / 1000,
            "next": NEXT,
        },
        alert=alert,
    )
    facts = {"name": breaker.name, "state": breaker.state.value, "retry_in_s": wait_ms / 1000}
    why = StopReason.DEPENDENCY_DOWN.value if breaker.state is BreakerState.OPEN else ""
    for user in users:
        agent = turn.fleet.get(user)
        if agent is not None and (agent.has_process or agent.config.external):
            turn.do(Control(user, agent.incarnation, "breaker", why, facts))
