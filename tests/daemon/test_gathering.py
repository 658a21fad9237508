import selectors
import socket
from collections.abc import Iterator

import pytest

from agentd.daemon.gathering import GATHER_S, RATE_MIN, WINDOW_S, GatheringSelector

ENOUGH = int(RATE_MIN * WINDOW_S)


class Scene:
    """A selector on a clock of its own, an agent's connection and another descriptor."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []
        self.selector = GatheringSelector(lambda: self.now_s, self.slept_s.append)
        self.agent, self.agent_far = socket.socketpair()
        self.other, self.other_far = socket.socketpair()
        for end in (self.agent, self.other):
            self.selector.register(end, selectors.EVENT_READ)
        self.selector.agents.add(self.agent.fileno())

    def arrive(self, near: socket.socket, far: socket.socket) -> None:
        far.send(b"x")
        assert self.selector.select(0)
        near.recv(1)

    def window(self, arrivals: int) -> None:
        """Let that many messages of agents come within one window, and the window end."""
        for _ in range(arrivals):
            self.arrive(self.agent, self.agent_far)
        self.now_s += WINDOW_S
        self.selector.select(0)


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.selector.close()
    for end in (scene.agent, scene.agent_far, scene.other, scene.other_far):
        end.close()


def crowded(scene: Scene, arrivals: int = ENOUGH) -> None:
    scene.window(0)
    scene.window(arrivals)


def test_nothing_waits_below_the_rate(scene: Scene) -> None:
    crowded(scene, ENOUGH - 1)
    assert scene.selector.select(0.001) == []
    assert scene.slept_s == []


def test_at_the_rate_what_comes_is_waited_for_and_no_longer_than_asked(scene: Scene) -> None:
    crowded(scene)
    assert scene.selector.select(0.001) == []
    assert scene.selector.select(0.001) == []
    assert scene.slept_s == [0.001, 0.001]
    assert GATHER_S > 0.001


def test_what_is_ready_already_is_not_waited_for(scene: Scene) -> None:
    crowded(scene)
    scene.agent_far.send(b"x")
    assert len(scene.selector.select(1.0)) == 1
    assert scene.slept_s == []


def test_a_look_without_patience_does_not_wait(scene: Scene) -> None:
    crowded(scene)
    assert scene.selector.select(0) == []
    assert scene.slept_s == []


def test_anything_but_an_agents_message_ends_the_gathering(scene: Scene) -> None:
    crowded(scene)
    scene.arrive(scene.other, scene.other_far)
    assert scene.selector.select(0.001) == []
    assert scene.slept_s == []


def test_a_crowd_of_long_ago_says_nothing_of_now(scene: Scene) -> None:
    scene.window(0)
    for _ in range(ENOUGH):
        scene.arrive(scene.agent, scene.agent_far)
    scene.now_s += 60
    scene.selector.select(0)
    assert scene.selector.select(0.001) == []
    assert scene.slept_s == []
