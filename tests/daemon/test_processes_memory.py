"""What a tree costs, and the kernel's word on whom it killed for memory."""

import asyncio
import mmap
import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.core.events import Exited, OomChild, Sampled
from agentd.daemon import grounds, memory
from agentd.daemon.cgroups import CgroupForest, CgroupTree
from agentd.daemon.kernelwatch import KernelWatch
from agentd.daemon.leftovers import Leftovers
from agentd.daemon.oom import KernelLog
from tests.daemon.process_bench import PYTHON, Bench, bench, config
from tests.daemon.test_processes_trees import v1_group
from tests.stopwatch import Stopwatch

__all__ = ["bench"]
MIB = 1 << 20
FAST = {"sample": "50ms"}
HOG = "import time; held = [bytearray(4 << 20) for _ in range({count})]; time.sleep(600)"


async def test_a_sample_tells_memory_cpu_time_io_and_the_number_of_processes(
    bench: Bench,
) -> None:
    work = "import time; held = bytearray(40 << 20); sum(range(10**6)); print('x'); time.sleep(600)"
    what = config([PYTHON, "-uc", work], memory=FAST)
    await bench.start(what)
    sampled = await _sample(bench, lambda each: each.rss_bytes > 40 * MIB)
    assert sampled.rss_bytes < 60 * MIB
    assert sampled.processes == 1
    assert sampled.cpu_ms is not None
    assert sampled.cpu_ms >= 10
    assert sampled.io_bytes is not None
    assert sampled.io_bytes > 0


async def test_e4_the_memory_of_helpers_counts(bench: Bench) -> None:
    hog = HOG.format(count=10)
    spawn = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hog!r}])"
    await bench.start(config([PYTHON, "-c", spawn], memory=FAST))
    sampled = await _sample(bench, lambda each: each.rss_bytes > 40 * MIB)
    assert sampled.processes == 2
    assert bench.run_of().rss_bytes == sampled.rss_bytes


async def test_memory_that_a_fork_shares_is_not_counted_twice(bench: Bench) -> None:
    forks = textwrap.dedent(
        """
        import os, time
        held = [bytearray(b"x" * (4 << 20)) for _ in range(10)]
        for _ in range(4):
            if not os.fork():
                break
        time.sleep(600)
        """
    )
    await bench.start(config([PYTHON, "-c", forks], memory=FAST))
    sampled = await _sample(
        bench, lambda each: each.processes == 5 and 40 * MIB < each.rss_bytes < 90 * MIB
    )
    assert sampled.rss_bytes > 40 * MIB


async def test_near_its_limit_an_agent_is_measured_more_often(bench: Bench) -> None:
    def count() -> int:
        return len([event for event in bench.events if isinstance(event, Sampled)])

    near = config([PYTHON, "-c", HOG.format(count=10)], memory={"limit": "50M", "sample": "2s"})
    await bench.start(near)
    await _sample(bench, lambda each: each.rss_bytes > 40 * MIB)
    before, watch = count(), Stopwatch()
    await bench.until(lambda: count() >= before + 3, "three more samples")
    assert watch.fair_s < 2.0


async def test_a_new_limit_and_interval_hold_for_a_run_that_goes_on(bench: Bench) -> None:
    await bench.start(config("sleep 600", memory={"sample": "1h"}))
    await _sample(bench, lambda each: each.processes == 1)
    bench.processes.apply("a", config("sleep 600", memory={"limit": "1M", "sample": "20ms"}))
    assert bench.run_of().limit_bytes == MIB
    await bench.until(
        lambda: sum(isinstance(event, Sampled) for event in bench.events) >= 3, "samples"
    )


def test_a_kept_descriptor_of_an_ended_process_counts_nothing() -> None:
    meter = memory.TreeMeter()
    own = {os.getpid(): 0}
    assert meter.measure(own) > MIB
    assert meter.measure({(1 << 22) + 1: 0}) == 0
    assert meter.measure({}) == 0
    meter.close()


def test_the_exact_share_corrects_the_sum_until_the_next() -> None:
    meter = memory.TreeMeter()
    own = {os.getpid(): 0, os.getppid(): 0}
    before = meter.measure(own)
    assert not meter.wants_pss(0.0)  # not before the same processes were seen twice
    meter.measure(own)
    assert meter.wants_pss(0.0)
    meter.asked(0.0)
    meter.correct(before // 2)
    assert abs(meter.measure(own) - before // 2) < MIB
    # What it grows by afterwards counts in full: nobody shares it.
    own_pages = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # and new, not some that were free again
    kept = mmap.mmap(-1, 20 * MIB, flags=own_pages)
    kept[:: mmap.PAGESIZE] = bytes(len(range(0, len(kept), mmap.PAGESIZE)))
    assert meter.measure(own) - before // 2 > 19 * MIB
    meter.correct(1 << 50)
    assert meter.measure(own) == 0
    assert kept
    assert not meter.wants_pss(59.0)
    assert meter.wants_pss(60.0)
    meter.close()


def test_after_a_change_of_processes_the_share_is_read_sooner() -> None:
    meter = memory.TreeMeter()
    gone = (1 << 22) + 1
    for members in ({os.getpid(): 0, gone: 0}, {os.getpid(): 0, gone: 0}):
        meter.measure(members)
    meter.asked(0.0)
    for members in ({os.getpid(): 0, gone + 1: 0}, {os.getpid(): 0, gone + 1: 0}):
        meter.measure(members)
    assert not meter.wants_pss(9.0)
    assert meter.wants_pss(10.0)
    meter.close()


def test_a_lone_process_is_what_its_anonymous_pages_are() -> None:
    meter = memory.TreeMeter()
    before = meter.measure({os.getpid(): 0})
    excess_bytes = memory.excess_of([os.getpid(), (1 << 22) + 1])
    assert excess_bytes is not None
    assert -before < excess_bytes < before
    meter.correct(before)
    assert abs(meter.measure({os.getpid(): 0}) - before) < MIB
    meter.close()


@pytest.mark.root
async def test_a5_an_agent_killed_for_memory_has_the_kernels_word(bench: Bench) -> None:
    if not bench.processes.kernel_log.readable:
        pytest.skip("/dev/kmsg can't be read")
    with v1_group("memory") as group:
        _limit(group)
        prepared = await bench.start(config(["/bin/sh", "-c", _join(group, HOG.format(count=100))]))
        exited = await bench.over()
        assert exited.signal == 9
        assert exited.evidence.oom_kills == 1
        assert f"pid={prepared.pid}" in exited.evidence.oom_source


@pytest.mark.root
async def test_a6_a_helper_killed_for_memory_is_told_while_the_agent_lives(
    bench: Bench,
) -> None:
    if not bench.processes.kernel_log.readable:
        pytest.skip("/dev/kmsg can't be read")
    with v1_group("memory") as group:
        _limit(group)
        grow = "import time\ntime.sleep(0.5)\nheld = [bytearray(4 << 20) for _ in range(100)]"
        (bench.directory / "grow.py").write_text(grow, encoding="utf-8")
        helper = f"(echo $(exec sh -c 'echo $PPID') > {group}/cgroup.procs; exec {PYTHON} grow.py)"
        await bench.start(config(["/bin/sh", "-c", f"{helper} & wait; sleep 600"], memory=FAST))
        told = await bench.event(OomChild)
        assert "oom-kill" in told.evidence
        assert not [event for event in bench.events if isinstance(event, Exited)]


def test_a5_the_counter_of_a_cgroup_is_read_where_there_is_one(tmp_path: Path) -> None:
    leaf = _fake_leaf(tmp_path, {"memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\n"})
    assert leaf.oom_kills() == 2
    assert _fake_leaf(tmp_path / "none", {}).oom_kills() is None


def test_a_leafs_memory_is_anon_and_shmem_and_not_the_page_cache(tmp_path: Path) -> None:
    stat = "anon 1000\nfile 900000\nkernel 5\nshmem 24\n"
    usage = "usage_usec 12345\nuser_usec 1\n"
    leaf = _fake_leaf(tmp_path, {"memory.stat": stat, "cpu.stat": usage})
    assert leaf.memory_bytes() == 1024
    assert leaf.cpu_ms() == 12


async def test_a_leaf_gets_a_backstop_above_the_limit_and_no_group_kill(tmp_path: Path) -> None:
    ground = grounds.Ground(tmp_path, tmp_path / "base", ("memory",))
    leaf = ground.base / "run-x"
    leaf.mkdir(parents=True)
    for name in ("memory.max", "memory.oom.group"):
        (leaf / name).write_text("max", encoding="ascii")
    forest = CgroupForest(ground, asyncio.get_running_loop())
    tree = forest.plant("x", 512 * MIB, 0)
    assert tree.cgroup == "/base/run-x"
    assert (leaf / "memory.max").read_text(encoding="ascii").startswith(str(576 * MIB))
    assert (leaf / "memory.oom.group").read_text(encoding="ascii").startswith("0")
    tree.limit_memory(0)
    assert (leaf / "memory.max").read_text(encoding="ascii").startswith("max")
    forest.plant("y", 512 * MIB, 0)  # a leaf without the controller has no such file
    assert not (ground.base / "run-y" / "memory.max").exists()
    forest.close()


async def test_no_leaf_is_left_in_a_group_whose_own_process_is_not_there_yet(
    tmp_path: Path,
) -> None:
    ground = grounds.Ground(tmp_path, tmp_path / "base", ("memory",), held=True)
    ground.base.mkdir()
    forest = CgroupForest(ground, asyncio.get_running_loop())
    with pytest.raises(OSError, match="isn't there yet"):
        forest.plant("x", 0, 0)
    assert not (ground.base / "run-x").exists()
    forest.close()


async def test_a_delegated_subtree_is_used_with_the_daemon_in_a_leaf_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "system.slice" / "agentd.service"
    top.mkdir(parents=True)
    (top / "cgroup.procs").write_text(f"{os.getpid()}\n", encoding="ascii")
    for name in ("cgroup.controllers", "cgroup.subtree_control"):
        (top / name).write_text("memory pids\n", encoding="ascii")
    monkeypatch.setattr(os, "getxattr", lambda *_: b"1")
    ground = grounds.find("agentd", root=tmp_path, own="/system.slice/agentd.service")
    assert ground is not None
    assert ground.base == top / "agents"
    assert (top / "daemon" / "cgroup.procs").read_text(encoding="ascii") == str(os.getpid())
    assert ground.path_of(ground.base) == "/system.slice/agentd.service/agents"


def test_without_a_v2_hierarchy_there_is_no_ground(tmp_path: Path) -> None:
    assert grounds.find("agentd", root=tmp_path / "none", own="/x") is None


def test_a_global_oom_kill_is_found_in_the_kernels_log_once(tmp_path: Path) -> None:
    record = (
        "4,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,"
        "global_oom,task_memcg=/agents/run-x,task=python3,pid=4711,uid=0\n"
    )
    path = tmp_path / "kmsg"
    path.write_text("5,0,1,-;before\n", encoding="ascii")
    log = KernelLog(str(path))
    with path.open("a", encoding="ascii") as file:
        file.write(record)
    line = log.victim(4711, "/agents/run-x")
    assert line == "kernel log: oom-kill CONSTRAINT_NONE task_memcg=/agents/run-x pid=4711"
    assert log.victim(4711, "/agents/run-x") == ""
    with path.open("a", encoding="ascii") as file:
        file.write(record)
    log.forget(4711)  # the pid was given to another since
    assert log.victim(4711, "") == ""
    log.close()
    assert not KernelLog(str(tmp_path / "none")).readable


async def _sample(bench: Bench, fits: Callable[[Sampled], bool]) -> Sampled:
    def find() -> Sampled | None:
        for event in bench.events:
            if isinstance(event, Sampled) and fits(event):
                return event
        return None

    found = await bench.until(find, "a sample")
    assert found is not None
    return found


def _limit(group: Path) -> None:
    (group / "memory.limit_in_bytes").write_text(str(64 * MIB), encoding="ascii")
    (group / "memory.swappiness").write_text("0", encoding="ascii")


def _join(group: Path, program: str) -> str:
    return f'echo $$ > {group}/cgroup.procs; exec {PYTHON} -c "{program}"'


def _fake_leaf(directory: Path, files: dict[str, str]) -> CgroupTree:
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="ascii")
    watch, leftovers = KernelWatch.__new__(KernelWatch), Leftovers.__new__(Leftovers)
    return CgroupTree(directory, "/fake", watch, leftovers)
