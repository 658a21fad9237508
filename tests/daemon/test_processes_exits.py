"""Group A: an agent ends, and how is known exactly."""

import asyncio
import errno
import os
import pwd
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agentd.core.events import Exited, Spawned, SpawnFailed, TreeEmpty
from agentd.daemon import pidfds, procfs
from agentd.daemon.processes import Prepared
from agentd.daemon.tree import Tree
from tests.daemon.process_bench import PYTHON, Bench, bench, config, kill_pid
from tests.stopwatch import Stopwatch

__all__ = ["bench"]
NOT_ROOT = os.geteuid() != 0


async def test_a1_an_exit_with_code_0_is_told_as_it_was(bench: Bench) -> None:
    await bench.start(config([PYTHON, "-c", "raise SystemExit(0)"]))
    exited = await bench.over()
    assert (exited.code, exited.signal) == (0, None)
    assert exited.evidence.survivors == 0


async def test_a2_an_exit_code_is_told_as_it_was(bench: Bench) -> None:
    await bench.start(config([PYTHON, "-c", "raise SystemExit(3)"]))
    exited = await bench.over()
    assert (exited.code, exited.signal) == (3, None)


async def test_a3_a_kill_from_outside_is_a_signal_without_oom_evidence(bench: Bench) -> None:
    prepared = await bench.start(config("sleep 600"))
    os.kill(prepared.pid, signal.SIGKILL)
    exited = await bench.over()
    assert (exited.code, exited.signal) == (None, signal.SIGKILL)
    assert exited.evidence.oom_kills == 0
    assert exited.evidence.oom_source == ""


@pytest.mark.parametrize(
    ("content", "mode", "number", "hint"),
    [
        (None, 0o755, errno.ENOENT, "command not found"),
        ("#!/bin/sh\n", 0o644, errno.EACCES, "not executable; chmod +x"),
        ("#!/no/such/thing\n", 0o755, errno.ENOENT, "interpreter not found: /no/such/thing"),
        ("#!/bin/sh\r\n", 0o755, errno.ENOENT, "Windows line ends"),
        ("echo hello\n", 0o755, errno.ENOEXEC, "neither a program nor a script"),
    ],
)
async def test_a9_a_command_that_cannot_run_fails_with_errno_path_and_hint(
    bench: Bench, content: str | None, mode: int, number: int, hint: str
) -> None:
    path = bench.directory / "program"
    if content is not None:
        path.write_bytes(content.encode())
        path.chmod(mode)
    failed = await bench.fails(config([str(path)]))
    assert failed.error.startswith(errno.errorcode[number])
    assert str(path) in failed.error
    assert hint in failed.error
    assert not failed.shortage


async def test_a9_a_directory_is_no_command(bench: Bench) -> None:
    failed = await bench.fails(config([str(bench.directory)]))
    assert failed.error.startswith("EACCES")
    assert "it is a directory" in failed.error


async def test_a9_a_bare_name_is_searched_in_the_agents_own_path(bench: Bench) -> None:
    (bench.directory / "mine").write_text("#!/bin/sh\nexit 7\n", encoding="utf-8")
    (bench.directory / "mine").chmod(0o755)
    failed = await bench.fails(config(["mine"]))
    assert failed.error.startswith("ENOENT: mine")
    path = f"{bench.directory}:{os.environ['PATH']}"
    await bench.start(config(["mine"], environment={"PATH": path}), incarnation=2)
    assert (await bench.over(incarnation=2)).code == 7


async def test_a10_a_missing_directory_fails_and_names_it(bench: Bench) -> None:
    failed = await bench.fails(config("sleep 1", directory="/no/such/place"))
    assert failed.error.startswith("ENOENT: /no/such/place")
    assert not failed.shortage


async def test_a10_an_unknown_user_or_group_fails_and_is_named(bench: Bench) -> None:
    for kind in ("user", "group"):
        failed = await bench.fails(config("sleep 1", **{kind: "nobody-at-all"}))
        assert failed.error.startswith(f"EINVAL: {kind} 'nobody-at-all': ")
        assert f"no such {kind}" in failed.error
        assert not failed.shortage


async def test_a10_a_variable_beyond_128_kib_fails_and_other_agents_are_unaffected(
    bench: Bench,
) -> None:
    other = await bench.start(config("sleep 600"), agent="b")
    failed = await bench.fails(config("sleep 1", environment={"BIG": "x" * 200_000}))
    assert failed.error.startswith("E2BIG: environment variable BIG")
    assert not failed.shortage
    assert procfs.stat_of(other.pid) is not None


@pytest.mark.parametrize("code", [126, 127])
async def test_a_real_programs_exit_code_of_127_or_126_is_an_exit(bench: Bench, code: int) -> None:
    script = bench.directory / "script"
    script.write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
    script.chmod(0o755)
    await bench.start(config([str(script)]))
    assert (await bench.over()).code == code
    assert not [event for event in bench.events if isinstance(event, SpawnFailed)]


async def test_an_exec_that_fails_after_the_checks_is_no_exit(bench: Bench) -> None:
    script = bench.directory / "script"
    script.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    script.chmod(0o755)
    prepared = await bench.prepare(config([str(script)]))
    assert isinstance(prepared, Prepared)
    script.unlink()
    bench.processes.release(prepared)
    failed = await bench.event(SpawnFailed)
    assert failed.error.startswith(f"ENOENT: {script}")
    assert not [event for event in bench.events if isinstance(event, Exited | Spawned)]


async def test_without_the_word_go_nothing_runs_and_nobody_is_told(bench: Bench) -> None:
    prepared = await bench.prepare(config(["touch", str(bench.directory / "ran")]))
    assert isinstance(prepared, Prepared)
    bench.processes.cancel(prepared)
    await bench.until(lambda: not bench.processes.runs(), "the end of the child")
    assert not (bench.directory / "ran").exists()
    assert bench.events == []


async def test_a_child_whose_daemon_dies_at_the_gate_runs_nothing(tmp_path: Path) -> None:
    """The gate's pipe has one writer; when that is gone, the child exits by itself."""
    ran = tmp_path / "ran"
    program = textwrap.dedent(
        """
        import asyncio, os, sys
        from pathlib import Path
        from tests.daemon.process_bench import Bench, config
        async def main():
            bench = Bench(Path(sys.argv[1]), cgroups=False)
            prepared = await bench.prepare(config(["touch", sys.argv[2]]))
            print(prepared.pid, flush=True)
            os.kill(os.getpid(), 9)
        asyncio.run(main())
        """
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, str(tmp_path), str(ran)],
        capture_output=True,
        check=False,
        timeout=20,
    )
    pidfd = pidfds.open_pidfd(int(done.stdout))
    for _ in range(500):
        stat = procfs.stat_of(int(done.stdout))
        if stat is None or stat.dead:
            break
        await asyncio.sleep(0.01)
    else:
        kill_pid(int(done.stdout))
        pytest.fail("the child still waits at its gate")
    if pidfd is not None:
        os.close(pidfd)
    assert not ran.exists()


async def test_a_child_killed_at_the_gate_is_a_failed_spawn(bench: Bench) -> None:
    prepared = await bench.prepare(config("sleep 600"))
    assert isinstance(prepared, Prepared)
    bench.run_of().kill()
    assert "SIGKILL before its exec" in (await bench.event(SpawnFailed)).error
    bench.processes.release(prepared)
    await bench.until(lambda: not bench.processes.runs())
    assert not [event for event in bench.events if isinstance(event, Spawned | TreeEmpty)]


async def test_a13_fifty_killed_at_once_are_fifty_exact_ends_and_fifty_starts(
    bench: Bench,
) -> None:
    for number in range(50):
        await bench.start(config("sleep 600"), agent=f"n{number}", wait=False)
    for number in range(50):
        await bench.event(Spawned, f"n{number}")
    watch = Stopwatch()
    for run in bench.processes.runs():
        os.kill(run.pid, signal.SIGKILL)
    for number in range(50):
        exited = await bench.over(f"n{number}")
        assert (exited.code, exited.signal) == (None, signal.SIGKILL)
        await bench.start(config("sleep 600"), f"n{number}", 2, wait=False)
    for number in range(50):
        await bench.event(Spawned, f"n{number}", 2)
    assert len([event for event in bench.events if isinstance(event, Exited)]) == 50
    assert len([event for event in bench.events if isinstance(event, Spawned)]) == 100
    assert watch.fair_s < 10


async def test_a13_at_most_two_children_a_core_are_between_their_gate_and_their_exec(
    bench: Bench,
) -> None:
    many = 10 * bench.host.cores
    prepared = [await bench.prepare(config("sleep 600"), f"n{n}") for n in range(many)]
    seen = 0
    for each in prepared:
        assert isinstance(each, Prepared)
        bench.processes.release(each)
        released = [run for run in bench.processes.runs() if run.stage.name == "RELEASED"]
        seen = max(seen, len(released))
    assert seen == 2 * bench.host.cores
    for number in range(many):
        await bench.event(Spawned, f"n{number}")


async def test_a_second_tree_of_an_agent_is_refused_as_nobodys_fault(bench: Bench) -> None:
    await bench.start(config("sleep 600"))
    refused = await bench.prepare(config("sleep 600"), incarnation=2)
    assert isinstance(refused, SpawnFailed)
    assert refused.shortage
    assert "may still have living processes" in refused.error


async def test_a_shortage_of_the_host_is_told_as_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_processes(*_args: object, **_keys: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_processes)
    failed = await bench.fails(config("sleep 600"))
    assert failed.shortage
    assert failed.error.startswith("EAGAIN")
    assert not bench.processes.runs()


@pytest.mark.parametrize(
    ("number", "fault_of_host"),
    [(errno.EOPNOTSUPP, True), (errno.ENOENT, True), (errno.EPERM, False)],
)
async def test_a_group_that_is_made_anew_is_the_hosts_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, fault_of_host: bool
) -> None:
    def refuse(_pid: int) -> None:
        raise OSError(number, os.strerror(number), "/group")

    assert bench.processes.forest is not None
    plant = bench.processes.forest.plant

    def plant_refusing(incarnation_id: str, limit_bytes: int, log_fd: int) -> Tree:
        planted = plant(incarnation_id, limit_bytes, log_fd)
        monkeypatch.setattr(planted, "enter", refuse)
        return planted

    monkeypatch.setattr(bench.processes.forest, "plant", plant_refusing)
    failed = await bench.fails(config("sleep 600"))
    assert failed.shortage is fault_of_host
    assert failed.error.endswith(f": /group: {os.strerror(number)}")
    assert not bench.processes.runs()


def test_a20_an_ignored_sigchld_of_the_launcher_loses_no_status(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from agentd.daemon import host
        from tests.daemon.process_bench import Bench, config
        async def main():
            host.settle()
            bench = Bench(Path(sys.argv[1]), cgroups=False)
            await bench.start(config(["/bin/sh", "-c", "exit 41"]))
            print((await bench.over()).code)
            await bench.close()
        asyncio.run(main())
        """
    )
    script = 'trap "" CHLD; exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.stdout == "41\n", done.stderr


@pytest.mark.skipif(NOT_ROOT, reason="only root can become another user")
@pytest.mark.root
async def test_l8_an_agent_with_a_user_has_that_users_ids_and_no_capability(bench: Bench) -> None:
    nobody = pwd.getpwnam("nobody")
    prepared = await bench.start(config("sleep 600", user="nobody"))
    fields = _status(prepared.pid)
    assert set(fields["Uid"].split()) == {str(nobody.pw_uid)}
    assert set(fields["Gid"].split()) == {str(nobody.pw_gid)}
    groups = {str(group) for group in os.getgrouplist("nobody", nobody.pw_gid)}
    assert set(fields["Groups"].split()) == groups
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    assert prepared.uid == nobody.pw_uid
    environment = procfs.environ(prepared.pid) or {}
    assert environment[b"USER"] == b"nobody"
    assert environment[b"HOME"] == nobody.pw_dir.encode()


def test_l8_an_agent_of_a_settled_daemon_can_gain_no_privileges(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from agentd.daemon import host
        from tests.daemon.process_bench import Bench, config
        async def main():
            host.settle()
            host.renounce_privileges()
            bench = Bench(Path(sys.argv[1]), cgroups=False)
            prepared = await bench.start(config("sleep 600"))
            print(Path(f"/proc/{prepared.pid}/status").read_text())
            await bench.close()
        asyncio.run(main())
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert "NoNewPrivs:\t1" in done.stdout, done.stderr


async def test_l6_a_command_string_is_split_as_words_and_never_run_by_a_shell(
    bench: Bench,
) -> None:
    victim = bench.directory / "x"
    victim.touch()
    await bench.start(config(f"echo hello ; rm {victim} $(touch {victim}2) && 'a b'"))
    assert (await bench.over()).code == 0
    assert await bench.output(f"hello ; rm {victim} $(touch {victim}2) && a b\n")
    assert victim.exists()
    assert not (bench.directory / "x2").exists()


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
