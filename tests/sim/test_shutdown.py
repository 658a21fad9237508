"""A shutdown of worlds in which much survives SIGKILL: it ends, and says what it leaves behind.

The worlds of `test_swarm` meet this too, if seldom: their daemons are told to end by an operator,
and are killed a moment later as often as not. Here each is told so, with trees that can't be
killed all about, and left to itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from agentd.core import dependencies, remains, supervisor
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.agent import Agent, Presence
from agentd.core.states import State
from agentd.core.supervisor import Supervisor
from tests.sim.swarm import Swarm
from tests.sim.world import LATE_MS_MAX, Broken

WORLDS = 150
STEPS_BEFORE = 60
STUCK_RATE = 0.6
# Of the world's own: news that are late, a tick that is, a validation or a look to wait for.
SLACK_MS = LATE_MS_MAX + 10_000


class Ending(Swarm):
    """A world whose daemon is told to end, and of which nothing else goes wrong from then on."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.rates.stuck = STUCK_RATE
        self.rates.crash_in_step = 0.0
        self.left: list[str] | None = None
        """Agents of whom something lived at the end; None: it has not ended."""
        self.said: list[str] = []
        """Agents of whom it said so."""

    def end(self) -> None:
        """Tell the daemon to end, and wait until it does. Raises `Broken`."""
        self._start(rebooted=False)
        for _ in range(STEPS_BEFORE):
            if self.random.random() < self.kind.trouble_rate:
                self._trouble()
            self._next()
        self._commit()
        if self.core is None or self.core.closing:
            self._crash()
            self._start(rebooted=False)
        self.left, self.said = None, []
        latest_ms = self.world.now_ms + self._patience_ms()
        self._step(ev.ShutdownAsked("SIGTERM"))
        while self.left is None:
            if not self._next(latest_ms) and self.left is None:
                raise Broken("a shutdown never ends")

    def _patience_ms(self) -> int:
        """One agent after the other: asked, told to stop, killed, given up."""
        assert self.core is not None
        return sum(
            agent.config.stop_timeout_ms
            + agent.config.pause.checkpoint_timeout_ms
            + remains.GIVE_UP_MS
            + SLACK_MS
            for agent in self.core.agents.values()
        )

    def _do(self, effect: do.Effect) -> None:
        if isinstance(effect, do.Journal) and effect.record.event == "daemon.stopping":
            self.said = list(effect.record.data.get("agents", []))  # type: ignore[call-overload]
        if isinstance(effect, do.Exit):
            assert self.core is not None
            self.left = self._living(self.core)
        super()._do(effect)

    def _living(self, core: Supervisor) -> list[str]:
        """Agents with a living process; none of them is called stopped."""
        names = [name for name in core.agents if any(self.world.living(name))]
        for name in names:
            agent = core.agents[name]
            if agent.state is State.STOPPED or agent.presence is Presence.NONE:
                raise Broken(f"{name} lives, and is called {agent.state}")
            if agent.stop is None or agent.stop.killed_at_ms is None:
                raise Broken(f"{name} lives, and was never killed")
            if self.world.now_ms < agent.stop.killed_at_ms + remains.GIVE_UP_MS:
                raise Broken(f"{name} was given up early")
        return names


def end_worlds(worlds: int) -> list[list[str]]:
    """End so many worlds; whom each left behind."""
    left = []
    for seed in range(worlds):
        world = Ending(seed)
        world.end()
        assert world.left is not None
        if world.left != world.said:
            raise Broken(f"seed {seed}: left {world.left}, said {world.said}")
        left.append(world.left)
    return left


def test_b7_a_shutdown_ends_in_every_world_and_says_what_lives_on() -> None:
    left = end_worlds(WORLDS)
    assert any(left), "nothing survived anywhere: the bound was never needed"
    assert not all(left), "something survived everywhere: nothing ended as it should"


def never(_: object) -> None:
    """As if there were no bound."""


def whoever_lives(agent: Agent, _leaving: object, fleet: dict[str, Agent]) -> bool:
    """As if a stop waited for dependants that nobody waits for."""
    return not any(other.has_process for other in dependencies.dependants(agent.name, fleet))


def at_once(agent: Agent) -> int | None:
    """As if patience ended with the kill."""
    stop = agent.stop
    waits = stop is not None and stop.given_up_at_ms is None
    return stop.killed_at_ms if stop is not None and waits else None


BUGS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "no bound": (remains, "due_ms", never),
    "given up at once": (remains, "due_ms", at_once),
    "says nothing of whom it leaves": (remains, "tell_left", lambda *_: None),
    "stops wait for the given up": (supervisor.pausing, "may_stop", whoever_lives),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    owner, what, instead = BUGS[name]
    with patch.object(owner, what, instead):
        yield


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    with planted(bug), pytest.raises(Broken):
        end_worlds(WORLDS)
