"""P8 from inside: a host without files or memory for a moment loses no end, no kill, no thaw."""

import asyncio
import errno
import os
import resource
import shlex
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentd.core.effects import Freeze, KillTree, Signal, Thaw
from agentd.core.events import Exited, Froze, SpawnFailed, TreeEmpty
from agentd.daemon import kernelwatch, launch, procfs
from agentd.daemon.mover import Mover
from agentd.daemon.offload import THREADS, WAITING_MAX, Offload, TooBusy
from agentd.daemon.orphans import Orphans
from agentd.daemon.sdnotify import Systemd
from agentd.store import checkpoints
from tests.daemon.harness import (
    RUN,
    START_S,
    WAIT_S,
    Daemon,
    daemon,
    environment,
    no_thread_left,
)
from tests.daemon.process_bench import Bench, bench, config
from tests.daemon.test_processes_trees import v1_group

__all__ = ["bench", "daemon"]


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


async def test_p8_a_start_that_cannot_be_told_to_go_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(_: launch.Gated) -> None:
        raise OSError(errno.ENOMEM, "no memory for a byte in a pipe")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(launch.Gated, "let_go", no_memory)
        failed = await bench.fails(config("sleep 600"))
    assert failed.shortage, failed
    assert bench.processes.living("a") is None
    await bench.start(config("sleep 600"), incarnation=2)


async def test_p8_without_a_thread_to_prepare_a_start_an_end_is_told_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = bench.processes._mover = Mover(bench.loop)  # as of a daemon that has started nobody
    monkeypatch.setattr(threading.Thread, "start", no_thread_left)
    bench.processes.expect_start()
    with pytest.raises(RuntimeError, match="new thread"):
        mover.move(lambda: None, lambda _: None)


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


async def test_p8_who_was_stopped_because_it_could_not_be_frozen_is_let_go(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core answers a freeze that failed with a signal; both end with the same word."""
    prepared = await bench.start(config("sleep 600"))
    kind = type(bench.run_of().tree)

    async def in_vain(_: object) -> str:
        return "no memory"

    monkeypatch.setattr(kind, "freeze", in_vain)
    bench.processes.freeze(Freeze("a", 1))
    assert (await bench.event(Froze)).error == "no memory"
    bench.processes.signal(Signal("a", 1, "SIGSTOP", tree=True))
    await bench.until(lambda: state_of(prepared.pid) == "T", "the stop")
    bench.processes.thaw(Thaw("a", 1))
    await bench.until(lambda: state_of(prepared.pid) == "S", "that it goes on")


def state_of(pid: int) -> str:
    stat = procfs.stat_of(pid)
    return stat.state if stat is not None else ""


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


@pytest.mark.root
def test_p4_a_daemon_that_can_start_no_thread_says_so_and_ends(daemon: Daemon) -> None:
    """It has touched nothing, and its agents live on: the next one adopts them."""
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.crash()
    with v1_group("pids") as group:
        (group / "pids.max").write_text("1", encoding="ascii")
        words = [sys.executable, "-c", RUN, str(daemon.config)]
        enter = f"echo $$ > {group}/cgroup.procs && exec {shlex.join(words)}"
        ended = subprocess.run(
            ["/bin/sh", "-c", enter],
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
            env=environment(),
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("agentd: no thread to write the store with:")
    assert "Traceback" not in ended.stderr
    daemon.start()
    assert daemon.until_state("one", "running")["pid"] == pid


async def test_p4_without_a_thread_for_it_a_read_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offload = Offload(asyncio.get_running_loop())
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(threading.Thread, "start", no_thread_left)
        with pytest.raises(TooBusy, match="no thread"):
            await offload.run(int)
    assert await offload.run(int) == 0
    offload.close()


async def busy(offload: Offload, gate: threading.Event, jobs: int) -> list[asyncio.Task[bool]]:
    """Return so many jobs that hang until the gate opens, each in a thread of its own."""
    begun = threading.Semaphore(0)

    def hang() -> bool:
        begun.release()
        return gate.wait(WAIT_S)

    hanging = [asyncio.create_task(offload.run(hang)) for _ in range(jobs)]
    for _ in hanging:
        assert await asyncio.to_thread(begun.acquire, timeout=WAIT_S)
    return hanging


async def test_p4_with_one_thread_of_two_what_is_refused_is_never_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offload, gate = Offload(asyncio.get_running_loop()), threading.Event()
    start, told, done = threading.Thread.start, [0], []

    def first_only(thread: threading.Thread) -> None:
        if thread.name.startswith("offload"):
            told[0] += 1
            if told[0] > 1:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", first_only)
    hanging = await busy(offload, gate, 1)
    asked = [
        asyncio.create_task(offload.run(partial(done.append, n))) for n in range(WAITING_MAX + 5)
    ]
    await asyncio.sleep(0)
    gate.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    await asyncio.gather(*hanging, offload.run(int))
    refused = {n for n, answer in enumerate(answers) if isinstance(answer, TooBusy)}
    assert refused, "what waits has a bound"
    assert done == [n for n in range(len(asked)) if n not in refused]
    assert done, "one thread is enough"
    offload.close()


async def test_p4_what_nobody_waits_for_any_longer_has_the_same_bound_and_is_not_done() -> None:
    offload, gate, done = Offload(asyncio.get_running_loop()), threading.Event(), []
    hanging = await busy(offload, gate, THREADS)
    for _ in range(WAITING_MAX):
        given_up = asyncio.create_task(offload.run(partial(done.append, "given up")))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
    with pytest.raises(TooBusy, match="too many"):
        await offload.run(int)
    gate.set()
    assert await asyncio.gather(*hanging) == [True] * THREADS
    async with asyncio.timeout(WAIT_S):
        while (answer := await asyncio.gather(offload.run(int), return_exceptions=True)) != [0]:
            assert isinstance(answer[0], TooBusy)
    assert done == []
    offload.close()


async def test_what_waits_for_a_thread_is_given_up_when_the_pool_closes() -> None:
    offload, gate = Offload(asyncio.get_running_loop()), threading.Event()
    hanging = await busy(offload, gate, THREADS)
    waits = asyncio.create_task(offload.run(int))
    await asyncio.sleep(0)
    offload.close()
    with pytest.raises(asyncio.CancelledError):
        await waits
    with pytest.raises(TooBusy):
        await offload.run(int)
    gate.set()
    assert await asyncio.gather(*hanging) == [True] * THREADS


def dead_child() -> int:
    """A child of ours that has ended, and that nobody has reaped."""
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return child


async def test_a_child_that_died_before_anybody_attended_is_reaped() -> None:
    """As one of ours that ends while a re-exec is under way: no signal tells of it any more."""
    child = dead_child()
    orphans = Orphans(asyncio.get_running_loop(), lambda: {child})
    orphans.attend()
    try:
        async with asyncio.timeout(WAIT_S):
            while not orphans.reaped:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
    finally:
        orphans.close()


async def test_p4_without_a_thread_to_move_it_with_a_start_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread_left)
    await bench.prepare(config("sleep 600"))
    failed = await bench.event(SpawnFailed)
    assert (failed.shortage, bench.processes.runs()) == (True, [])


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
@pytest.mark.parametrize("bench", ["cgroup"], indirect=True)
async def test_p8_without_a_descriptor_to_watch_with_an_end_is_told_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    await bench.start(config("sleep 600"))

    def refused(path: Path, _flags: int) -> int:
        raise OSError(number, os.strerror(number), str(path))

    shim = SimpleNamespace(**{**vars(os), "open": refused})
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(kernelwatch, "os", shim)
        bench.processes.kill_tree(KillTree("a", 1))
        await bench.event(Exited)
        await bench.event(TreeEmpty)
