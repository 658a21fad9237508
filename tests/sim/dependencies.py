"""Breakers a second time, as plainly as they can be: what must be answered, told, and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentd.config.schema import BreakerConfig
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.lines import BreakerAsk, BreakerReport
from agentd.core.supervisor import Supervisor
from tests.sim.world import Broken

NAMES = {"breaker.opened": "open", "breaker.half_open": "half_open", "breaker.closed": "closed"}


@dataclass
class Dependency:
    """What is known of one dependency from outside."""

    config: BreakerConfig
    state: str = "closed"
    opened_at_ms: int = 0
    failed_ms: list[int] = field(default_factory=list)
    trials: list[tuple[str, int, int]] = field(default_factory=list)
    """(agent, incarnation, until when it keeps its place)."""

    def goes_to(self, state: str, now_ms: int) -> str:
        """Change the state, and return the event that must tell of it."""
        self.state = state
        self.trials.clear()
        if state == "open":
            self.opened_at_ms = now_ms
        elif state == "closed":
            self.failed_ms.clear()
        return "breaker.opened" if state == "open" else f"breaker.{state}"

    def is_due(self, now_ms: int) -> bool:
        return self.state == "open" and now_ms >= self.opened_at_ms + self.config.reset_ms


class Dependencies:
    """Watches breakers in every step of one world; a daemon's end forgets them."""

    def __init__(self) -> None:
        self.known: dict[str, Dependency] = {}

    def after_step(
        self,
        core: Supervisor,
        event: ev.Event,
        effects: list[do.Effect],
        asked: Mapping[str, ev.AgentAsked],
        now_ms: int,
    ) -> None:
        """Play the step over from its answers, and compare what was told."""
        expected: list[str] = []
        if isinstance(event, ev.Ticked):
            due = [one for one in self.known.values() if one.is_due(now_ms)]
            expected += [one.goes_to("half_open", now_ms) for one in due]
        for effect in effects:
            if isinstance(effect, do.Reply) and effect.error is None and effect.request in asked:
                expected += self._answered(core, asked[effect.request], effect, now_ms)
        told = [
            effect.record.event
            for effect in effects
            if isinstance(effect, do.Journal)
            and effect.record.event in NAMES
            and "hosts" not in effect.record.data  # those are of other hosts' breakers
        ]
        if sorted(told) != sorted(expected):
            raise Broken(f"breakers: {told}, not {expected}, by {event}")
        self._awake(core, now_ms)

    def _answered(
        self, core: Supervisor, asked: ev.AgentAsked, reply: do.Reply, now_ms: int
    ) -> list[str]:
        line = asked.line
        if not isinstance(line, BreakerAsk | BreakerReport):
            return []
        config = core.config.breakers.get(line.name, BreakerConfig())
        one = self.known.setdefault(line.name, Dependency(config))
        told = [one.goes_to("half_open", now_ms)] if one.is_due(now_ms) else []
        one.trials = [
            (name, incarnation, until_ms)
            for name, incarnation, until_ms in one.trials
            if now_ms < until_ms and _runs(core, name, incarnation)
        ]
        if isinstance(line, BreakerReport):
            return told + self._reported(one, asked.agent, line, now_ms)
        self._may_call(core, one, asked, reply, now_ms)
        return told

    def _reported(self, one: Dependency, agent: str, line: BreakerReport, now_ms: int) -> list[str]:
        if one.state == "closed" and not line.ok:
            since_ms = now_ms - one.config.window_ms
            one.failed_ms = [at_ms for at_ms in one.failed_ms if at_ms >= since_ms] + [now_ms]
            if len(one.failed_ms) >= one.config.failures:
                return [one.goes_to("open", now_ms)]
        elif one.state == "half_open" and line.ok:
            return [one.goes_to("closed", now_ms)]
        elif one.state == "half_open" and (
            # A call from before must not outweigh a trial that is under way.
            not one.trials or any(name == agent for name, *_ in one.trials)
        ):
            return [one.goes_to("open", now_ms)]
        return []

    def _may_call(
        self, core: Supervisor, one: Dependency, asked: ev.AgentAsked, reply: do.Reply, now_ms: int
    ) -> None:
        answer = reply.result or {}
        allow = one.state == "closed"
        if one.state == "half_open" and len(one.trials) < one.config.half_open_max:
            allow = True
            incarnation = core.agents[asked.agent].incarnation
            one.trials.append((asked.agent, incarnation, now_ms + one.config.reset_ms))
        if (answer.get("state"), answer.get("allow")) != (one.state, allow):
            raise Broken(f"{asked.agent} is answered {answer}, by reckoning {one} {allow}")
        if answer.get("retry_allowed") and not allow:
            raise Broken(f"{asked.agent} may try again what it may not try")

    def _awake(self, core: Supervisor, now_ms: int) -> None:
        """Whoever is open has a moment at which it is half open."""
        wakes_ms = core.next_deadline_ms()
        for name, one in self.known.items():
            due_ms = one.opened_at_ms + one.config.reset_ms
            if one.state == "open" and (wakes_ms is None or wakes_ms > max(due_ms, now_ms)):
                raise Broken(f"breaker {name} is due at {due_ms}, and nothing wakes it")


def _runs(core: Supervisor, name: str, incarnation: int) -> bool:
    agent = core.agents.get(name)
    if agent is None or agent.incarnation != incarnation:
        return False
    return agent.has_process or agent.config.external
