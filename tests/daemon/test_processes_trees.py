"""Groups B and D: what hangs, forks and escapes is stopped, and "empty" is only said of what is."""

import asyncio
import os
import signal
import textwrap
from pathlib import Path

import pytest

from agentd.core.effects import Freeze, KillTree, Signal, Thaw
from agentd.core.events import Exited, Froze, KillStuck, SpawnFailed, TreeEmpty
from agentd.daemon import procfs
from agentd.daemon.cgroups import CgroupTree, counters
from tests.daemon.process_bench import (
    PYTHON,
    Bench,
    alive,
    bench,
    carriers,
    cgroup_bench,
    config,
    give_pid_away,
    move_to_group,
    open_files,
    v1_group,
)
from tests.stopwatch import Stopwatch

__all__ = ["bench", "cgroup_bench"]
LOOP_MS_MAX = 250


def python(program: str) -> list[str]:
    return [PYTHON, "-c", textwrap.dedent(program)]


def shell(program: str) -> list[str]:
    return ["/bin/sh", "-c", program]


async def test_b6_an_agent_that_ignores_sigterm_dies_of_the_kill(bench: Bench) -> None:
    ignoring = shell('trap "echo ignored" TERM; echo ready; while :; do sleep 0.05; done')
    prepared = await bench.start(config(ignoring))
    await bench.output("ready")
    bench.processes.signal(Signal("a", 1, "SIGTERM"))
    await bench.output("ignored")
    assert alive(prepared.pid)
    await bench.kill()
    exited = await bench.event(Exited)
    assert exited.signal == signal.SIGKILL


async def test_a_stopped_agent_hears_sigterm_at_once(bench: Bench) -> None:
    prepared = await bench.start(
        config(shell('trap "exit 5" TERM; echo ready; while :; do :; done'))
    )
    await bench.output("ready")
    os.kill(prepared.pid, signal.SIGSTOP)
    await bench.until(lambda: _state(prepared.pid) == "T", "the stop")
    bench.processes.signal(Signal("a", 1, "SIGTERM"))
    assert (await bench.over()).code == 5


async def test_a_frozen_agent_hears_sigterm_at_once(bench: Bench) -> None:
    await bench.start(config(shell('trap "exit 5" TERM; echo ready; while :; do :; done')))
    await bench.output("ready")
    bench.processes.freeze(Freeze("a", 1))
    await bench.event(Froze)
    bench.processes.signal(Signal("a", 1, "SIGTERM"))
    assert (await bench.over()).code == 5


async def test_a_signal_to_the_tree_reaches_every_process(bench: Bench) -> None:
    child = 'trap "echo heard; exit" USR1; echo ready; while :; do sleep 0.05; done'
    await bench.start(config(shell(f"(setsid sh -c '{child}') & {child}")))
    await bench.until(lambda: bench.log.read_text(encoding="utf-8").count("ready") == 2)
    bench.processes.signal(Signal("a", 1, "SIGUSR1", tree=True))
    await bench.until(lambda: bench.log.read_text(encoding="utf-8").count("heard") == 2)
    await bench.over()


@pytest.mark.root
async def test_b7_a_process_that_sigkill_cannot_end_is_stuck_and_never_doubled(
    bench: Bench,
) -> None:
    with v1_group("freezer") as group:
        prepared = await bench.start(config("sleep 600"))
        (group / "cgroup.procs").write_text(str(prepared.pid), encoding="ascii")
        (group / "freezer.state").write_text("FROZEN", encoding="ascii")
        try:
            bench.processes.kill_tree(KillTree("a", 1))
            stuck = await bench.event(KillStuck)
            assert f"pid {prepared.pid} (sleep) state D" in stuck.evidence
            refused = await bench.prepare(config("sleep 600"), incarnation=2)
            assert isinstance(refused, SpawnFailed)
            assert alive(prepared.pid)
        finally:
            (group / "freezer.state").write_text("THAWED", encoding="ascii")
        assert (await bench.over()).signal == signal.SIGKILL
        assert len([event for event in bench.events if isinstance(event, KillStuck)]) == 1


async def test_b10_output_needs_nobody_to_read_it(bench: Bench) -> None:
    """The agent writes to a file: while we do nothing at all, a megabyte goes through."""
    prepared = await bench.start(config(python("print('x' * (1 << 20), flush=True)")), wait=False)
    await bench.until(lambda: bench.run_of().stage.name != "GATED")
    os.waitid(os.P_PID, prepared.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - a daemon that stands still is the point
    assert bench.log.stat().st_size >= 1 << 20
    assert (await bench.over()).code == 0


async def test_d1_a_setsid_grandchild_does_not_survive_a_kill(bench: Bench) -> None:
    await bench.start(config(shell('setsid sh -c "setsid sleep 600 & echo ready"; sleep 600')))
    await bench.output("ready")
    incarnation_id = bench.run_of().incarnation_id
    await bench.until(lambda: len(carriers(incarnation_id)) == 3, "three processes")
    watch = Stopwatch()
    await bench.kill()
    assert carriers(incarnation_id) == []
    assert watch.fair_s < 2


async def test_d1_empty_is_said_after_the_exit_and_only_of_an_empty_tree(bench: Bench) -> None:
    await bench.start(config(shell("setsid sleep 600 & exit 4")))
    exited = await bench.event(Exited)
    assert exited.code == 4
    assert exited.evidence.survivors == 1
    assert not [event for event in bench.events if isinstance(event, TreeEmpty)]
    bench.processes.kill_tree(KillTree("a", 1))
    await bench.event(TreeEmpty)
    kinds = [type(event) for event in bench.events]
    assert kinds.index(Exited) < kinds.index(TreeEmpty)
    assert kinds.count(TreeEmpty) == 1


async def test_the_last_survivors_own_end_is_noticed(bench: Bench) -> None:
    await bench.start(config(shell("setsid sleep 0.3 & exit 0")))
    assert (await bench.event(Exited)).evidence.survivors == 1
    await bench.event(TreeEmpty)


async def test_a_helper_without_session_and_environment_is_found_once_it_was_seen(
    bench: Bench,
) -> None:
    leave = "setsid env -i /bin/sleep 600 >/dev/null 2>&1 & echo $! ready; sleep 600"
    prepared = await bench.start(config(shell(leave)))
    helper = int((await bench.output("ready")).split()[0])
    await bench.until(lambda: _comm(helper) == "sleep", "the helper's exec")
    assert helper in await bench.run_of().tree.members()
    os.kill(prepared.pid, signal.SIGKILL)
    assert (await bench.event(Exited)).evidence.survivors >= 1
    await bench.kill()
    assert not alive(helper)


@pytest.mark.root
async def test_d3_a_fork_bomb_under_a_pid_limit_is_killed(bench: Bench) -> None:
    bomb = python(
        """
        import os, time
        print("ready", flush=True)
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(0.01)
        """
    )
    with v1_group("pids") as group:
        (group / "pids.max").write_text("64", encoding="ascii")
        joined = shell(f'echo $$ > {group}/cgroup.procs; exec "$@"')
        await bench.start(config([*joined, "sh", *bomb]))
        procs = group / "cgroup.procs"
        await bench.until(lambda: len(procs.read_text(encoding="ascii").split()) >= 40, "the bomb")
        watch = Stopwatch()
        await bench.kill()
        assert watch.fair_s < 5
        assert procs.read_text(encoding="ascii") == ""


@pytest.mark.root
async def test_d5_a_stranger_with_the_same_pid_is_left_untouched(bench: Bench) -> None:
    prepared = await bench.start(config(shell("setsid sleep 600 & exit 0")))
    await bench.event(Exited)
    stranger = await _process_with_pid(prepared.pid)
    try:
        bench.processes.signal(Signal("a", 1, "SIGTERM"))
        bench.processes.signal(Signal("a", 1, "SIGKILL", tree=True))
        await bench.kill()
        bench.processes.signal(Signal("a", 1, "SIGKILL"))
        bench.processes.kill_tree(KillTree("a", 1))
        await asyncio.sleep(0.1)
        assert stranger.returncode is None
        assert alive(prepared.pid)
    finally:
        if stranger.returncode is None:
            stranger.kill()
        await stranger.wait()
        bench.processes.helper_ended(prepared.pid)


async def test_d7_a_daemonised_agents_exit_is_the_exit_and_its_survivors_are_killed(
    bench: Bench,
) -> None:
    await bench.start(
        config(
            python(
                """
                import os, time
                if os.fork():
                    os._exit(0)
                os.setsid()
                if os.fork():
                    os._exit(0)
                time.sleep(600)
                """
            )
        )
    )
    exited = await bench.event(Exited)
    assert exited.code == 0
    assert exited.evidence.survivors >= 1
    incarnation_id = bench.run_of().incarnation_id
    await bench.kill()
    assert carriers(incarnation_id) == []


async def test_d9_an_agent_has_stdin_stdout_and_stderr_and_no_other_descriptor(
    bench: Bench,
) -> None:
    await bench.start(config("sleep 600"), agent="b")
    prepared = await bench.start(config("sleep 600"))
    wanted = {"0": "/dev/null", "1": str(bench.log), "2": str(bench.log)}
    # The dynamic loader has its libraries open for a moment.
    await bench.until(lambda: open_files(prepared.pid) == wanted, str(wanted))


async def test_d14_a_name_with_brackets_fools_nobody(bench: Bench) -> None:
    odd = bench.directory / "a) R 1 2"
    odd.symlink_to("/bin/sleep")
    prepared = await bench.start(config([str(odd), "600"]))
    stat = procfs.stat_of(prepared.pid)
    assert stat is not None
    assert (stat.comm, stat.ppid, stat.sid) == ("a) R 1 2", os.getpid(), prepared.pid)
    await bench.kill()
    assert not alive(prepared.pid)


async def test_a_frozen_tree_stands_still_and_goes_on_after_the_thaw(bench: Bench) -> None:
    ticking = "while :; do echo x; sleep 0.01; done"
    await bench.start(config(shell(f"(setsid sh -c '{ticking}') & {ticking}")))
    await bench.output("x\nx\nx\nx")
    bench.processes.freeze(Freeze("a", 1))
    assert (await bench.event(Froze)).error == ""
    frozen_at = bench.log.stat().st_size
    await asyncio.sleep(0.2)
    assert bench.log.stat().st_size == frozen_at
    bench.processes.thaw(Thaw("a", 1))
    await bench.until(lambda: bench.log.stat().st_size > frozen_at + 20, "output after the thaw")


async def test_a_frozen_tree_can_be_killed(bench: Bench) -> None:
    await bench.start(config("sleep 600"))
    bench.processes.freeze(Freeze("a", 1))
    await bench.event(Froze)
    await bench.kill()
    assert (await bench.event(Exited)).signal == signal.SIGKILL


async def test_effects_about_an_incarnation_that_is_gone_do_nothing(bench: Bench) -> None:
    await bench.start(config("true"))
    await bench.over()
    await bench.start(config("sleep 600"), incarnation=2)
    before = list(bench.events)
    for effect in (Signal("a", 1, "SIGKILL"), Signal("a", 1, "SIGKILL", tree=True)):
        bench.processes.signal(effect)
    bench.processes.kill_tree(KillTree("a", 1))
    bench.processes.freeze(Freeze("a", 1))
    bench.processes.thaw(Thaw("a", 1))
    await asyncio.sleep(0.1)
    assert bench.events == before
    assert bench.run_of().incarnation == 2


async def test_an_orphans_zombie_is_reaped_and_a_helpers_is_not(bench: Bench) -> None:
    await bench.start(config(shell("setsid sleep 0.2 & exec sleep 600")))
    helper = await asyncio.create_subprocess_exec("true", start_new_session=True)
    bench.processes.helper_started(helper.pid)
    assert await helper.wait() == 0
    bench.processes.helper_ended(helper.pid)
    await bench.start(config(shell("setsid sleep 0.1 & exit 0")), agent="b")
    await bench.over("b")
    await bench.until(lambda: bench.processes.orphans.reaped >= 1, "the reaping")


async def test_the_loop_is_not_held_up_by_a_kill_of_fifty_trees(bench: Bench) -> None:
    for number in range(50):
        await bench.start(config(shell("sleep 600 & sleep 600")), f"n{number}", wait=False)
    for number in range(50):
        await bench.until(lambda n=number: bench.run_of(f"n{n}").stage.name == "RUNNING")
    gaps_s: list[float] = []
    watching = bench.loop.create_task(_measure_gaps(gaps_s))
    for number in range(50):
        bench.processes.kill_tree(KillTree(f"n{number}", 1))
    await bench.until(lambda: not bench.processes.runs(), "the end of all")
    watching.cancel()
    assert max(gaps_s) * 1000 < LOOP_MS_MAX + 5, "the loop stood still while it had a core"


async def test_a_cgroup_is_gone_with_its_incarnation(cgroup_bench: Bench) -> None:
    await cgroup_bench.start(config("sleep 600"))
    tree = cgroup_bench.run_of().tree
    assert isinstance(tree, CgroupTree)
    assert counters(tree.directory / "cgroup.events")["populated"] == 1
    await cgroup_bench.kill()
    assert not tree.directory.exists()


async def test_a_process_that_left_its_cgroup_is_noted_and_killed_with_the_rest(
    cgroup_bench: Bench,
) -> None:
    bench = cgroup_bench
    escape = "(echo $BASHPID; exec sleep 600) & echo $! ready; exec sleep 600"
    await bench.start(config(shell(escape)))
    run = bench.run_of()
    assert isinstance(run.tree, CgroupTree)
    helper = int((await bench.output("ready")).split()[0])
    move_to_group(helper, run.tree.directory.parent.parent)
    await bench.sampler._look_for_escapes()
    assert f"pid {helper} left its cgroup" in run.note
    await bench.kill()
    assert not alive(helper)


async def _process_with_pid(pid: int) -> asyncio.subprocess.Process:
    """Start a stranger that is given this pid; the pid must be free."""
    for _ in range(200):
        try:
            give_pid_away(pid)
        except PermissionError:
            pytest.skip("ns_last_pid can't be written")
        stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
        if stranger.pid == pid:
            return stranger
        stranger.kill()
        await stranger.wait()
    pytest.skip(f"pid {pid} was not to be had")


async def _measure_gaps(gaps_s: list[float]) -> None:
    """Note how long each turn of the loop took, without the time it waited for a core."""
    loop = asyncio.get_running_loop()
    while True:
        before, lacked = loop.time(), _without_core_s()
        await asyncio.sleep(0.005)
        gaps_s.append(loop.time() - before - (_without_core_s() - lacked))


def _without_core_s() -> float:
    """How long this thread was ready to run and did not, from the kernel's count."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def _state(pid: int) -> str:
    stat = procfs.stat_of(pid)
    return stat.state if stat is not None else ""


def _comm(pid: int) -> str:
    stat = procfs.stat_of(pid)
    return stat.comm if stat is not None else ""
