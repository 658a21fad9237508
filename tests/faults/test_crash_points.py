"""kill -9 at each step of an action and of a checkpoint, enumerated: of the agent, of the daemon.

What was acknowledged is never lost, what was not sent is never shown as done. The daemon is
killed at each of its system calls that write to the disk or to a socket, until it survives
the agent's whole script. `make test` takes every seventh write to the disk, `make test-crash` all.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.daemon.harness import PYTHON, WAIT_S, Document
from tests.faults.forked import ForkedDaemon, ForkServer
from tests.faults.guard import PROGRAMS
from tests.places import short_root

STRACE = shutil.which("strace")
STRIDE = int(os.environ.get("AGENTD_CRASH_STRIDE", "7"))
POINTS_MAX = 400
DETACH_S = 3.0
# The thread of the store writes to the disk, that of the loop to sockets.
DISK = "pwrite64,fdatasync"
SOCKETS = "sendto,sendmsg,write"


@dataclass
class Told:
    """What a worker has written down."""

    sent: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    deeds: list[str] = field(default_factory=list)

    def puts(self, words: list[str]) -> list[list[int]]:
        """The states of these puts, in order."""
        states = [word.removeprefix("put ") for word in words if word.startswith("put ")]
        return [[int(part) for part in state.split(".")] for state in states]


class Bench:
    """A daemon, one worker, and the place where it writes things down."""

    def __init__(self, root: Path, server: ForkServer) -> None:
        self.daemon = ForkedDaemon(root, server)
        self.place = root / "place"
        self.place.mkdir()
        self.round = 0
        words = [PYTHON, "-S", str(PROGRAMS / "worker.py"), str(self.place)]
        policy = '[heartbeat]\nrequired = false\n[restart]\npolicy = "never"'
        self.daemon.agent("a", words, f"autostart = false\n{policy}")

    def told(self) -> Told:
        told = Told()
        for kind, what, *rest in map(json.loads, self._lines("notes")):
            assert kind != "refused", (what, rest)
            (told.sent if kind == "sent" else told.answered).append(what)
        told.deeds = [json.loads(line) for line in self._lines("deeds")]
        return told

    def found(self) -> Document:
        """What the last run was told when it asked first."""
        document: Document = json.loads(self._lines("found")[-1])
        return document

    def _lines(self, name: str) -> list[str]:
        path = self.place / name
        return path.read_text().splitlines() if path.exists() else []

    def begin(self) -> None:
        """Start the worker, and wait until it has dealt with the past."""
        self.round += 1
        (self.place / "go").unlink(missing_ok=True)
        before = len(self._lines("found"))
        self.daemon.ask("start", select=["a"])
        self.daemon.until_true(lambda: len(self._lines("found")) > before)

    def go(self) -> None:
        fresh = self.place / "go.new"
        fresh.write_text(str(self.round))
        fresh.rename(self.place / "go")

    def await_down(self) -> None:
        self.daemon.until(
            "a", lambda s: s["pid"] is None and s["state"] in ("stopped", "completed")
        )

    def shown(self) -> tuple[set[str], list[int] | None]:
        """What an operator sees: keys in flight, and the last state."""
        [agent] = self.daemon.ask("checkpoints", select=["a"])["agents"]
        [kept] = self.daemon.ask("checkpoints", select=["a"], state=True)["agents"]
        keys = {action["key"] for action in agent["unfinished"]}
        assert self.daemon.status("a")["unfinished_actions"] == len(keys)
        return keys, kept["state"]["at"] if kept["state"] is not None else None

    def check(self, story: object) -> None:
        """What is shown fits what the worker knows."""
        told, (keys, state) = self.told(), self.shown()
        self._check_actions(told, keys, story)
        sent, answered = told.puts(told.sent), told.puts(told.answered)
        if answered:
            assert state is not None, (story, "no state, and one was acknowledged", told)
            assert state >= answered[-1], (story, state, answered[-1])
        assert state is None or state in sent, (story, state, sent)

    def _check_actions(self, told: Told, keys: set[str], story: object) -> None:
        for number in range(1, self.round + 1):
            key = f"deed:{number}"
            begun, ended = f"intent {key}", f"done {key}"
            if begun in told.answered and ended not in told.sent:
                assert key in keys, (story, "an acknowledged intent is lost", key, keys)
            if ended in told.answered or begun not in told.sent:
                assert key not in keys, (story, "shown in flight, and it is not", key, keys)
            if key in told.deeds:
                assert key in keys or ended in told.sent, (story, "a deed nobody knows of", key)


@pytest.fixture
def bench(fork_server: ForkServer) -> Iterator[Bench]:
    with short_root() as root:
        bench = Bench(root, fork_server)
        try:
            yield bench
        finally:
            bench.daemon.close()


@pytest.mark.timeout(180)
def test_the_agent_is_killed_at_each_step_of_an_action_and_of_a_checkpoint(bench: Bench) -> None:
    bench.daemon.start()
    for point in range(POINTS_MAX):
        (bench.place / "die").write_text(str(point))
        before = bench.told()
        bench.round += 1
        bench.go()
        bench.daemon.ask("start", select=["a"])
        bench.await_down()
        bench.check(f"step {point}")
        keys, state = bench.shown()
        (bench.place / "die").unlink()
        bench.begin()
        found = bench.found()
        assert {action["key"] for action in found["unfinished"]} == keys, point
        assert (found["state"] or {}).get("at") == state, point
        bench.go()
        bench.await_down()
        bench.check(f"after step {point}")
        assert bench.shown()[0] == set()
        if bench.told().sent[len(before.sent) :].count("end") == 2:
            break  # it lived to the end of its script
    else:
        raise AssertionError("the script has no end")
    told = bench.daemon.events("a", "action.unfinished")
    assert told, "some run must have ended between an intent and its end"
    assert all(one["severity"] == "critical" for one in told if "discarded" not in one["message"])


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("calls", "stride"), [(DISK, STRIDE), (SOCKETS, 1)], ids=["disk", "sockets"]
)
def test_g2_inv10_the_daemon_is_killed_at_each_system_call_of_them(
    bench: Bench, calls: str, stride: int
) -> None:
    daemon = bench.daemon
    daemon.start()
    killed = 0
    for point in range(1, POINTS_MAX, stride):
        bench.begin()
        with Tracer(daemon.pid, calls, point) as tracer:
            if not tracer.attached:
                pytest.skip(f"no process may be traced here: {tracer.said}")
            bench.go()
            if not died(bench):
                break
        killed += 1
        keys_known = bench.told()
        daemon.start()
        bench.await_down()
        bench.check((calls, point, daemon.log()[-500:]))
        assert keys_known.sent == bench.told().sent
    else:
        raise AssertionError("it never survived")
    assert killed > 1, "nothing was ever hit"
    bench.await_down()
    bench.check((calls, "survived"))


def died(bench: Bench) -> bool:
    """Wait until the daemon is dead, or the worker has done all of its script."""
    process = bench.daemon.process
    assert process is not None
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            assert process.returncode == -signal.SIGKILL, bench.daemon.log()
            return True
        if bench.told().sent[-1:] == ["end"]:
            return False
        time.sleep(0.01)
    raise AssertionError(f"neither dead nor done: {bench.told()}\n{bench.daemon.log()}")


class Tracer:
    """strace on a living daemon, which it kills at the nth of these calls of a thread."""

    def __init__(self, pid: int, calls: str, when: int) -> None:
        assert STRACE is not None
        inject = f"inject={calls}:signal=SIGKILL:when={when}"
        words = [STRACE, "-f", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject]
        self._process = subprocess.Popen(
            [*words, "-p", str(pid)], stderr=subprocess.PIPE, text=True
        )
        self.said = ""

    @property
    def attached(self) -> bool:
        """Wait until it says so, for all threads that there are."""
        assert self._process.stderr is not None
        self.said = self._process.stderr.readline()
        return "attached" in self.said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Detach. strace may wait for ever for a thread that ends meanwhile; killed, it lets go."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=DETACH_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate(timeout=WAIT_S)
