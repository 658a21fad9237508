"""When the pidfd of an agent that has ended is given up by whoever keeps it."""

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from agentd.core.events import TreeEmpty
from agentd.daemon.registry import Incarnation
from agentd.store.rows import Batch, Outcome
from tests.daemon.starting import starts_with


def test_g3_a_pidfd_is_given_up_once_the_end_is_on_disk() -> None:
    """In the order: what is written of the end is handed in, it is on disk, the pidfd goes."""
    seen: list[str] = []
    soon: deque[Callable[[], object]] = deque()
    written: deque[Callable[[Outcome], None]] = deque()

    def submit(_batch: Batch, done: Callable[[Outcome], None]) -> None:
        seen.append("handed in")
        written.append(done)

    def handle(_event: object) -> None:  # as the loop does, in a turn of its own
        soon.append(lambda: submit(Batch(()), lambda _: seen.append("the end is on disk")))

    starts: Any = starts_with([], submit)
    starts.aio = SimpleNamespace(call_soon=lambda call, *words: soon.append(lambda: call(*words)))
    starts.post = handle
    starts.looks = SimpleNamespace(tree_empty=lambda *_: None)
    starts.manager = SimpleNamespace(drop_fd=lambda name: seen.append(f"{name} is given up"))
    starts.registry.add(Incarnation("a", 1, "run-1", "token"))
    starts.tell(TreeEmpty("a", 1))
    while soon:
        soon.popleft()()
    assert seen == ["handed in", "handed in"]
    while written:
        written.popleft()(Outcome())
    assert seen[2:] == ["the end is on disk", "run-1 is given up"]
