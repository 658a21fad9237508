"""Looks before the axe: answered at once, late, twice or never, and what must hold all the same."""

from dataclasses import dataclass, field
from random import Random

from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core import liveness
from agentd.core.agent import Agent, Presence
from agentd.core.states import Health, Intent, State, StopReason
from agentd.core.supervisor import Supervisor
from tests.sim.world import Broken, World

# What the design promises; not taken from the core, which is under test.
LOOK_MS_MAX = 3_000
# A tick may be late by this much in these worlds.
LATE_TICK_MS_MAX = 500
ANSWER_MS_MAX = 6_000


@dataclass
class Looks:
    """Answers looks with chance of its own, so that older seeds keep their worlds."""

    world: World
    random: Random
    lost_rate: float = 0.0
    late_rate: float = 0.0
    asked: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By agent: the incarnation last looked at, and when the look began."""
    answered: set[tuple[str, int, int]] = field(default_factory=set)
    unreachable_since: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By agent: the incarnation that is silent, or starts, for too long, and since when."""

    @classmethod
    def draw(cls, world: World, seed: int) -> "Looks":
        random = Random(f"looks {seed}")  # noqa: S311 - a world is drawn, not a secret
        lost, late = (random.choice((0.0, 0.0, 0.3, 1.0)) for _ in range(2))
        return cls(world, random, lost, late)

    def answer(self, asked: do.Diagnose) -> ev.Diagnosed | None:
        """Answer a look, at once or later; None: the answer is lost."""
        seen = ev.Diagnosed(asked.agent, asked.incarnation, asked.kind, asked.asked_at_ms)
        if self.world.healed:
            return seen
        if self.random.random() < self.lost_rate:
            return None
        return seen

    def delay_ms(self) -> int:
        """How long an answer is under way; more than anybody waits for it, now and then."""
        if self.world.healed or self.random.random() >= self.late_rate:
            return 0
        return self.random.randint(0, ANSWER_MS_MAX)

    def restarted(self) -> None:
        """A new daemon knows of no look."""
        self.asked.clear()
        self.answered.clear()
        self.unreachable_since.clear()

    def after_step(self, core: Supervisor, event: ev.Event, effects: list[do.Effect]) -> None:
        """Nobody is told of, or acted upon, unseen; and nobody waits for ever."""
        if isinstance(event, ev.Diagnosed) and event.kind == "stall":
            self.answered.add((event.agent, event.incarnation, event.asked_at_ms))
        if isinstance(event, ev.Gap):
            self.unreachable_since.clear()  # nobody could act in that time
        for effect in effects:
            if isinstance(effect, do.Diagnose) and effect.kind == "stall":
                self.asked[effect.agent] = (effect.incarnation, effect.asked_at_ms)
            elif isinstance(effect, do.Journal) and effect.record.event == "agent.unreachable":
                self._told(core, effect.record.agent or "", "told as unreachable")
            elif isinstance(effect, do.Journal) and effect.record.event == "agent.stopping":
                agent = core.agents.get(effect.record.agent or "")
                if agent is not None and _is_ended_now(agent, self.world.now_ms):
                    self._told(core, agent.name, "ended as it never became ready")
        for agent in core.agents.values():
            self._waits(agent)

    def _told(self, core: Supervisor, name: str, what: str) -> None:
        agent = core.agents.get(name)
        if agent is None or agent.presence is not Presence.ALIVE:
            return  # external, or its leader is dead: there is nothing to look at
        incarnation, at_ms = self.asked.get(name, (0, 0))
        if incarnation != agent.incarnation:
            raise Broken(f"LOOK {name}: {what}, and nobody looked at it")
        seen = (name, incarnation, at_ms) in self.answered
        if not seen and self.world.now_ms < at_ms + LOOK_MS_MAX:
            raise Broken(f"LOOK {name}: {what} before the look was over")

    def _waits(self, agent: Agent) -> None:
        now_ms, incarnation = self.world.now_ms, agent.incarnation
        if not _must_be_restarted(agent, now_ms) and not _must_be_ready(agent, now_ms):
            self.unreachable_since.pop(agent.name, None)
            return
        since = self.unreachable_since.get(agent.name)
        if since is None or since[0] != incarnation:
            since = self.unreachable_since[agent.name] = (incarnation, now_ms)
        if now_ms > since[1] + LOOK_MS_MAX + LATE_TICK_MS_MAX:
            waited_ms = now_ms - since[1]
            raise Broken(f"LOOK {agent.name}: {waited_ms} ms too late, and not acted upon")


def _must_be_restarted(agent: Agent, now_ms: int) -> bool:
    beat = agent.config.heartbeat
    if beat.on_unreachable != "restart" or agent.config.external:
        return False
    if agent.presence is not Presence.ALIVE or agent.intent is not Intent.UP:
        return False
    silent = liveness.health_of(agent, now_ms) is Health.UNREACHABLE
    return silent and agent.stop is None and agent.noted is not Health.UNREACHABLE


def _must_be_ready(agent: Agent, now_ms: int) -> bool:
    if agent.state is not State.STARTING or agent.presence is not Presence.ALIVE:
        return False
    since_ms = agent.durable.spawned_at_ms
    late = since_ms is not None and now_ms >= since_ms + agent.config.startup_timeout_ms
    return late and agent.stop is None


def _is_ended_now(agent: Agent, now_ms: int) -> bool:
    """Whether its stop has just begun; one that a new daemon takes up isn't told as begun."""
    stop = agent.stop
    if stop is None or stop.begun_at_ms != now_ms or stop.kill_at_ms is None:
        return False
    return stop.reason is StopReason.STARTUP_TIMEOUT
