"""The minutes of an agent's life: how it stands, and at the end of each what it did in it.

What is counted in `Durable` is told as the difference to what the last minute ended with, and
that is kept with it: of each total, rollups hold exactly what `Rolled` says, over any number of
crashes. Time by standing, latencies and memory are of this daemon alone, and a crash loses
those of the minute it happens in.
"""

from collections.abc import Iterable
from typing import Final

from agentd.core.agent import Agent
from agentd.core.effects import Effect, Persist, SaveRollups
from agentd.core.records import Durable, Rolled, Rollup
from agentd.core.states import Health, Intent, State
from agentd.core.tally import Standing

MINUTE_MS: Final = 60_000

_OF_HEALTH: Final = {
    Health.HEALTHY: Standing.HEALTHY,
    Health.DEGRADED: Standing.DEGRADED,
    Health.UNREACHABLE: Standing.UNREACHABLE,
}


def standing_of(agent: Agent) -> Standing:
    """Tell how an agent stands, by the health that was last found."""
    if agent.intent is not Intent.UP or agent.state is State.COMPLETED:
        return Standing.REST
    if not agent.has_process and not agent.config.external:
        return Standing.DOWN
    return _OF_HEALTH.get(agent.noted, Standing.UNKNOWN)


def note(agent: Agent, now_ms: int) -> None:
    """Take in that its state, intent or health may have changed."""
    agent.tally.stand(standing_of(agent), now_ms)


def begin(durable: Durable) -> None:
    """Count from what is recorded; rows of before there were rollups begin with their totals."""
    if durable.rolled is None:
        durable.rolled = _totals(durable)


def end(agents: Iterable[Agent], begins_ms: int, now_ms: int) -> list[Effect]:
    """Tell what each did since the last minute ended, as that of the minute of `begins_ms`.

    Nothing is told of one that rests and did nothing. What is counted from the next time on is
    durable with the rollups, or neither is.
    """
    rollups: list[Rollup] = []
    effects: list[Effect] = []
    for agent in agents:
        agent.tally.settle(now_ms)
        before, totals = agent.durable.rolled or Rolled(), _totals(agent.durable)
        rollup = _rollup(agent, begins_ms, before, totals)
        agent.tally.begin()
        if rollup is None:
            continue
        rollups.append(rollup)
        if before != totals:
            agent.durable.rolled = totals
            effects.append(Persist(agent.name, agent.snapshot()))
    if rollups:
        effects.append(SaveRollups(tuple(rollups)))
    return effects


def _totals(durable: Durable) -> Rolled:
    return Rolled(
        heartbeats=durable.heartbeats,
        cycles=durable.cycles,
        tokens=durable.tokens,
        cost_micros=durable.cost_micros,
        unpriced=durable.unpriced,
        successes=durable.successes,
        failures=durable.failures_told,
        restarts=durable.restarts,
    )


def _rollup(agent: Agent, begins_ms: int, before: Rolled, totals: Rolled) -> Rollup | None:
    """Return the difference, or None where there is nothing to tell."""
    tally, stood_ms = agent.tally, agent.tally.stood_ms
    rests = not any(ms for standing, ms in stood_ms.items() if standing is not Standing.REST)
    latency_counts = tally.latency_counts()
    if rests and before == totals and not latency_counts and tally.rss_max_bytes is None:
        return None
    return Rollup(
        agent=agent.name,
        begins_ms=begins_ms,
        heartbeats=totals.heartbeats - before.heartbeats,
        cycles=totals.cycles - before.cycles,
        tokens=totals.tokens - before.tokens,
        cost_micros=totals.cost_micros - before.cost_micros,
        unpriced=totals.unpriced - before.unpriced,
        successes=totals.successes - before.successes,
        failures=totals.failures - before.failures,
        restarts=totals.restarts - before.restarts,
        latency_counts=latency_counts,
        rss_min_bytes=tally.rss_min_bytes,
        rss_max_bytes=tally.rss_max_bytes,
        healthy_ms=stood_ms.get(Standing.HEALTHY, 0),
        degraded_ms=stood_ms.get(Standing.DEGRADED, 0),
        unreachable_ms=stood_ms.get(Standing.UNREACHABLE, 0),
        unknown_ms=stood_ms.get(Standing.UNKNOWN, 0),
        down_ms=stood_ms.get(Standing.DOWN, 0),
        rest_ms=stood_ms.get(Standing.REST, 0),
    )
