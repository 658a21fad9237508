"""What a look at an agent must not do: take a stranger for it, or wait for a disk."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentd.core.effects import Diagnose
from agentd.daemon import glance, procfs, remains, stacks, stall
from agentd.daemon.diagnosis import Diagnoses
from agentd.daemon.logs import LogFile
from agentd.daemon.stall import Findings, Stalled, examine

LOOK_S = 2.5
WAIT_S = 10.0

Program = subprocess.Popen[bytes]
Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Program] = []

    def begin(*command: str) -> Program:
        running.append(subprocess.Popen(command))
        return running[-1]

    yield begin
    for process in running:
        for pid in sorted(members_of(process)):
            os.kill(pid, 9)
        process.wait(WAIT_S)


def members_of(process: Program) -> dict[int, int]:
    census = procfs.census_now()
    pids = census.descendants([process.pid]) & census.stats.keys()
    return {pid: census.stats[pid].start_time for pid in pids}


def stalled_of(process: Program, log: LogFile | None = None) -> Stalled:
    members = members_of(process)
    return Stalled(
        pid=process.pid,
        start_time=members[process.pid],
        members=members,
        cgroup=None,
        log=log,
        secrets=(),
        reader="",
        stack_signal=0,
        is_frozen=lambda: False,
    )


def no_log(_agent: str) -> LogFile:
    raise FileNotFoundError


def look(stalled: Stalled) -> Findings:
    findings = Findings()
    examine(stalled, time.monotonic() + LOOK_S, findings)
    return findings


def test_what_was_seen_after_its_end_is_not_kept(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start("sleep", "600")
    stalled = stalled_of(process)

    def ends_meanwhile(_reader: str, _pid: int, _limit_s: float) -> stacks.Stacks:
        process.kill()
        process.wait(WAIT_S)
        frame = stacks.Frame("stranger", "/somebody/elses.py", 1)
        return stacks.Stacks((stacks.Thread((frame,), process.pid),), "py-spy")

    monkeypatch.setattr(stall, "read_stacks", ends_meanwhile)
    findings = look(stalled)
    assert findings.line == ""
    assert findings.evidence.keys() == {"state", "note"}


def test_a_child_that_was_replaced_by_a_stranger_is_not_told_of(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start("sh", "-c", "sleep 600; true")
    end_s = time.monotonic() + WAIT_S
    while len(members_of(process)) < 2 or "wait" not in procfs.wait_channel(process.pid):
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert "child" in look(stalled_of(process)).evidence
    take = glance.take

    def another(leader: int, members: Mapping[int, int]) -> glance.Glance:
        seen = take(leader, members)
        earlier = {
            pid: replace(stat, start_time=stat.start_time - (pid != process.pid))
            for pid, stat in seen.stats.items()
        }
        return replace(seen, stats=earlier)

    monkeypatch.setattr(glance, "take", another)
    assert "child" not in look(stalled_of(process)).evidence


def test_a_log_on_a_disk_that_hangs_does_not_cost_where_it_is_stuck(start: Start) -> None:
    freed, reads = threading.Event(), threading.Event()

    def hangs() -> int:
        reads.set()
        freed.wait(WAIT_S)
        return 0

    log: Any = SimpleNamespace(start=0, end=hangs)
    stalled = stalled_of(start("sleep", "600"), log)
    findings = Findings()
    words = (stalled, time.monotonic() + LOOK_S, findings)
    thread = threading.Thread(target=examine, args=words)
    thread.start()
    try:
        assert reads.wait(WAIT_S)
        assert "clock_nanosleep" in findings.line
    finally:
        freed.set()
        thread.join(WAIT_S)


async def test_py_spy_is_not_looked_for_on_the_event_loop(start: Start) -> None:
    process = start("sleep", "600")
    stalled = stalled_of(process)

    async def members() -> Mapping[int, int]:
        return stalled.members

    run = SimpleNamespace(
        pid=process.pid,
        identity=SimpleNamespace(start_time=stalled.start_time),
        tree=SimpleNamespace(members=members),
        is_frozen=False,
    )
    runs: Any = SimpleNamespace(run_of=lambda _agent, _incarnation: run)
    logs: Any = SimpleNamespace(file=no_log, secrets=())
    came, aio, threads = asyncio.Event(), asyncio.get_running_loop(), list[int]()

    def find_reader() -> str:
        threads.append(threading.get_ident())
        return ""

    diagnoses = Diagnoses(aio, lambda _: came.set(), runs, logs, find_reader)
    diagnoses.diagnose(Diagnose("a", 1, "stall", 0, {}), None)
    await asyncio.wait_for(came.wait(), WAIT_S)
    assert len(threads) == 1
    assert threads != [threading.get_ident()]
    diagnoses.close()


async def test_an_end_does_not_wait_for_a_log_that_is_being_trimmed(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    log = LogFile(folder, "a", 0)
    logs: Any = SimpleNamespace(file=lambda _: log, secrets=())
    runs: Any = SimpleNamespace()
    diagnoses = Diagnoses(asyncio.get_running_loop(), lambda _: None, runs, logs)
    noted = threading.Event()

    def note() -> None:
        diagnoses.tree_empty("a", 1)
        noted.set()

    with log._lock:
        thread = threading.Thread(target=note)
        thread.start()
        in_time = noted.wait(WAIT_S)
    thread.join(WAIT_S)
    assert in_time
    diagnoses.close()
    log.close()
    os.close(folder)


def test_the_newest_core_is_found_among_many_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, told in (("CORE_PATTERN", "core.%t"), ("CORE_USES_PID", "0")):
        (tmp_path / name).write_text(told)
        monkeypatch.setattr(remains, name, tmp_path / name)
    monkeypatch.setattr(remains, "pid_in_core", int)
    for number in range(100):
        core = tmp_path / f"core.{number:03}"
        core.write_text(str(number))
        os.utime(core, ns=(0, time.time_ns() - (100 - number) * 1_000_000))
    dead = remains.Dead(99, 0, str(tmp_path), None, None, ())
    assert remains.core_of(dead) == str(tmp_path / "core.099")


def test_a_look_without_time_tells_no_share_of_cpu(start: Start) -> None:
    spinner = start(sys.executable, "-c", "while True: pass")
    hurried, whole = Findings(), Findings()
    examine(stalled_of(spinner), time.monotonic(), hurried)
    examine(stalled_of(spinner), time.monotonic() + LOOK_S, whole)
    assert (hurried.evidence["cpu_s"], hurried.evidence["cpu_percent"]) == (None, None)
    assert hurried.line
    assert "CPU" not in hurried.line
    assert whole.evidence["cpu_s"] is not None
    assert "CPU" in whole.line
