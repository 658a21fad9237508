"""The store under a crash and on a bad disk: what a step wants kept waits, and may be lost.

A group commit makes several steps durable at once. Until then nothing of them is done, and
a daemon that dies leaves a prefix of them behind: the first few steps, or none.

While the disk refuses, deeds are done all the same, whoever asked for something to be kept is
told that it was not, and the daemon remembers. What the world calls its disk is that memory
then. If the disk takes it again, all of it is written but what was refused; if the daemon dies
before, nothing of it ever was.
"""

from collections import Counter
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, is_dataclass, replace
from random import Random
from typing import Any

from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.host_views import FleetSpending
from agentd.core.lines import ActionBegun, ActionDone, CheckpointPut
from agentd.daemon.requests import TAKEN_WITHOUT_STORAGE
from tests.sim.world import World

# No more steps than that wait for one commit.
WAITING_MAX = 4
# Chance that what waits is committed before the next thing happens.
COMMIT_RATE = 0.4
DISK = ("disk", "rows", "lazily", "baselines", "incidents", "checkpoints", "answers")
# Chance that a disk that refuses takes the next commit.
HEAL_RATE = 0.04
# Chance that the daemon dies of it, or by accident, before the next thing happens.
DOOM_RATE = 0.03
# Answers of agents' questions that promise something; of operators' commands all but `wait` do.
KEEPS = (ActionBegun, ActionDone, CheckpointPut)
UNAVAILABLE = ("storage_unavailable", "EIO", "")


@dataclass
class Saved:
    """What was on disk before a step, and what watchers had seen by then."""

    disk: dict[str, dict[Any, Any]]
    seen: list[dict[str, Any]]
    spending: FleetSpending | None


@dataclass
class Commits:
    """Steps whose commit is under way, the oldest first."""

    world: World
    random: Random
    watchers: tuple[object, ...]
    """Whoever remembers what was told: a step that is lost was never told."""
    rate: float
    disk: Random
    """What the disk does, of its own: worlds in which it is well are as they were."""
    waiting: list[tuple[Saved, list[do.Effect]]] = field(default_factory=list)
    refuses: bool = False
    """The disk takes nothing."""
    lost: Saved | None = None
    """What is on disk, where less is on it than this daemon knows."""
    _before: Saved | None = None

    @classmethod
    def draw(cls, world: World, seed: int, watchers: tuple[object, ...]) -> "Commits":
        random = Random(f"commits {seed}")  # noqa: S311 - a world is drawn, not a secret
        disk = Random(f"disk {seed}")  # noqa: S311 - a world is drawn, not a secret
        world.rates.commit_fails = disk.choice((0.0, 0.0, 0.0, 0.01, 0.05))
        return cls(world, random, watchers, random.choice((0.0, 0.0, 0.02, 0.1)), disk)

    def begin(self) -> None:
        """Before a step is taken down: decide whether its commit takes a while, or fails."""
        self.turn_disk()
        if self.refuses:
            self.hold()
            return
        slow = not self.world.healed and self.random.random() < self.rate
        self._before = self._save() if self.waiting or slow else None

    def turn_disk(self) -> None:
        """Let the disk begin to refuse, or to take again, what is written; the core is told."""
        rate, healed = self.world.rates.commit_fails, self.world.healed
        if self.refuses:
            if healed or self.disk.random() < HEAL_RATE:
                # With the next commit goes everything that this daemon remembers.
                self.refuses, self.lost = False, None
                self.world.tell(ev.StorageChanged(ok=True))
        elif rate and not healed and not self.waiting and self.disk.random() < rate:
            self.refuses = True
            self.world.tell(ev.StorageChanged(ok=False, evidence="EIO"))

    def is_doom(self) -> bool:
        """Whether the daemon dies while the disk refuses; the next one may find it well."""
        if not self.refuses or self.world.healed or self.disk.random() >= DOOM_RATE:
            return False
        self.refuses = self.disk.random() < 0.5
        return True

    def hold(self) -> None:
        """From here on it may all be lost; what is on disk by now is not."""
        if self.lost is None:
            self.lost = self._save()

    def refused(self, event: ev.Requested) -> bool:
        """Whether a command isn't even taken, as nothing can be recorded now."""
        taken = event.cmd == "wait" or event.cmd in TAKEN_WITHOUT_STORAGE
        return self.refuses and not taken

    def told(
        self, event: ev.Event, effects: list[do.Effect], asked: Mapping[str, ev.AgentAsked]
    ) -> list[do.Effect]:
        """Return effects as they are where the disk refused: a yes that promises is none."""
        if not self.refuses:
            return effects
        commands = (
            {event.request} if isinstance(event, ev.Requested) and event.cmd != "wait" else ()
        )
        questions = dict(asked)
        if isinstance(event, ev.AgentAsked):
            questions[event.request] = event
        promising = {name for name, one in questions.items() if isinstance(one.line, KEEPS)}
        return [_refused(each, promising.union(commands)) for each in effects]

    def written(self, effects: list[do.Effect]) -> list[do.Effect]:
        """Return what of those is written, at last: states and answers are remembered by nobody."""
        if not self.refuses:
            return effects
        return [one for one in effects if not isinstance(one, do.SaveCheckpoint | do.Reply)]

    def add(self, effects: list[do.Effect]) -> list[do.Effect] | None:
        """Return what is to be done now that all of it is durable; None: it is not yet."""
        if self._before is None:
            return effects
        self.waiting.append((self._before, effects))
        self._before = None
        return None if len(self.waiting) < WAITING_MAX else self.end()

    def is_time(self) -> bool:
        """Whether the commit that is under way ends before anything else happens."""
        return bool(self.waiting) and (self.world.healed or self.random.random() < COMMIT_RATE)

    def end(self) -> list[do.Effect]:
        """All that waited is durable; return what is to be done."""
        done, self.waiting = self.waiting, []
        return [effect for _, effects in done for effect in effects]

    def tear(self, sometimes: Counter[str]) -> None:
        """The daemon dies: only the first few of the steps that waited are on disk."""
        self._before = None
        kept = self.random.randint(0, len(self.waiting))
        lost, self.waiting = self.waiting[kept:], []
        saved, self.lost = self.lost, None
        if saved is not None:
            sometimes["crash while the disk refuses"] += 1
        elif lost:
            sometimes["torn commit"] += 1
            sometimes["torn commit, a part of it kept"] += kept > 0
            saved = lost[0][0]
        if saved is not None:
            self._go_back(saved)

    def _go_back(self, saved: Saved) -> None:
        """Nothing that came after this is on disk, and nobody was told that it is."""
        self.world.spending = saved.spending
        for name, rows in saved.disk.items():
            setattr(self.world, name, rows)
        for watcher, seen in zip(self.watchers, saved.seen, strict=True):
            vars(watcher).update(seen)

    def _save(self) -> Saved:
        return Saved(
            {name: dict(getattr(self.world, name)) for name in DISK},
            [self._seen_by(watcher) for watcher in self.watchers],
            self.world.spending,
        )

    def _seen_by(self, watcher: object) -> dict[str, Any]:
        """A copy of what it remembers; the world and its chances are not part of that."""
        mine: Mapping[str, Any] = vars(watcher)
        return {
            name: _copied(value)
            for name, value in mine.items()
            if not isinstance(value, World | Random)
        }


def _refused(effect: do.Effect, promising: set[str]) -> do.Effect:
    if isinstance(effect, do.Reply) and effect.error is None and effect.request in promising:
        return replace(effect, result=None, error=UNAVAILABLE)
    return effect


def _copied(value: Any) -> Any:  # noqa: ANN401 - whatever a watcher remembers
    """A copy that shares what is never changed in place; `deepcopy` takes many times as long."""
    if isinstance(value, dict):
        found = value.copy()  # of its own kind: some have defaults
        for key, inside in value.items():
            found[key] = _copied(inside)
        return found
    if isinstance(value, set | list):
        return value.copy()
    if is_dataclass(value) and hasattr(value, "__dict__") and not _is_frozen(type(value)):
        made: Any = copy(value)
        for name, inside in vars(value).items():
            setattr(made, name, _copied(inside))
        return made
    return value


def _is_frozen(kind: Any) -> bool:  # noqa: ANN401 - of any class
    return bool(kind.__dataclass_params__.frozen)
