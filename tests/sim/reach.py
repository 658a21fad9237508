"""What the worlds together must reach, taken from the code: nothing is tested that never happens.

Every event that can be journaled, every stop reason, every effect and every arrow of the state
table; then what this simulator does to its worlds, by name. What is exempt says why.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import get_args
from unittest.mock import patch

from agentd.config.event_names import EVENT_NAMES
from agentd.core import effects as do
from agentd.core.agent import Agent
from agentd.core.states import TRANSITIONS, State, StopReason, Trigger
from tests.sim.chance import TROUBLES

_SHARED = "the arrow stands in a row that several states share"
_ENDED_WAITING = "only an end while it is parked waits for its provider"
# Arrows that no run takes, and why not.
NEVER: Mapping[tuple[State, Trigger], str] = {
    (State.STARTING, Trigger.AGAIN): "a start that begins anew while starting moves nothing",
    (State.STARTING, Trigger.WAIT_PARKED): _ENDED_WAITING,
    (State.RUNNING, Trigger.WAIT_PARKED): _ENDED_WAITING,
    (State.STOPPING, Trigger.WAIT_PARKED): _ENDED_WAITING,
    (State.STOPPING, Trigger.STOP): "a stop that is overtaken goes on, and moves nothing",
    (State.STOPPING, Trigger.FINISH): f"a stop is never the end of its work; {_SHARED}",
    (State.COOLDOWN, Trigger.RETRY): "a cooldown ends in a start, and that fails while starting",
    (State.COOLDOWN, Trigger.GIVE_UP): "a cooldown ends in a start, and that fails while starting",
    (State.COMPLETED, Trigger.HELD_BACK): "what is completed has nothing to pause, and says so",
}
# Arrows that need two rare things in one moment: a nightly run takes them, a thousand worlds
# may not.
SELDOM: Mapping[tuple[State, Trigger], str] = {
    (State.RUNNING, Trigger.HELD_BACK): "its end was lost with a daemon that knew it as running",
    (State.PAUSED, Trigger.FINISH): "it ended well unseen, and was resumed before that was known",
    (State.PAUSED, Trigger.WAIT_PARKED): "paused in its provider's wait, resumed and ended unseen",
    (State.PAUSED, Trigger.GIVE_UP): "its last failure was lost while it was paused",
    (State.PARKED, Trigger.FINISH): "it ended in the moment in which its provider's wait did",
    (State.PARKED, Trigger.RETRY): "it ended in the moment in which its provider's wait did",
    (State.PARKED, Trigger.AGAIN): "it ended in the moment in which its provider's wait did",
    (State.PARKED, Trigger.GIVE_UP): "it ended in the moment in which its provider's wait did",
    (State.PARKED, Trigger.HELD_BACK): "paused without a process, in a wait for its provider",
}
# Events that only worlds much longer than these see, and what shows them instead.
SLOW: Mapping[str, str] = {
    "memory.suspect": "a growth too slow to page for takes hours: tests/core/test_leak.py",
}
# What is done to worlds and to daemons, beyond what the troubles' names say.
DONE = (
    *("crash before the commit", "crash between deeds", "crash in Started", "exit", "re-exec"),
    *("torn commit", "torn commit, a part of it kept", "reload of depends_on"),
    *("command repeated, told again", "command repeated, carried out"),
    *("incident again", "incident of many", "incident of a breaker", "incident acknowledged"),
    *("incident that cannot be killed", "alert reminder", "alert resolve"),
    *("commit refused", "command refused", "crash while the disk refuses"),
    *("adopted without a record", "adopted standing still"),
    *("cut off", "paused by the fleet's budget", "started without word of others"),
)


def arrow(state: State, trigger: Trigger) -> str:
    """Return the name under which one arrow of the state table is counted."""
    return f"{state} -{trigger}->"


@contextmanager
def counting_arrows(sometimes: Counter[str]) -> Iterator[None]:
    """Count each arrow that an agent goes along, also one that leads back to where it was."""
    move = Agent.move

    def counted(self: Agent, trigger: Trigger, now_ms: int, why: str) -> None:
        sometimes[arrow(self.state, trigger)] += 1
        move(self, trigger, now_ms, why)

    with patch.object(Agent, "move", counted):
        yield


def reached(effects: Iterable[do.Effect]) -> Iterator[str]:
    """Yield the branches that a step took, so that a rare one is known to be tested."""
    for effect in effects:
        yield type(effect).__name__
        if isinstance(effect, do.Journal):
            yield effect.record.event
            if effect.record.event == "agent.exited":
                yield f"exited {effect.record.reason}"


def wanted() -> Iterator[str]:
    """Yield the name of everything that some world must reach."""
    yield from sorted(EVENT_NAMES - SLOW.keys())
    yield from (f"exited {reason}" for reason in StopReason)
    yield from (effect.__name__ for effect in get_args(do.Effect))
    for state, ways in TRANSITIONS.items():
        exempt = NEVER.keys() | SELDOM.keys()
        yield from (arrow(state, way) for way in ways if (state, way) not in exempt)
    yield from (f"trouble {name}" for name in TROUBLES)
    yield from DONE
