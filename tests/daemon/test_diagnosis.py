"""Real processes that are stuck in the ways agents get stuck, and what a look at them says.

Each look is made twice where that says something: with py-spy, and as if it were not installed.
"""

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from agentd.daemon import procfs, stacks, syscalls
from agentd.daemon.logs import LogFile
from agentd.daemon.stall import Findings, Stalled, examine
from tests.daemon.stuck_programs import STUCK

LOOK_S = 2.5
WAIT_S = 15.0
Look = Callable[..., Findings]


def until(seen: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not seen():
        assert time.monotonic() < end, f"not within {WAIT_S} s: {what}"
        time.sleep(0.01)


@dataclass
class Agent:
    """A program in a session of its own, whose output is a log as an agent's is."""

    process: "subprocess.Popen[bytes]"
    log: LogFile

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stat(self) -> procfs.Stat:
        found = procfs.stat_of(self.pid)
        assert found is not None
        return found

    def members(self) -> dict[int, int]:
        census = procfs.census_now()
        pids = census.descendants([self.pid]) & census.stats.keys()
        return {pid: census.stats[pid].start_time for pid in pids}

    def stalled(self, reader: str, stack_signal: int = 0) -> Stalled:
        return Stalled(
            pid=self.pid,
            start_time=self.stat.start_time,
            members=self.members(),
            cgroup=None,
            log=self.log,
            secrets=(),
            reader=reader,
            stack_signal=stack_signal,
            is_frozen=lambda: False,
        )

    def look(self, reader: str = "", stack_signal: int = 0) -> Findings:
        findings = Findings()
        examine(self.stalled(reader, stack_signal), time.monotonic() + LOOK_S, findings)
        return findings


Starter = Callable[..., Agent]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Start a program from its text, under the name api_client.py, and wait until it says so."""
    running: list[Agent] = []
    numbers = itertools.count()
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)

    def begin(text: str, *words: str) -> Agent:
        number = next(numbers)
        home = tmp_path / str(number)
        home.mkdir()
        program = home / "api_client.py"
        program.write_text(dedent(text))
        log = LogFile(folder, f"agent{number}", 0)
        out = log.child_fd()
        command = [sys.executable, "-u", str(program), *words]
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        os.close(out)
        running.append(Agent(process, log))
        until(lambda: "ready" in (tmp_path / log.name).read_text(), "ready")
        return running[-1]

    yield begin
    for agent in running:
        for pid in agent.members():
            with contextlib.suppress(ProcessLookupError):  # it went with its parent
                os.kill(pid, signal.SIGKILL)
        agent.process.wait(WAIT_S)
        agent.log.close()
    os.close(folder)


@pytest.fixture
def silent_peer() -> Iterator[str]:
    """A port of loopback where connections are accepted and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


READER = stacks.find_reader()
with_py_spy = pytest.mark.skipif(not READER, reason="py-spy is not installed (extra: stacks)")

HANDSHAKE = """
    import socket, ssl, sys

    def call_api(port):
        raw = socket.create_connection(("127.0.0.1", port))
        context = ssl.create_default_context()
        print("ready")
        return context.wrap_socket(raw, server_hostname="api.example")  # here it hangs

    call_api(int(sys.argv[1]))
"""
HANGS_IN_LINE = (
    HANDSHAKE.split("\n").index(
        '        return context.wrap_socket(raw, server_hostname="api.example")  # here it hangs'
    )
    + 1
)


def in_a_call(agent: Agent, *names: str) -> None:
    """Wait until its main thread is where the test wants it."""
    until(lambda: procfs.wait_channel(agent.pid) in names or not names, f"wait channel {names}")


@with_py_spy
def test_b1_a_hung_handshake_names_function_file_line_and_peer(
    start: Starter, silent_peer: str
) -> None:
    agent = start(HANDSHAKE, silent_peer)
    until(lambda: agent.stat.state == "S", "asleep")
    seen = agent.look(READER)
    expected = f"in do_handshake (api_client.py:{HANGS_IN_LINE}), socket to 127.0.0.1:{silent_peer}"
    assert seen.line.startswith(expected), seen.line
    evidence = seen.evidence
    (thread,) = evidence["stack"]
    assert thread["frames"][0].startswith("SSLSocket.do_handshake (")
    assert any("call_api (" in frame for frame in thread["frames"])
    assert evidence["stack_source"] == "py-spy"
    (peer,) = evidence["sockets"]
    assert (peer["peer"], peer["state"]) == (f"127.0.0.1:{silent_peer}", "established")
    assert peer["recv_queue_bytes"] == 0
    assert evidence["cpu_s"] <= 0.05
    assert evidence["log_tail"] == ["ready"]


def test_b1_without_py_spy_a_hung_handshake_names_call_wait_channel_and_peer(
    start: Starter, silent_peer: str
) -> None:
    agent = start(HANDSHAKE, silent_peer)
    until(lambda: agent.stat.state == "S", "asleep")
    seen = agent.look(reader="")
    expected = rf"in read \(wait channel \w+\), socket to 127\.0\.0\.1:{silent_peer}, CPU \d %"
    assert re.match(expected, seen.line), seen.line
    assert re.match(r"read\(fd \d+\)", seen.evidence["syscall"])
    assert seen.evidence["wchan"]
    assert seen.evidence["stack"] == []
    assert "not installed" in seen.evidence["stack_error"]


def test_one_that_stopped_itself_is_in_a_call_with_a_name(tmp_path: Path) -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path) as process:
        try:
            until(lambda: getattr(procfs.stat_of(process.pid), "state", "") == "T", "stopped")
            call = syscalls.call_of(process.pid, process.pid)
        finally:
            process.kill()
    assert call is not None
    assert call.name in ("kill", syscalls.NOT_PERMITTED)


@pytest.mark.parametrize("stack_signal", [signal.SIGUSR1, signal.SIGUSR2])
def test_an_agent_that_allowed_it_is_asked_for_its_stack(
    start: Starter, silent_peer: str, stack_signal: signal.Signals
) -> None:
    """What `agentd.allow_stack_dump()` does, for where py-spy may not look."""
    allow = f"import faulthandler; faulthandler.register({int(stack_signal)})"
    agent = start(f"{allow}\n{dedent(HANDSHAKE)}", silent_peer)
    until(lambda: agent.stat.state == "S", "asleep")
    seen = agent.look(reader="", stack_signal=stack_signal)
    in_line = HANGS_IN_LINE + 1
    expected = f"in do_handshake (api_client.py:{in_line}), socket to 127.0.0.1:{silent_peer}"
    assert seen.line.startswith(expected), seen.line
    assert seen.evidence["stack_source"] == "faulthandler"
    assert "stack_error" not in seen.evidence
    assert agent.process.poll() is None


@pytest.mark.parametrize("stack_signal", [signal.SIGUSR1, signal.SIGKILL, 999])
def test_no_signal_is_sent_that_the_agent_does_not_handle(
    start: Starter, silent_peer: str, stack_signal: int
) -> None:
    agent = start(HANDSHAKE, silent_peer)
    seen = agent.look(reader="", stack_signal=stack_signal)
    assert "socket to" in seen.line
    assert "stack_source" not in seen.evidence
    assert agent.process.poll() is None


@pytest.mark.parametrize("kind", STUCK)
def test_where_an_agent_waits_is_named_without_py_spy(start: Starter, kind: str) -> None:
    text, _, expected = STUCK[kind]
    agent = start(text)
    until(lambda: agent.stat.state == "S", "asleep")
    seen = agent.look(reader="")
    assert re.match(expected, seen.line), seen.line


@with_py_spy
@pytest.mark.parametrize("kind", STUCK)
def test_where_an_agent_waits_is_named_with_its_line(start: Starter, kind: str) -> None:
    text, expected, _ = STUCK[kind]
    agent = start(text)
    until(lambda: agent.stat.state == "S", "asleep")
    seen = agent.look(READER)
    assert re.match(expected, seen.line), seen.line


@pytest.mark.parametrize("reader", ["", pytest.param(READER, marks=with_py_spy)])
def test_b2_one_that_spins_shows_its_cpu_and_its_line(start: Starter, reader: str) -> None:
    agent = start("""
        def spin():
            print("ready")
            while True:
                pass
        spin()
    """)
    # Of a core that it shares with whatever else runs here: what it got, it used.
    seen = agent.look(reader)
    where = r"spin \(api_client.py:[45]\)" if reader else "a computation"
    assert re.match(rf"in {where}, CPU \d+ %", seen.line), seen.line
    assert seen.evidence["cpu_percent"] > 10
    assert seen.evidence["state"].startswith("R")


@pytest.mark.parametrize("reader", ["", pytest.param(READER, marks=with_py_spy)])
def test_one_that_was_stopped_is_said_to_be_and_stays_so(start: Starter, reader: str) -> None:
    agent = start("""
        import time
        print("ready")
        time.sleep(600)
    """)
    os.kill(agent.pid, signal.SIGSTOP)
    until(lambda: agent.stat.state == "T", "stopped")
    seen = agent.look(reader)
    assert "stopped by a signal" in seen.line, seen.line
    assert seen.evidence["state"] == "T (stopped by a signal)"
    assert agent.stat.state == "T"


@pytest.mark.parametrize("reader", ["", pytest.param(READER, marks=with_py_spy)])
def test_a_child_that_holds_it_up_is_looked_at_too(
    start: Starter, silent_peer: str, reader: str
) -> None:
    agent = start(
        """
        import subprocess, sys
        child = '''
        import socket, sys
        peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        print("ready", flush=True)
        peer.recv(1)
        '''
        lines = "\\n".join(line.strip() for line in child.splitlines())
        subprocess.run([sys.executable, "-c", lines, sys.argv[1]])
        """,
        silent_peer,
    )
    until(lambda: agent.stat.state == "S", "asleep")
    seen = agent.look(reader)
    (child,) = [pid for pid in agent.members() if pid != agent.pid]
    call = "recv" if reader else "recvfrom"
    assert re.search(rf", child {child} \([\w.-]+\) in {call} \(", seen.line), seen.line
    assert f"socket to 127.0.0.1:{silent_peer}" in seen.line
    (told,) = seen.evidence["children"]
    assert (told["pid"], told["parent"]) == (child, agent.pid)
    assert told["state"] == "S (sleeping)"


def test_an_agent_that_is_only_slow_is_not_harmed_by_being_looked_at(start: Starter) -> None:
    """Twenty looks, and it beats as often as without them; it is neither stopped nor ended."""
    agent = start("""
        import sys, time
        print("ready")
        while True:
            time.sleep(0.01)
            sys.stdout.write("beat\\n")
    """)

    def beats_during(deed: Callable[[], None]) -> float:
        begin, begun_s = agent.log.end(), time.monotonic()
        deed()
        return (agent.log.end() - begin) / (time.monotonic() - begun_s)

    def look_twenty_times() -> None:
        for _ in range(20):
            examine(agent.stalled(READER), time.monotonic() + 0.45, Findings())
            assert agent.stat.state not in "tT"

    look_s = 4.0
    before = beats_during(lambda: time.sleep(look_s))
    during = beats_during(look_twenty_times)
    after = beats_during(lambda: time.sleep(look_s))
    assert during > 0.5 * min(before, after), (before, during, after)
    assert agent.process.poll() is None
    assert agent.stat.state in "SR"


def test_a_reader_that_hangs_costs_no_more_than_its_time(start: Starter, tmp_path: Path) -> None:
    hangs = tmp_path / "py-spy"
    hangs.write_text("#!/bin/sh\nexec sleep 600\n")
    hangs.chmod(0o755)
    agent = start("import time\nprint('ready')\ntime.sleep(600)\n")
    begun_s = time.monotonic()
    seen = agent.look(str(hangs))
    assert time.monotonic() - begun_s < LOOK_S + 1
    assert "clock_nanosleep" in seen.line or "select" in seen.line, seen.line
    assert seen.evidence["stack_error"] == "py-spy took too long"


def test_a_reader_that_leaves_it_stopped_is_undone(start: Starter, tmp_path: Path) -> None:
    stops = tmp_path / "py-spy"
    stops.write_text('#!/bin/sh\nfor last; do :; done\nkill -STOP "$last"\nsleep 0.1\nexit 1\n')
    stops.chmod(0o755)
    agent = start("import time\nprint('ready')\ntime.sleep(600)\n")
    agent.look(str(stops))
    until(lambda: agent.stat.state == "S", "let go again")


def test_somebody_elses_process_of_the_same_pid_is_not_looked_at(start: Starter) -> None:
    agent = start("import time\nprint('ready')\ntime.sleep(600)\n")
    stalled = agent.stalled("")
    findings = Findings()
    stranger = Stalled(
        **{name: getattr(stalled, name) for name in stalled.__slots__}
        | {"start_time": stalled.start_time - 1}
    )
    examine(stranger, time.monotonic() + LOOK_S, findings)
    assert findings.line == ""
    assert findings.evidence == {"note": "it was gone before it was looked at"}


def test_the_tail_of_a_log_is_short_and_harmless(start: Starter) -> None:
    agent = start("""
        import time
        for number in range(100):
            print("line", number)
        print("\\x1b[31mred", "x" * 2_000)
        print("ready")
        time.sleep(600)
    """)
    tail = agent.look().evidence["log_tail"]
    assert len(tail) == 20
    assert tail[0] == "line 82"
    assert tail[-2].startswith("\\x1b[31mred xxx")
    assert len(tail[-2]) == 500
    assert tail[-1] == "ready"
