"""Silence a second time: nobody is unreachable for time in which agentd itself stood still.

A necessary condition alone, so that it needs to know little: since its last word, an agent
that is told to be unreachable has been silent for long enough by a clock that stops while
the daemon, or the host, does.
"""

from dataclasses import dataclass, field

from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.lines import Call, Heartbeat, Line, Step
from agentd.core.supervisor import Supervisor
from tests.sim.world import Broken, World


@dataclass
class Silence:
    """Watches who is told to be silent."""

    world: World
    stood_still_ms: int = 0
    """All gaps so far."""
    heard_ms: dict[str, int] = field(default_factory=dict)
    """When each was heard of last, or begun with, by the clock that stops."""

    frozen_ms: dict[str, int] = field(default_factory=dict)

    def restarted(self) -> None:
        """A new daemon begins to listen: nothing before it was silence."""
        self.heard_ms.clear()
        self.frozen_ms.clear()

    def after_step(self, core: Supervisor, event: ev.Event, effects: list[do.Effect]) -> None:
        """Check one step."""
        if isinstance(event, ev.Gap):
            self.stood_still_ms += event.gap_ms
        watched_ms = self.world.now_ms - self.stood_still_ms
        for name in core.agents:
            self.heard_ms.setdefault(name, watched_ms)
        if isinstance(event, ev.LinesReceived | ev.Spawned):
            self._heard(core, event, watched_ms)
        for effect in effects:
            if isinstance(effect, do.Forget):
                self.heard_ms.pop(effect.agent, None)
            elif isinstance(effect, do.Freeze):
                self.frozen_ms[effect.agent] = watched_ms
            elif isinstance(effect, do.Thaw):
                # Its clocks stood still, and go on from where they were.
                still_ms = watched_ms - self.frozen_ms.pop(effect.agent, watched_ms)
                self.heard_ms[effect.agent] += still_ms
            elif isinstance(effect, do.Journal) and effect.record.event == "agent.unreachable":
                self._told(core, effect.record.agent or "", event, watched_ms)

    def _heard(
        self, core: Supervisor, event: ev.LinesReceived | ev.Spawned, watched_ms: int
    ) -> None:
        if isinstance(event, ev.LinesReceived) and not any(_shows_life(one) for one in event.lines):
            return
        agent = core.agents.get(event.agent)
        if agent is None or event.incarnation != agent.incarnation:
            return
        again = agent.durable.spawned_at_ms != self.world.now_ms
        if not (isinstance(event, ev.Spawned) and again):  # told twice, it is no news
            self.heard_ms[agent.name] = watched_ms

    def _told(self, core: Supervisor, name: str, event: ev.Event, watched_ms: int) -> None:
        agent = core.agents[name]
        silent_ms = watched_ms - self.heard_ms[name]
        if silent_ms < agent.config.heartbeat.unreachable_after_ms and agent.has_process:
            raise Broken(f"P5 {name}: unreachable after {silent_ms} ms of silence, by {event}")


def _shows_life(line: Line) -> bool:
    return isinstance(line, Heartbeat | Step) or (isinstance(line, Call) and not line.start)
