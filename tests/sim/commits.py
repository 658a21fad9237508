"""The store under a crash: what a step wants kept waits for its commit, and may be lost.

A group commit makes several steps durable at once. Until then nothing of them is done, and
a daemon that dies leaves a prefix of them behind: the first few steps, or none.
"""

from collections import Counter
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, is_dataclass
from random import Random
from typing import Any

from agentd.core import effects as do
from agentd.core.host_views import FleetSpending
from tests.sim.world import World

# No more steps than that wait for one commit.
WAITING_MAX = 4
# Chance that what waits is committed before the next thing happens.
COMMIT_RATE = 0.4
DISK = ("disk", "rows", "lazily", "baselines", "incidents", "checkpoints", "answers")


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
    waiting: list[tuple[Saved, list[do.Effect]]] = field(default_factory=list)
    _before: Saved | None = None

    @classmethod
    def draw(cls, world: World, seed: int, watchers: tuple[object, ...]) -> "Commits":
        random = Random(f"commits {seed}")  # noqa: S311 - a world is drawn, not a secret
        return cls(world, random, watchers, random.choice((0.0, 0.0, 0.02, 0.1)))

    def begin(self) -> None:
        """Before a step is taken down: decide whether its commit takes a while."""
        slow = not self.world.healed and self.random.random() < self.rate
        self._before = self._save() if self.waiting or slow else None

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
        if not lost:
            return
        sometimes["torn commit"] += 1
        sometimes["torn commit, a part of it kept"] += kept > 0
        saved = lost[0][0]
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
