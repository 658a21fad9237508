"""Looks as the core sees them: answered in any case and in time; and what an end left behind."""

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentd.core.effects import Diagnose, SaveEvidence
from agentd.core.events import Diagnosed, Event
from agentd.daemon import diagnosis, procfs, remains, socketpeers, stall
from agentd.daemon.diagnosis import Diagnoses, why_no_stacks
from agentd.daemon.logs import LogFile
from agentd.daemon.logtail import last_lines
from agentd.daemon.masks import Masks
from agentd.daemon.pressure import memory_events_of, pressure_of
from agentd.daemon.remains import Dead, core_of, pid_in_core
from agentd.daemon.socketpeers import descriptors_of
from agentd.daemon.stacks import Frame, parse_dump, parse_faulthandler

WAIT_S = 10.0


class Tree:
    """A tree of one process; `enumerate_s`: how long it takes to say who is in it."""

    cgroup = ""

    def __init__(self, pid: int, enumerate_s: float = 0.0) -> None:
        self.pid, self.enumerate_s = pid, enumerate_s

    async def members(self) -> dict[int, int]:
        await asyncio.sleep(self.enumerate_s)
        stat = procfs.stat_of(self.pid)
        return {self.pid: stat.start_time} if stat is not None else {}


class Desk:
    """`Diagnoses` on a real loop, and what it posts."""

    def __init__(self, logs: object = None) -> None:
        self.posted: list[Event] = []
        self.runs: dict[tuple[str, int], Any] = {}
        self.came = asyncio.Event()
        runs = SimpleNamespace(run_of=lambda agent, number: self.runs.get((agent, number)))

        def no_log(_agent: str) -> LogFile:
            raise FileNotFoundError

        files: Any = logs or SimpleNamespace(file=no_log, secrets=())
        self.diagnoses = Diagnoses(
            asyncio.get_running_loop(), self._post, runs, files, find_reader=lambda: ""
        )

    def _post(self, event: Event) -> None:
        self.posted.append(event)
        self.came.set()

    def run(self, process: "Sleeper", tree: Tree) -> None:
        stat = procfs.stat_of(process.pid)
        assert stat is not None
        identity = SimpleNamespace(start_time=stat.start_time)
        self.runs["a", 1] = SimpleNamespace(
            pid=process.pid, uid=0, identity=identity, tree=tree, is_frozen=False
        )

    async def answer(self, effect: Diagnose) -> Diagnosed:
        self.came.clear()
        self.diagnoses.diagnose(effect, None)
        await asyncio.wait_for(self.came.wait(), WAIT_S)
        found = self.posted.pop()
        assert isinstance(found, Diagnosed)
        return found


STALL = Diagnose("a", 1, "stall", 77, {"last_steps": ["one"]})


Sleeper = subprocess.Popen[bytes]


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


async def test_a_look_brings_back_what_was_seen_and_what_the_core_knew(sleeper: Sleeper) -> None:
    desk = Desk()
    desk.run(sleeper, Tree(sleeper.pid))
    seen = await desk.answer(STALL)
    assert (seen.agent, seen.incarnation, seen.kind, seen.asked_at_ms) == ("a", 1, "stall", 77)
    assert "clock_nanosleep" in seen.line
    assert seen.evidence["last_steps"] == ["one"]
    assert seen.evidence["state"] == "S (sleeping)"


async def test_one_that_is_gone_is_answered_for_at_once() -> None:
    seen = await Desk().answer(STALL)
    assert (seen.line, seen.evidence) == ("", {"last_steps": ["one"]})


async def test_a_look_that_takes_too_long_is_answered_with_what_was_found_by_then(
    sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "LOOK_S_MAX", 0.3)
    freed = threading.Event()

    def slow(_stalled: object, _until_s: float, findings: stall.Findings) -> None:
        findings.evidence["state"] = "S (sleeping)"
        freed.wait(WAIT_S)

    monkeypatch.setattr(stall, "examine", slow)
    desk = Desk()
    desk.run(sleeper, Tree(sleeper.pid))
    try:
        for _ in range(3):  # more than there are threads: who waits for one is answered, too
            seen = await desk.answer(STALL)
            assert "not over after 0.3 s" in str(seen.evidence["note"])
        assert seen.evidence["last_steps"] == ["one"]
    finally:
        freed.set()


async def test_a_tree_that_cannot_be_listed_in_time_is_answered_for(
    sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "LOOK_S_MAX", 0.2)
    desk = Desk()
    desk.run(sleeper, Tree(sleeper.pid, enumerate_s=60))
    seen = await desk.answer(STALL)
    assert "not over" in str(seen.evidence["note"])


async def test_a_fault_of_a_look_is_an_answer(
    sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(stall, "examine", broken)
    desk = Desk()
    desk.run(sleeper, Tree(sleeper.pid))
    seen = await desk.answer(STALL)
    assert "no luck" in str(seen.evidence["note"])


async def test_the_log_of_an_end_stops_where_the_next_run_begins(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    log = LogFile(folder, "a", 0)
    desk = Desk(SimpleNamespace(file=lambda _: log, secrets=(b"hunter2",)))
    file = tmp_path / "a.log"
    with file.open("a") as out:
        out.write("".join(f"last {number}\n" for number in range(30)) + "it is hunter2\n")
    desk.diagnoses.leader_ended("a", 1)
    desk.diagnoses.tree_empty("a", 1)
    with file.open("a") as out:
        out.write("the next run\n" * 50)
    seen = await desk.answer(Diagnose("a", 1, "death", 78, {"exit": {"code": 3}}))
    tail = seen.evidence["log_tail"]
    assert isinstance(tail, list)
    assert tail == [*(f"last {number}" for number in range(11, 30)), "it is ***"]
    assert seen.evidence["exit"] == {"code": 3}
    log.close()
    os.close(folder)


async def test_what_is_noted_of_ended_runs_is_bounded() -> None:
    desk = Desk()
    for number in range(diagnosis.ENDED_MAX + 10):
        desk.diagnoses.tree_empty("a", number)
    assert len(desk.diagnoses._ended) == diagnosis.ENDED_MAX


def test_a_log_that_was_trimmed_meanwhile_has_what_is_left(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    log = LogFile(folder, "a", 0)
    (tmp_path / "a.log").write_text("".join(f"line {number}\n" for number in range(5)))
    until = log.end()
    assert last_lines(log, until=until, lines=2) == ["line 3", "line 4"]
    assert last_lines(log, until=0) == []
    assert last_lines(log, until=until + 1_000, lines=1) == ["line 4"]
    log.close()
    os.close(folder)


def test_evidence_has_no_secret_of_the_config_in_it() -> None:
    masks = Masks()
    masks.hide(["hunter2"])
    saved = SaveEvidence(1, "a", "stall", {"stack": [{"frames": ["f (hunter2.py:1)"]}]})
    masked = masks.effect(saved)
    assert isinstance(masked, SaveEvidence)
    assert "hunter2" not in str(masked.evidence)


def dying(tmp_path: Path, pattern: str) -> Dead:
    """A process that ended by SIGSEGV and was allowed a core where `pattern` says."""

    def allow() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))

    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    process = subprocess.Popen([sys.executable, "-c", crash], cwd=tmp_path, preexec_fn=allow)  # noqa: PLW1509 - before exec, as ulimit is
    assert process.wait(WAIT_S) == -signal.SIGSEGV
    if not list(tmp_path.iterdir()):
        pytest.skip(f"no core is written here: core_pattern is {pattern!r}")
    return Dead(process.pid, os.getuid(), str(tmp_path), None, None, ())


def test_a_core_of_the_process_is_reported_and_no_others(tmp_path: Path) -> None:
    pattern = remains.CORE_PATTERN.read_text().strip()
    if pattern.startswith("|") or "/" in pattern:
        pytest.skip(f"core_pattern is {pattern!r}")
    dead = dying(tmp_path, pattern)
    assert Path(core_of(dead)).parent == tmp_path
    stranger = Dead(dead.pid + 1, dead.uid, dead.directory, None, None, ())
    assert core_of(stranger) == ""
    for file in tmp_path.iterdir():
        os.utime(file, (0, time.time() - 3_600))
    assert core_of(dead) == ""


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + b"\xff" * 200, b"#!/bin/sh\n" + b"x" * 100],
)
def test_what_is_no_core_names_nobody(raw: bytes) -> None:
    assert pid_in_core(raw) is None


def test_an_end_without_a_known_pid_has_no_core() -> None:
    assert core_of(Dead(0, 0, "/", None, None, ())) == ""


FAULTHANDLER = """noise
Thread 0x00007f2c (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait
  File "/srv/agent/pool.py", line 7 in work
more noise
Current thread 0x00007f2d (most recent call first):
  File "/usr/lib/python3.11/ssl.py", line 1383 in do_handshake
  File "/srv/agent/api_client.py", line 47 in call_api
  File "/srv/agent/main.py", line ??? in <module>
"""


def test_what_faulthandler_writes_is_read_with_the_main_thread_first() -> None:
    main, other = parse_faulthandler(FAULTHANDLER.splitlines())
    assert main.user_frame == Frame("call_api", "/srv/agent/api_client.py", 47)
    assert main.frames[0].is_library
    assert main.frames[-1].line == 0
    assert [frame.place for frame in other.frames] == ["threading.py:324", "pool.py:7"]
    assert parse_faulthandler(["Traceback", "  File x"]) == ()


NO_LINE = b'[{"frames": [{"name": "a", "filename": "b", "line": 1e400}]}]'


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[1]", b'[{"frames": 7}]', b'{"a": 1}', b"\xff", NO_LINE, b"[" * 99_999]
)
def test_what_is_no_dump_is_no_stack(raw: bytes) -> None:
    assert parse_dump(raw) == ()


def test_a_name_that_would_forge_a_line_is_escaped() -> None:
    raw = b'[{"frames": [{"name": "a\\nb", "filename": "/x\\u001b[2J.py", "line": 1}]}]'
    (thread,) = parse_dump(raw)
    assert thread.frames[0].function == "a\\nb"
    assert "\x1b" not in thread.frames[0].file


def test_sockets_are_named_with_their_peers() -> None:
    pairs: list[socket.socket] = []
    try:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            listener = socket.create_server((host, 0), family=family)
            caller = socket.create_connection(listener.getsockname()[:2])
            pairs += [listener, caller]
    except OSError as error:
        pytest.skip(f"no IPv6 on this loopback: {error}")
    found = descriptors_of(os.getpid()).sockets
    four, caller4, six, caller6 = (found[one.fileno()] for one in pairs)
    port4, port6 = pairs[0].getsockname()[1], pairs[2].getsockname()[1]
    assert (four.state, four.told) == ("listening", f"listening socket 127.0.0.1:{port4}")
    assert caller4.told == f"socket to 127.0.0.1:{port4}"
    assert six.local == f"[::1]:{port6}"
    assert caller6.told == f"socket to [::1]:{port6}"
    pairs[1].sendall(b"x" * 100)
    accepted, _ = pairs[0].accept()
    assert descriptors_of(os.getpid()).sockets[accepted.fileno()].recv_queue_bytes == 100
    for one in (*pairs, accepted):
        one.close()


def test_the_other_end_of_a_unix_socket_is_named(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "db.sock"))
    listener.listen()
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "print('connected', flush=True); s.recv(1)"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "db.sock")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        client.stdout.readline()
        accepted, _ = listener.accept()
        found = descriptors_of(client.pid).sockets.values()
        own = descriptors_of(os.getpid()).sockets[ours.fileno()]
        client.kill()
    if not own.peer:
        pytest.skip("this kernel has no unix_diag")
    assert [each.told for each in found] == [f"unix socket to {tmp_path}/db.sock"]
    assert own.peer == f"its own fd {theirs.fileno()}"
    for one in (ours, theirs, listener, accepted):
        one.close()


def test_a_socket_that_is_in_no_table_is_named_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socketpeers, "_rows", lambda *_: iter(()))
    with socket.socket() as one:
        assert descriptors_of(os.getpid()).sockets[one.fileno()].kind == "socket"


@pytest.mark.root
def test_what_may_not_be_read_is_said_not_to_be_permitted(sleeper: Sleeper) -> None:
    """A daemon without privileges that looks at another user's process."""
    script = (
        "import os, sys, time, json; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
        "from agentd.daemon import procfs, stall; pid = int(sys.argv[1]); "
        "start = procfs.stat_of(pid).start_time; found = stall.Findings(); "
        "who = stall.Stalled(pid, start, {pid: start}, None, None, (), '', 0, lambda: False); "
        "stall.examine(who, time.monotonic() + 2.5, found); "
        "print(json.dumps([found.line, found.evidence]))"
    )
    words = [sys.executable, "-c", f"import agentd.daemon.stall; {script}", str(sleeper.pid)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    line, evidence = json.loads(done.stdout)
    assert evidence["syscall"] == "not permitted"
    assert evidence["wchan"] == "not permitted"
    assert evidence["sockets"] == ["not permitted"]
    assert evidence["io_bytes"] == "not permitted"
    assert re.match(r"in state S \(its system call: not permitted\), CPU 0 %", line), line


def test_pressure_and_memory_events_are_read_where_there_are_any(tmp_path: Path) -> None:
    (tmp_path / "memory.pressure").write_text(
        "some avg10=1.50 avg60=0.50 avg300=0.10 total=4200\n"
        "full avg10=0.50 avg60=0.00 avg300=0.00 total=42\n"
    )
    (tmp_path / "cpu.stat").write_text("usage_usec 5\nnr_throttled 3\nthrottled_usec 900\n")
    (tmp_path / "memory.events").write_text("high 0\noom 1\noom_kill 2\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("4096\n")
    pressure = pressure_of(tmp_path)
    assert pressure["memory"] == {
        "some": {"avg10": 1.5, "avg60": 0.5, "total": 4200.0},
        "full": {"avg10": 0.5, "avg60": 0.0, "total": 42.0},
    }
    assert pressure["throttling"] == {"nr_throttled": 3, "throttled_usec": 900}
    assert "io" not in pressure
    events = {"high": 0, "oom": 1, "oom_kill": 2, "current_bytes": 4096}
    assert memory_events_of(tmp_path) == events
    assert memory_events_of(None) == {}


@pytest.mark.parametrize(
    ("reader", "capabilities", "scope", "why"),
    [
        ("", 1 << 19, b"0", "py-spy is not installed"),
        ("/bin/py-spy", 1 << 19, b"1", ""),
        ("/bin/py-spy", 0, b"0", ""),
        ("/bin/py-spy", 0, b"1", "ptrace_scope is 1"),
        ("/bin/py-spy", 0, None, ""),
    ],
)
def test_it_is_said_why_stacks_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, reader: str, capabilities: int, scope: bytes | None, why: str
) -> None:
    monkeypatch.setattr(diagnosis.procfs, "cap_effective", lambda: capabilities)
    monkeypatch.setattr(diagnosis.procfs, "read", lambda _: scope)
    told = why_no_stacks(reader)
    assert (why in told) if why else not told
