"""P8 from inside: a host without files or memory for a moment loses no end, no kill, no thaw."""

import errno
import os
import resource
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from agentd.core.effects import Freeze, KillTree, Thaw
from agentd.core.events import Exited, Froze, TreeEmpty
from agentd.daemon import procfs
from agentd.daemon.sdnotify import Systemd
from agentd.store import checkpoints
from tests.daemon.process_bench import Bench, bench, config

__all__ = ["bench"]


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open nothing more, its present files aside."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    try:
        while True:
            try:
                taken.append(os.dup(taken[0]))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)


def short(times: int, deed: Callable[..., Any]) -> Callable[..., Any]:
    """Have it fail so often for want of a descriptor, and then work."""
    left = [times]

    async def tried(*words: object) -> object:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EMFILE, "no descriptor")
        return await deed(*words)

    return tried


def test_p8_without_a_descriptor_a_living_process_is_not_taken_for_gone() -> None:
    assert procfs.stat_of(os.getpid()) is not None
    with no_descriptor_left():
        with pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
        for _ in range(3):
            assert procfs.stat_of(os.getpid()) is not None
        assert procfs.read("/proc/self/no-such-file") is None


def test_p8_without_a_descriptor_a_word_to_the_service_manager_is_counted_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "no descriptor")

    manager = Systemd({"NOTIFY_SOCKET": "/nowhere/notify"})
    monkeypatch.setattr(socket, "socket", none_left)
    assert not manager.drop_fd("run")
    assert manager.failures == 1


async def test_p8_an_end_is_told_though_its_tree_could_not_be_looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.start(config("sleep 600"))
    run = bench.processes.living("a")
    assert run is not None
    kind = type(run.tree)
    monkeypatch.setattr(kind, "members", short(2, kind.members))
    os.kill(run.pid, 9)
    await bench.event(Exited)
    await bench.event(TreeEmpty)


async def test_p8_a_kill_goes_on_until_the_host_has_a_descriptor_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.start(config("sh -c 'setsid sleep 600 & exec sleep 600'"))
    run = bench.processes.living("a")
    assert run is not None
    kind = type(run.tree)
    monkeypatch.setattr(kind, "kill", short(2, kind.kill))
    bench.processes.kill_tree(KillTree("a", 1))
    await bench.event(TreeEmpty)


async def test_p8_who_was_let_go_does_not_stand_still_for_want_of_a_descriptor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.start(config("sleep 600"))
    run = bench.processes.living("a")
    assert run is not None
    bench.processes.freeze(Freeze("a", 1))
    assert (await bench.event(Froze)).error == ""
    kind = type(run.tree)
    let_go = []
    thaw = kind.thaw

    async def noted(tree: Any) -> None:  # noqa: ANN401 - either kind of tree
        await thaw(tree)
        let_go.append(tree)

    monkeypatch.setattr(kind, "thaw", short(2, noted))
    bench.processes.thaw(Thaw("a", 1))
    await bench.until(lambda: let_go, "the thaw")


async def test_p4_a_group_that_cannot_be_read_is_not_taken_for_empty(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.start(config("sleep 600"))
    run = bench.processes.living("a")
    assert run is not None
    if not run.tree.cgroup:
        return  # without a group it is looked for among all processes
    monkeypatch.setattr(procfs, "read", lambda _: None)
    assert not await run.tree.is_empty()


def test_inv10_a_state_that_cannot_be_read_now_is_not_told_as_gone() -> None:
    class Busy(sqlite3.Connection):
        def execute(self, *_: object) -> sqlite3.Cursor:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    one = checkpoints.Checkpoint("execution", 1, "run", 0, "hash", 2, None)
    with closing(Busy(":memory:")) as busy, pytest.raises(sqlite3.OperationalError, match="locked"):
        checkpoints._with_state(busy, 1, one)
