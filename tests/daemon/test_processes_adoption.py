"""A later daemon finds the agents of an earlier one: the same pids, or a true account."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.core.events import Exited, TreeEmpty
from agentd.daemon import adoption, grounds, host, pidfds, procfs
from agentd.daemon.cgroups import CgroupForest
from agentd.daemon.pidfds import Ending
from agentd.daemon.sweep import SweepForest
from agentd.store.rows import SpawnRow
from tests.daemon.harness import KERNEL_REMEMBERS
from tests.daemon.process_bench import Bench, alive, bench, carriers, config, kill_pid

__all__ = ["bench"]

FORGOTTEN = [] if KERNEL_REMEMBERS else [pidfds.UNSEEN]
UNTIL_GO = "while [ ! -e go ]; do sleep 0.02; done"

# A daemon that starts one agent, says who it is, and is killed.
FIRST_DAEMON = textwrap.dedent(
    """
    import asyncio, dataclasses, json, os, sys
    from pathlib import Path
    from tests.daemon.process_bench import Bench, config
    async def main():
        directory, cgroups, *command = sys.argv[1:]
        bench = Bench(Path(directory), cgroups=cgroups == "cgroup")
        prepared = await bench.start(config(command))
        print(json.dumps(dataclasses.asdict(prepared)), flush=True)
        os.kill(os.getpid(), 9)
    asyncio.run(main())
    """
)


@pytest.fixture
async def left(bench: Bench, request: pytest.FixtureRequest) -> AsyncIterator[SpawnRow]:
    """Give the row of an agent whose daemon was killed; `request.param` is its command."""
    command = getattr(request, "param", ["sleep", "600"])
    kind = "cgroup" if isinstance(bench.processes.forest, CgroupForest) else "sweep"
    # Its orphan must become a child of pid 1, as after a crash, and not of this process.
    host._prctl(host._PR_SET_CHILD_SUBREAPER, 0)
    row = await asyncio.to_thread(_run_first_daemon, bench.directory, kind, command)
    host.become_subreaper()
    yield row
    for pid in carriers(row.incarnation_id):
        kill_pid(pid)
    await bench.until(lambda: not carriers(row.incarnation_id), "the end of what was left")
    if row.cgroup:
        mount = grounds.mount_point()
        assert mount is not None
        base = mount / row.cgroup.lstrip("/")
        with suppress(OSError):
            base.rmdir()
        with suppress(OSError):
            base.parent.rmdir()


def _run_first_daemon(directory: Path, kind: str, command: list[str]) -> SpawnRow:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_DAEMON, str(directory), kind, *command],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    told = json.loads(done.stdout)
    names = ("agent", "incarnation", "incarnation_id", "token", "pid", "start_time", "pidfd_inode")
    kept = {name: told[name] for name in names}
    return SpawnRow(**kept, boot_id=told["boot_id"], cgroup=told["cgroup"] or None, wall_ms=0)


async def test_a_living_agent_is_adopted_with_its_pid_and_killed_with_its_tree(
    bench: Bench, left: SpawnRow
) -> None:
    found = adoption.find(left, bench.host.boot_id)
    assert found.kind == "alive"
    assert found.identity is not None
    assert found.identity.pid == left.pid
    assert bench.processes.adopt(left, found.identity, found.pidfd, config("sleep 600"))
    assert bench.run_of().pid == left.pid
    assert not bench.processes.adopt(left, found.identity, found.pidfd, config("sleep 600"))
    assert not bench.processes.adopt_remains(left, config("sleep 600"))
    refused = await bench.prepare(config("sleep 600"), incarnation=2)
    assert "may still have living processes" in getattr(refused, "error", "")
    await bench.kill()
    assert not alive(left.pid)


@pytest.mark.parametrize(
    ("left", "ending"),
    [
        (["/bin/sh", "-c", f"{UNTIL_GO}; exit 3"], Ending(code=3)),
        (["/bin/sh", "-c", f"{UNTIL_GO}; kill -9 $$"], Ending(signal=9)),
    ],
    indirect=["left"],
)
async def test_the_end_of_an_adopted_agent_is_exact_though_it_is_not_our_child(
    bench: Bench, left: SpawnRow, ending: Ending
) -> None:
    assert left.pid not in procfs.own_children()
    found = adoption.find(left, bench.host.boot_id)
    assert found.identity is not None
    assert bench.processes.adopt(left, found.identity, found.pidfd, config("x"))
    (bench.directory / "go").touch()
    exited = await bench.over()
    # Older kernels tell the exits of other processes' children only until those are reaped.
    assert Ending(exited.code, exited.signal) in [ending, *FORGOTTEN]


async def test_an_agent_that_ended_meanwhile_is_gone_and_its_end_unknown(
    bench: Bench, left: SpawnRow
) -> None:
    kill_pid(left.pid)
    await bench.until(lambda: procfs.stat_of(left.pid) is None or not alive(left.pid))
    found = adoption.find(left, bench.host.boot_id)
    assert found.kind == "gone"
    assert found.ending in (pidfds.UNSEEN, Ending(signal=9))


async def test_the_end_is_known_where_a_pidfd_was_kept(bench: Bench, left: SpawnRow) -> None:
    kept = os.pidfd_open(left.pid)
    kill_pid(left.pid)
    await bench.until(lambda: procfs.stat_of(left.pid) is None or not alive(left.pid))
    found = adoption.find(left, bench.host.boot_id, kept)
    assert found.kind == "gone"
    assert found.ending in [Ending(signal=9), *FORGOTTEN]


def test_a_kernel_that_does_not_tell_how_a_stranger_ended_is_not_waited_for() -> None:
    with Path("/dev/null").open() as nothing:  # answers as a kernel without the call does
        assert pidfds.ending_of_stranger(nothing.fileno()) == Ending()


async def test_another_boot_voids_every_pid(bench: Bench, left: SpawnRow) -> None:
    found = adoption.find(replace(left, boot_id="another"), bench.host.boot_id)
    assert (found.kind, found.rebooted) == ("gone", True)
    assert alive(left.pid)


async def test_a_stranger_with_the_recorded_pid_is_never_adopted(
    bench: Bench, left: SpawnRow
) -> None:
    unknown_inode = replace(left, start_time=left.start_time - 1, pidfd_inode=None)
    other_time = adoption.find(unknown_inode, bench.host.boot_id)
    other_inode = adoption.find(replace(left, pidfd_inode=1), bench.host.boot_id)
    assert other_time.kind == "gone"
    assert other_inode.kind == ("gone" if pidfds.has_pidfs() else "alive")
    assert alive(left.pid)


async def test_a_start_time_that_reads_differently_is_outweighed_by_the_pidfd_inode(
    bench: Bench, left: SpawnRow
) -> None:
    """As in another time namespace, where every start time is shifted."""
    if not pidfds.has_pidfs():
        pytest.skip("pidfds have no inodes of their own here")
    found = adoption.find(replace(left, start_time=left.start_time - 1), bench.host.boot_id)
    assert (found.kind, found.identity and found.identity.pid) == ("alive", left.pid)
    os.close(found.pidfd)


async def test_pid_and_start_time_alone_are_no_identity(bench: Bench, left: SpawnRow) -> None:
    doubtful = replace(left, pidfd_inode=None, incarnation_id="another", cgroup=None)
    assert adoption.find(doubtful, bench.host.boot_id).kind == "unidentifiable"
    token = replace(left, pidfd_inode=None, cgroup=None)
    found = adoption.find(token, bench.host.boot_id)
    assert found.kind == "alive"
    os.close(found.pidfd)


async def test_g5_a_process_that_carries_our_id_is_found(left: SpawnRow) -> None:
    strays = (await adoption.scan({left.incarnation_id, "another"})).strays
    assert [(stray.pid, stray.leads) for stray in strays] == [(left.pid, True)]
    assert strays[0].incarnation_id == left.incarnation_id
    assert strays[0].start_time == left.start_time


@pytest.mark.parametrize(
    "left", [["/bin/sh", "-c", "setsid sleep 600 & exec sleep 600"]], indirect=True
)
async def test_what_a_dead_leader_left_is_killed_before_there_is_another_start(
    bench: Bench, left: SpawnRow
) -> None:
    await bench.until(lambda: len(carriers(left.incarnation_id)) == 2, "its helper")
    kill_pid(left.pid)
    await bench.until(lambda: left.pid not in carriers(left.incarnation_id))
    assert adoption.find(left, bench.host.boot_id).kind == "gone"
    assert bench.processes.adopt_remains(left, config("sleep 600"))
    await bench.event(TreeEmpty)
    assert carriers(left.incarnation_id) == []
    assert not [event for event in bench.events if isinstance(event, Exited)]
    await bench.start(config("sleep 600"), incarnation=2)


@pytest.mark.parametrize("bench", ["sweep"], indirect=True)
@pytest.mark.parametrize("left", [["/bin/sh", "-c", "setsid sleep 600 & wait"]], indirect=True)
async def test_a_survivor_in_the_middle_of_an_exec_is_not_taken_for_a_stranger(
    bench: Bench, left: SpawnRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment of each exec a process has no environment; under load that takes long."""
    await bench.until(lambda: len(carriers(left.incarnation_id)) == 2, "its helper")
    kill_pid(left.pid)
    await bench.until(lambda: left.pid not in carriers(left.incarnation_id))
    [helper] = carriers(left.incarnation_id)
    looks = iter(range(4))
    environ = procfs.environ

    def half_done(pid: int) -> dict[bytes, bytes] | None:
        return {} if pid == helper and next(looks, None) is not None else environ(pid)

    monkeypatch.setattr(procfs, "environ", half_done)
    assert bench.processes.adopt_remains(left, config("sleep 600"))
    await bench.event(TreeEmpty)
    assert not alive(helper)


async def test_an_agent_of_a_daemon_with_cgroups_is_adopted_by_one_without(
    bench: Bench, left: SpawnRow
) -> None:
    assert bench.processes.forest is not None
    bench.processes.forest.close()
    bench.processes.forest = SweepForest(bench.loop, bench.processes.strangers)
    found = adoption.find(left, bench.host.boot_id)
    assert found.identity is not None
    assert bench.processes.adopt(left, found.identity, found.pidfd, config("sleep 600"))
    assert set(await bench.run_of().tree.members()) == {left.pid}
    await bench.kill()
    assert not alive(left.pid)


def forest_of(bench: Bench, left: SpawnRow) -> tuple[CgroupForest, Path]:
    """The forest that an earlier daemon's leaf stands in, and that leaf."""
    forest = bench.processes.forest
    assert isinstance(forest, CgroupForest)
    assert left.cgroup is not None
    leaf = forest.ground.mount / left.cgroup.lstrip("/")
    return CgroupForest(replace(forest.ground, base=leaf.parent), bench.loop), leaf


@pytest.mark.parametrize("bench", ["cgroup"], indirect=True)
async def test_inv12_leaves_that_an_earlier_daemon_left_are_removed_once_they_are_empty(
    bench: Bench, left: SpawnRow
) -> None:
    earlier, leaf = forest_of(bench, left)
    assert earlier.populated() == {left.incarnation_id: left.cgroup}
    claimed, empty = leaf.parent / "run-claimed", leaf.parent / "run-empty"
    claimed.mkdir()
    empty.mkdir()
    assert earlier.tidy({"claimed"}) == 1
    assert (claimed.exists(), empty.exists(), leaf.exists()) == (True, False, True)
    kill_pid(left.pid)
    await bench.until(lambda: not leaf.exists(), "the end of the agent, and of its leaf")
    assert claimed.exists()
    claimed.rmdir()
    earlier.close()
    assert not leaf.parent.exists()


@pytest.mark.parametrize("bench", ["cgroup"], indirect=True)
async def test_inv12_a_leaf_that_is_busy_when_its_run_is_over_goes_once_it_is_empty(
    bench: Bench, left: SpawnRow
) -> None:
    earlier, leaf = forest_of(bench, left)
    tree = earlier.attach(left.incarnation_id, left.cgroup)
    assert tree is not None
    tree.remove()
    assert leaf.exists()
    assert earlier.attach(left.incarnation_id, left.cgroup) is not None
    assert earlier._leftovers._left == set()  # a run has it after all
    tree.remove()
    kill_pid(left.pid)
    await bench.until(lambda: not leaf.exists(), "the end of the leaf")
    earlier.close()
