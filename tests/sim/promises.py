"""What an agent was promised: an answer to each question, and that what was kept is kept."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.agent import Presence
from agentd.core.lines import ActionBegun, ActionDone, CheckpointPut, Line
from agentd.core.records import Action
from agentd.core.supervisor import Supervisor
from tests.sim.commits import UNAVAILABLE
from tests.sim.world import Broken, World


@dataclass
class Kept:
    """What one execution of an agent was told is on disk."""

    execution: str = ""
    actions: set[str] = field(default_factory=set)
    """Keys of actions that were acknowledged and of whose end nothing was said."""
    checkpoint: int = 0
    """Number of the last state that was acknowledged."""
    refused: bool = False
    """A state could not be kept: the record may name one that is not there."""


class Promises:
    """Watches questions and answers. The world is asked what is on disk, never the core."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.open: dict[str, ev.AgentAsked] = {}
        self.kept: dict[str, Kept] = {}
        self.executions: dict[str, str] = {}

    def after_step(self, core: Supervisor, event: ev.Event, effects: list[do.Effect]) -> None:
        """Take in what was asked; what is said of an action's end counts as soon as it is said."""
        if isinstance(event, ev.AgentAsked):
            if event.request in self.open:
                raise Broken(f"{event.request} was asked twice")
            self.open[event.request] = event
            self._ended(event.agent, event.line)
            self._at_once(core, event, effects)
        for effect in effects:
            if isinstance(effect, do.Forget):
                self.kept.pop(effect.agent, None)
                self.executions.pop(effect.agent, None)
            elif isinstance(effect, do.Journal) and effect.record.event == "agent.killed":
                self.kept.pop(effect.record.agent or "", None)
            elif isinstance(effect, do.Persist):
                self._execution(event, effects, effect)

    def _at_once(self, core: Supervisor, asked: ev.AgentAsked, effects: list[do.Effect]) -> None:
        """A question is answered in its step, unless the news of the spawn is still under way."""
        answers = [effect for effect in effects if isinstance(effect, do.Reply | do.Recall)]
        agent = core.agents.get(asked.agent)
        waits = agent is not None and agent.presence is Presence.SPAWNING
        if not waits and all(answer.request != asked.request for answer in answers):
            raise Broken(f"{asked} is not answered")

    def _execution(self, event: ev.Event, effects: list[do.Effect], kept: do.Persist) -> None:
        """An execution ends with a kill, with its work, or where a person begins another."""
        before, after = self.executions.get(kept.agent, ""), kept.durable.execution
        self.executions[kept.agent] = after
        if not before or before == after or (isinstance(event, ev.Requested) and event.options):
            return
        told = {
            effect.record.event
            for effect in effects
            if isinstance(effect, do.Journal) and effect.record.agent == kept.agent
        }
        if not told & {"agent.killed", "agent.completed", "agent.added"}:
            raise Broken(f"{kept.agent}: execution {before!r} became {after!r} by {event}")

    def _ended(self, agent: str, line: Line) -> None:
        if isinstance(line, ActionDone) and agent in self.kept:
            self.kept[agent].actions.discard(line.key)

    def answered(self, effect: do.Reply | do.Recall) -> None:
        """An answer leaves: once a question, and what it promises is on disk by now."""
        asked = self.open.pop(effect.request, None)
        if asked is None:
            if effect.request.startswith("q"):
                raise Broken(f"{effect.request} was answered twice, or never asked")
            return
        if isinstance(effect, do.Recall):
            self._recalled(effect)
            return
        if effect.error is not None:
            unkept = effect.error[0] == UNAVAILABLE[0] and isinstance(asked.line, CheckpointPut)
            if unkept:
                self._kept(asked.agent).refused = True
            return
        if not isinstance(asked.line, ActionBegun | CheckpointPut):
            return
        kept = self._kept(asked.agent)
        if not kept.execution:
            return  # the very step that answered has ended the execution
        if isinstance(asked.line, ActionBegun):
            kept.actions.add(asked.line.key)
        else:
            saved = self.world.checkpoints.get((asked.agent, kept.execution))
            if saved is None or saved < kept.checkpoint:
                raise Broken(f"INV10 {effect.request}: acknowledged, and on disk is {saved}")
            kept.checkpoint = saved
        self._check(asked.agent, f"answered {effect.request}")

    def _kept(self, agent: str) -> Kept:
        """What is promised to the execution on disk; to an earlier one nothing is any more."""
        durable = self.world.disk.get(agent)
        execution = durable.execution if durable is not None else ""
        kept = self.kept.get(agent)
        if kept is None or kept.execution != execution:
            kept = self.kept[agent] = Kept(execution)
        return kept

    def _check(self, agent: str, when: str) -> None:
        kept, durable = self.kept.get(agent), self.world.disk.get(agent)
        if kept is None:
            return
        if durable is None:
            raise Broken(f"INV5 {agent}: {when}, and nothing of it is on disk")
        if durable.execution != kept.execution:
            del self.kept[agent]  # that execution is history; what ended it was told
            return
        lost = kept.actions - {action.key for action in durable.unfinished}
        if lost:
            raise Broken(f"INV5 {agent}: {when}, but {sorted(lost)} is not on disk")
        if kept.checkpoint and durable.checkpoint is None:
            raise Broken(f"INV10 {agent}: {when}, but its checkpoint is not on disk")
        on_disk = self.world.checkpoints.get((agent, durable.execution), 0)
        if on_disk < kept.checkpoint:
            raise Broken(f"INV10 {agent}: {when}, {kept.checkpoint} was kept, on disk is {on_disk}")
        if durable.checkpoint is not None:
            saved = self.world.checkpoints.get((agent, durable.execution))
            if saved != durable.checkpoint.seq and not kept.refused:
                raise Broken(f"INV10 {agent}: {when}, checkpoint {durable.checkpoint}, not {saved}")

    def _recalled(self, recall: do.Recall) -> None:
        """What an earlier incarnation had in flight, and nothing else, is told to this one."""
        durable = self.world.disk.get(recall.agent)
        if durable is None or durable.execution != recall.execution:
            raise Broken(f"{recall.agent}: recalls an execution that isn't on disk")
        earlier = _keys(
            action for action in durable.unfinished if action.incarnation < durable.incarnation
        )
        if _keys(recall.unfinished) != earlier:
            raise Broken(f"{recall.agent}: recalls {recall.unfinished}, not {earlier}")

    def after_crash(self, core: Supervisor) -> None:
        """Nobody waits any more; what was promised is on disk, and the next daemon knows it."""
        self.open.clear()
        for name in list(self.kept):
            self._check(name, "agentd died")
            agent, kept = core.agents.get(name), self.kept.get(name)
            if agent is None or kept is None or agent.durable.execution != kept.execution:
                continue
            lost = kept.actions - _keys(agent.durable.unfinished)
            if lost:
                raise Broken(f"INV5 {name}: {sorted(lost)} forgotten by the next daemon")

    def all_answered(self) -> None:
        """At the end nobody waits in vain."""
        if self.open:
            raise Broken(f"never answered: {sorted(self.open)}")


def _keys(actions: Iterable[Action]) -> set[str]:
    return {action.key for action in actions}
