"""D10 and what else a child is given: nothing of its launcher's, all of its config's."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from agentd.daemon import pidfds, procfs
from tests.daemon.harness import no_thread_left
from tests.daemon.process_bench import (
    PYTHON,
    Bench,
    bench,
    carriers,
    config,
    limits_of,
    open_files,
)

__all__ = ["bench"]

LAUNCHER = textwrap.dedent(
    """
    import os, signal, sys
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("300")
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    """
)
DAEMON = textwrap.dedent(
    """
    import asyncio, json, resource, sys
    from pathlib import Path
    from agentd.daemon import host, procfs
    from tests.daemon import process_bench
    from tests.daemon.process_bench import Bench, config
    async def main():
        found = host.settle()
        process_bench.settle = lambda: found
        files = resource.getrlimit(resource.RLIMIT_NOFILE)
        bench = Bench(Path(sys.argv[1]), cgroups=False)
        prepared = await bench.start(config(["/bin/sh", "-c", "umask; exec sleep 600"]))
        umask = (await bench.output("\\n")).strip()
        status = Path(f"/proc/{prepared.pid}/status").read_text()
        fields = dict(line.split(":\\t", 1) for line in status.splitlines() if ":\\t" in line)
        env = procfs.environ(prepared.pid)
        print(json.dumps({
            "blocked": int(fields["SigBlk"], 16), "ignored": int(fields["SigIgn"], 16),
            "oom": Path(f"/proc/{prepared.pid}/oom_score_adj").read_text().strip(),
            "umask": umask, "env": {k.decode(): v.decode() for k, v in env.items()},
            "files": resource.prlimit(prepared.pid, resource.RLIMIT_NOFILE), "own": files,
        }))
        await bench.close()
    asyncio.run(main())
    """
)

# Signals 32 and 33: no program can set them back, whatever a launcher did.
KEPT_BY_THE_C_LIBRARY = 0b11 << 31


def test_d10_a_child_inherits_nothing_that_a_launcher_left(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": "/run/launcher.sock",
        "LISTEN_FDS": "1",
        "CREDENTIALS_DIRECTORY": "/run/credentials",
        "SECRET": "of the daemon",
        "LC_TIME": "C",
    }
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, "-c", DAEMON, str(tmp_path)],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
        env=environment,
    )
    child = json.loads(done.stdout or f'"{done.stderr}"')
    assert child["blocked"] == 0
    assert child["ignored"] & ~KEPT_BY_THE_C_LIBRARY == 0
    assert child["oom"] == "0"
    assert child["umask"] == "0022"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert child["files"] == [soft, hard]
    assert child["own"] == [hard, hard]
    # The agent of this test is a shell itself, which adds PWD.
    allowed = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "PWD"}
    ours = {"AGENTD_SOCKET", "AGENTD_AGENT", "AGENTD_INCARNATION", "AGENTD_TOKEN"}
    names = {name for name in child["env"] if not name.startswith("LC_")}
    assert names - allowed == ours
    assert child["env"]["LC_TIME"] == "C"


async def test_the_notify_socket_is_the_one_given_for_this_agent(bench: Bench) -> None:
    bench.environment["NOTIFY_SOCKET"] = "/run/agentd/notify/a.sock"
    prepared = await bench.start(config("sleep 600", environment={"NOTIFY_SOCKET": "/elsewhere"}))
    environment = procfs.environ(prepared.pid) or {}
    assert environment[b"NOTIFY_SOCKET"] == b"/run/agentd/notify/a.sock"
    assert environment[b"AGENTD_AGENT"] == b"a"
    assert environment[b"AGENTD_TOKEN"].decode() == prepared.token
    assert len(prepared.token) == 32


async def test_variables_that_a_shell_would_drop_or_obey_reach_the_agent(bench: Bench) -> None:
    odd = {"my.option": "1", "BASH_FUNC_read%%": "() { exit 9; }", "ENV": "/x", "PS4": "$(id)"}
    await bench.start(config(["env", "-0"], environment={**odd, "PWD": "/tmp"}))
    await bench.over()
    seen = dict(entry.split("=", 1) for entry in (await bench.output("PS4")).split("\0") if entry)
    assert {name: seen[name] for name in odd} == odd
    assert seen["PWD"] == "/tmp"  # noqa: S105 - a directory


async def test_an_odd_variable_does_not_hide_a_failed_exec(bench: Bench) -> None:
    script = bench.directory / "script"
    script.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    script.chmod(0o755)
    await bench.start(config([str(script)], environment={"my.option": "1"}))
    assert (await bench.over()).code == 127


async def test_directory_umask_nice_and_limits_are_those_of_the_config(bench: Bench) -> None:
    place = bench.directory / "place"
    place.mkdir()
    report = "import os, time; print(oct(os.umask(0)), os.getcwd(), flush=True); time.sleep(600)"
    prepared = await bench.start(
        config(
            [PYTHON, "-c", report],
            directory=str(place),
            umask="027",
            nice=5,
            limits={"nofile": 100, "core": 0, "stack": 4 << 20},
        )
    )
    assert await bench.output(f"0o27 {place}\n")
    assert os.getpriority(os.PRIO_PROCESS, prepared.pid) == 5
    assert resource.prlimit(prepared.pid, resource.RLIMIT_NOFILE) == (100, 100)
    assert resource.prlimit(prepared.pid, resource.RLIMIT_CORE) == (0, 0)


async def test_an_agent_finds_no_variable_of_the_gates(bench: Bench) -> None:
    prepared = await bench.start(config("sleep 600"))
    environment = set(procfs.environ(prepared.pid) or {})
    assert not environment & {b"PWD", b"OLDPWD", b"SHLVL", b"_"}


async def test_an_unknown_limit_fails_and_is_named(bench: Bench) -> None:
    failed = await bench.fails(config("sleep 1", limits={"wishes": 3}))
    assert "limits.wishes" in failed.error


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_limits_of_another_users_child_are_set_though_they_are_not_ours_to_set(
    bench: Bench,
) -> None:
    limits = {"nofile": 77, "core": 0, "cpu": -1, "stack": 4 << 20}
    prepared = await bench.start(config("sleep 600", user="nobody", limits=limits, nice=3))
    told = limits_of(prepared.pid)
    assert told["Max open files"] == ["77", "77"]
    assert told["Max stack size"] == [str(4 << 20)] * 2
    assert told["Max core file size"] == ["0", "0"]
    assert os.getpriority(os.PRIO_PROCESS, prepared.pid) == 3


async def test_a_step_after_the_fork_that_fails_leaves_no_child_at_its_gate(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bench.processes.strangers()  # such as the fork server of other tests
    with monkeypatch.context() as broken:
        broken.setattr(pidfds, "identify", lambda *_: None)
        with pytest.raises(AssertionError):
            await bench.prepare(config("sleep 600"))
    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", no_thread_left)
        failed = await bench.fails(config("sleep 600"))
        assert "can't start new thread" in failed.error
    assert bench.processes.runs() == []
    assert carriers(f"{bench.name}-a-1") == []
    assert bench.processes.strangers() == before
    await bench.start(config("sleep 600"), incarnation=2)


async def test_descriptors_of_the_daemon_are_back_to_where_they_were(bench: Bench) -> None:
    await bench.start(config("true"))
    await bench.over()
    await asyncio.sleep(0)
    before = len(open_files("self"))
    for incarnation in range(2, 12):
        await bench.start(config("true"), incarnation=incarnation)
        await bench.over(incarnation=incarnation)
    await bench.fails(config("/no/such/command"))
    await asyncio.sleep(0)
    assert len(open_files("self")) == before
