"""The connection: drops, reconnection, forks, threads, signals."""

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import agentd
from agentd.sdk import link
from agentd.sdk.link import QUEUE_BYTES_MAX
from tests.sdk.daemons import DaemonProcess, FakeDaemon, until

REPOSITORY = Path(__file__).parents[2]


def beat_until(met: Callable[[], bool]) -> None:
    """Beat until something is so; the daemon has to be found again between two beats."""
    until(lambda: agentd.heartbeat(task="again") or met())


def test_lines_wait_for_a_daemon_that_comes_later(path: Path) -> None:
    for number in range(5):
        agentd.heartbeat(task=f"t{number}")
    assert not link.LINK.connected
    with FakeDaemon(path) as daemon:
        beat_until(lambda: link.LINK.connected)
        tasks = [line["task"] for line in daemon.wait(count=6)]
    assert tasks[:5] == [f"t{number}" for number in range(5)]
    assert daemon.lines[0]["type"] == "hello"


def test_a_restarted_daemon_is_found_again_and_told_who_speaks(path: Path) -> None:
    with FakeDaemon(path) as daemon:
        agentd.goal("all tickets")
        agentd.heartbeat(task="before")
        daemon.wait()
    for _ in range(20):
        agentd.heartbeat(task="between")
    with daemon:
        beat_until(lambda: any(line.get("task") == "again" for line in daemon.lines))
        assert len(daemon.of("hello")) == 2
        assert sum(line.get("goal") == "all tickets" for line in daemon.lines) >= 1


def test_attempts_to_connect_keep_their_distance(path: Path) -> None:
    tried = 0

    class Counting(link.Socket):
        def connect(self, address: object) -> None:
            nonlocal tried
            tried += 1
            super().connect(address)

    real, link.Socket = link.Socket, Counting
    try:
        for _ in range(2000):
            agentd.heartbeat()
    finally:
        link.Socket = real
    assert 1 <= tried <= 5
    assert not path.exists()


def test_b11_a_stopped_daemon_costs_the_oldest_lines_and_the_agent_hears_of_it(
    path: Path,
) -> None:
    with DaemonProcess(path) as daemon:
        agentd.heartbeat()
        daemon.stop()
        for number in range(5000):
            agentd.heartbeat(task=f"t{number}")
        here = link.LINK
        assert here._bytes[link.BEAT] <= QUEUE_BYTES_MAX
        assert json.loads(here._queue[-1].line)["task"] == "t4999"
        told = sum(entry.drops for entry in here._queue) + here.dropped
        numbers = [int(json.loads(entry.line)["task"][1:]) for entry in here._queue[1:]]
        assert numbers == list(range(numbers[0], 5000))  # the newest, none left out
        assert told > 2000
        daemon.go_on()
        until(lambda: agentd.control() is not None or not here._queue)


def test_every_line_arrives_or_is_counted(path: Path) -> None:
    """Nobody reads for a while: what comes after and what is told as dropped make the whole."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        sent = 6000
        for number in range(sent):
            agentd.heartbeat(task=f"t{number}")
        peer, _ = listener.accept()
        peer.setblocking(False)
        data = bytearray()

        def read() -> bool:
            try:
                data.extend(peer.recv(1 << 20))
            except BlockingIOError:
                link.LINK.turn()
            return not link.LINK._queue

        until(read)
        agentd.heartbeat(task="last")
        until(lambda: not read() or b'"last"' in data)
        peer.close()
    lines = [json.loads(raw) for raw in bytes(data).splitlines()]
    beats = [line for line in lines if "type" not in line]
    dropped = sum(line.get("dropped", 0) for line in beats)
    assert dropped > 0
    assert len(beats) + dropped == sent + 1
    assert [line["seq"] for line in beats] == sorted(line["seq"] for line in beats)


def test_a_line_that_was_sent_in_part_is_sent_whole_to_the_next_daemon(path: Path) -> None:
    state = "x" * 900_000  # more than a socket takes that nobody reads
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert not agentd.checkpoint(state, timeout_s=0)
        assert link.LINK._offset > 0
    path.unlink()
    with FakeDaemon(path) as daemon:
        beat_until(lambda: bool(daemon.of("hello")) and not link.LINK._queue)
        assert daemon.wait("checkpoint.put")[0]["state"] == state


def test_a_line_put_while_another_is_being_sent_leaves_in_the_same_turn(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a signal handler, or another thread, just after the queue was looked at."""
    here = link.LINK
    send = link.Link._send
    interruptions = iter([True])

    def interrupted(self: link.Link) -> None:
        send(self)
        if next(interruptions, False):
            agentd.heartbeat(task="handler")

    monkeypatch.setattr(link.Link, "_send", interrupted)
    agentd.heartbeat(task="loop")
    assert not here._inbox
    assert [line["task"] for line in daemon.wait(count=2)] == ["loop", "handler"]


def test_a_killed_daemon_is_no_signal_and_no_error(path: Path) -> None:
    """SIGPIPE would end the process if a send asked for it."""
    code = (
        "import signal, sys, agentd\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "agentd.heartbeat(); print('beat', flush=True); sys.stdin.readline()\n"
        "for _ in range(1000): agentd.heartbeat(task='x' * 1000)\n"
        "print('alive', flush=True)\n"
    )
    with DaemonProcess(path) as daemon:
        agent = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert agent.stdout is not None
        assert agent.stdout.readline() == "beat\n"
        daemon.kill()
        out, err = agent.communicate("\n", timeout=30)
    assert (agent.returncode, out, err) == (0, "alive\n", "")


def test_a_forked_child_speaks_over_a_connection_of_its_own(daemon: FakeDaemon) -> None:
    agentd.heartbeat(task="parent")
    agentd.report(success=True)
    daemon.wait()
    child = os.fork()
    if child == 0:  # nothing of the test may go on in here
        agentd.heartbeat(task="child")
        os._exit(0 if link.LINK.connected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    agentd.heartbeat(task="parent")
    lines = daemon.wait(count=3)
    assert daemon.connections == 2
    assert len(daemon.of("hello")) == 2
    (of_child,) = [line for line in lines if line["task"] == "child"]
    assert "successes" not in of_child  # what the parent reported is the parent's to tell
    assert "off_thread" not in of_child
    assert sum(line.get("successes", 0) for line in lines) == 1


def test_lines_that_wait_at_a_fork_are_sent_once(path: Path) -> None:
    agentd.heartbeat(task="waiting")
    child = os.fork()
    if child == 0:
        os._exit(len(link.LINK._queue))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(link.LINK._queue) == 1
    assert not path.exists()


def test_a_fork_while_another_thread_speaks_does_not_hang(daemon: FakeDaemon) -> None:
    done = threading.Event()

    def chatter() -> None:
        while not done.is_set():
            agentd.heartbeat()

    agentd.heartbeat()
    thread = threading.Thread(target=chatter)
    thread.start()
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=lambda: agentd.heartbeat(task="child")) for _ in range(20)]
    for child in children:
        child.start()
    for child in children:
        child.join(15)
    done.set()
    thread.join(15)
    assert [child.exitcode for child in children] == [0] * 20
    until(lambda: sum(line.get("task") == "child" for line in daemon.of(None)) == 20)


def test_threads_speak_over_one_connection_and_no_line_is_lost_or_torn(daemon: FakeDaemon) -> None:
    def work(name: str) -> None:
        for number in range(300):
            agentd.heartbeat(task=f"{name}-{number}")

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    link.LINK.turn()
    until(lambda: link.LINK.turn() or not link.LINK._queue)
    lines = daemon.wait(count=1200)
    assert link.LINK.dropped == sum(line.get("dropped", 0) for line in lines) == 0
    for n in range(4):
        of_one = [line["task"] for line in lines if line["task"].startswith(f"w{n}")]
        assert of_one == [f"w{n}-{number}" for number in range(300)]
    assert daemon.connections == 1


def test_a_beat_in_a_signal_handler_interrupts_a_beat(daemon: FakeDaemon) -> None:
    handled = 0

    def on_alarm(_signum: int, _frame: object) -> None:
        nonlocal handled
        handled += 1
        agentd.heartbeat(task="handler")
        agentd.report(success=True)

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        until(lambda: agentd.heartbeat(task="loop") or handled > 200)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    agentd.heartbeat(task="end")
    until(lambda: link.LINK.turn() or not link.LINK._queue)
    until(lambda: any(line.get("task") == "end" for line in daemon.of(None)))
    lines = daemon.of(None)
    dropped = sum(line.get("dropped", 0) for line in lines)
    assert sum(line["task"] == "handler" for line in lines) + dropped >= handled
    assert sum(line.get("successes", 0) for line in lines) + link.LINK.dropped <= handled


async def test_contexts_of_many_tasks_do_not_mix(daemon: FakeDaemon) -> None:
    async def work(number: int) -> None:
        async with agentd.call(f"op{number}", model=f"m{number}") as call:
            async with agentd.step(f"s{number}", args=str(number)) as step:
                await asyncio.sleep(0.001 * (number % 5))
                step.output(f"out {number}" * 30)
            call.usage(input_tokens=number)

    await asyncio.gather(*(work(number) for number in range(1, 51)))
    ends = [line for line in daemon.wait("call", 100) if line["phase"] == "end"]
    assert len({line["call"] for line in ends}) == 50
    for line in ends:
        number = int(line["op"][2:])
        assert (line["model"], line["usage"]["input_tokens"]) == (f"m{number}", number)
    assert {line["step"] for line in daemon.wait("step", 50)} == {f"s{n}" for n in range(1, 51)}


@pytest.mark.parametrize(
    "said",
    [
        *(b"\n", b"nonsense\n", b"[1]\n", b'{"id":7}\n', b'{"id":"1","ok":1}\n', b"\xff\xfe\n"),
        *(b'{"type":"control"}\n', b'{"type":"control","action":[1]}\n', b"[" * 100_000 + b"\n"),
        b'{"ok":false,"error":{"code":"forbidden","message":"the token is not good here"}}\n',
    ],
)
def test_whatever_the_daemon_says_does_no_harm(daemon: FakeDaemon, said: bytes) -> None:
    agentd.heartbeat()
    daemon.wait()
    daemon._peers[0].sendall(said)
    daemon.say(action="steer")
    until(lambda: (agentd.control() or {}).get("action") == "steer")
    assert agentd.checkpoint({}, timeout_s=30)


def test_a_daemon_that_never_ends_a_line_is_left(daemon: FakeDaemon) -> None:
    agentd.heartbeat()
    daemon.wait()
    peer = daemon._peers[0]

    def babble() -> None:
        try:
            while True:
                peer.sendall(b"x" * (1 << 16))
        except OSError:
            return

    babbling = threading.Thread(target=babble, daemon=True)
    babbling.start()
    until(lambda: agentd.heartbeat() or not babbling.is_alive())
    assert len(link.LINK._read) <= 2 * link.LINE_BYTES_MAX + (1 << 16)


def test_stacks_are_dumped_where_the_agent_allowed_it(path: Path) -> None:
    code = (
        "import agentd, os, signal, sys, time\n"
        "def where_it_is_stuck():\n"
        "    print('here', flush=True); time.sleep(60)\n"
        "print(agentd.allow_stack_dump(), agentd.allow_stack_dump(signal.SIGKILL), flush=True)\n"
        "signal.signal(signal.SIGUSR2, lambda *_: None)\n"
        "print(agentd.allow_stack_dump(signal.SIGUSR2), flush=True)\n"
        "where_it_is_stuck()\n"
    )
    with FakeDaemon(path) as daemon:
        agent = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert agent.stdout is not None
        assert agent.stderr is not None
        assert [agent.stdout.readline() for _ in range(3)] == ["True False\n", "False\n", "here\n"]
        agent.send_signal(signal.SIGUSR1)
        while "where_it_is_stuck" not in (line := agent.stderr.readline()):
            assert line
        agent.kill()
        agent.communicate(timeout=15)
        assert any(line.get("stack_signal") == signal.SIGUSR1 for line in daemon.wait("hello", 1))
