"""Without cgroups: who is between two states, or another process, in the moment of a look."""

import os
import subprocess
import textwrap
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from agentd.core.effects import Freeze, Thaw
from agentd.core.events import Froze
from agentd.daemon import pidfds, procfs, sweep
from agentd.daemon.sweep import NEWEST, SweepForest
from tests.daemon.process_bench import PYTHON, Bench, config, sweep_bench
from tests.faults.guard import PROGRAMS
from tests.faults.programs.zoo import is_held

__all__ = ["sweep_bench"]

ZOO = PROGRAMS / "zoo.py"
CATCHES_MAX = 100
"""Of 10 ms each; mostly the first is enough."""


async def test_a_process_that_waits_for_the_exec_of_its_child_stands_with_it(
    sweep_bench: Bench,
) -> None:
    """It hears no SIGSTOP before that exec, and its child stands short of it."""
    bench = sweep_bench
    pipe = bench.directory / "pipe"
    os.mkfifo(pipe)
    vfork = f"""
        import os
        print("ready", flush=True)
        opened = (os.POSIX_SPAWN_OPEN, 0, {str(pipe)!r}, os.O_RDONLY, 0)
        os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ, file_actions=[opened])
        print("gone on", flush=True)
        os.wait()
        """
    prepared = await bench.start(config([PYTHON, "-c", textwrap.dedent(vfork)]))
    await bench.until(lambda: _state(prepared.pid) == "D", "the wait for the exec")
    bench.processes.freeze(Freeze("a", 1))
    assert (await bench.event(Froze)).error == ""
    bench.processes.thaw(Thaw("a", 1))
    await bench.until(lambda: _opened(pipe), "the child at the other end of the pipe")
    await bench.output("gone on")


async def test_who_is_missed_of_another_tree_is_no_doubt_about_this_one(
    sweep_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = await sweep_bench.start(config("sleep 600"))
    tree = sweep_bench.run_of().tree
    missed = {"another"}
    monkeypatch.setattr(sweep, "FREEZE_ROUNDS_MAX", 3)
    monkeypatch.setattr(SweepForest, "_born_meanwhile", lambda *_: missed)
    assert await tree.freeze() == ""
    await tree.thaw()
    await sweep_bench.until(lambda: _state(prepared.pid) == "S", "the thaw")
    missed = {sweep_bench.run_of().incarnation_id}
    assert "still moving" in await tree.freeze()


async def test_an_orphan_that_is_another_process_all_the_time_is_caught_among_our_children(
    sweep_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives it to us each time, so that nobody else's processes are looked at."""
    monkeypatch.setattr(procfs, "newest", lambda count: [][:count])
    bench, cage = sweep_bench, sweep_bench.directory
    await bench.start(config([PYTHON, "-S", str(ZOO), "respawner"], directory=str(cage)))
    await bench.output("ready")
    assert is_held(cage)
    forest = bench.processes.forest
    assert isinstance(forest, SweepForest)
    for _ in range(CATCHES_MAX):
        await forest.catch(bench.run_of().incarnation_id)
        if not is_held(cage):
            break
    assert not is_held(cage)


def test_the_latest_process_is_found_though_its_number_need_not_be_the_highest() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        assert child.pid in procfs.newest(NEWEST)


def test_a_threads_number_names_no_process() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        assert pidfds.open_pidfd(thread.native_id) is None
    finally:
        over.set()
        thread.join()


def _opened(pipe: Path) -> bool:
    """Open it for a moment, if somebody waits for that."""
    with suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return True
    return False


def _state(pid: int) -> str:
    stat = procfs.stat_of(pid)
    return stat.state if stat is not None else ""
