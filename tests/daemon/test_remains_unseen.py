"""What a dead leader left may be another process before a look at all of them is over.

One such look proves nothing where an earlier daemon's orphans aren't ours and no control group
tells; whether it does is said, and doubt is no proof of an end.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agentd.core.records import Durable
from agentd.core.states import State
from agentd.daemon import adoption, procfs
from agentd.daemon.adoption import Found, Scan
from agentd.store.rows import SpawnEnded, SpawnRow
from tests.daemon.recoveries import ROW, recovery_of

SLEEPER = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
GONE = Found("gone", "nobody saw how it ended")


class Vanishing:
    """Processes that end just as their environment is to be read, some of them."""

    def __init__(self, number: int, *, sessions: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = number
        self._sessions = sessions
        self._environ = procfs.environ
        self._next = self._begin()
        self.ended = 0
        monkeypatch.setattr(procfs, "environ", self.environ)

    def environ(self, pid: int) -> dict[bytes, bytes] | None:
        if pid != self._next.pid or not self._left:
            return self._environ(pid)
        self._left -= 1
        self.ended += 1
        self.close()
        self._next = self._begin()
        return None

    def close(self) -> None:
        self._next.kill()
        self._next.wait()

    def _begin(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(SLEEPER, start_new_session=self._sessions)


@pytest.fixture
def vanishing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vanishing]:
    number, sessions = request.param
    made = Vanishing(number, sessions=sessions, monkeypatch=monkeypatch)
    yield made
    made.close()


@pytest.mark.parametrize("vanishing", [(2, True)], indirect=True)
async def test_d1_a_scan_is_made_again_while_somebody_ends_before_it_is_known_whose_it_was(
    vanishing: Vanishing,
) -> None:
    assert (await adoption.scan({"run"})).is_whole
    assert vanishing.ended == 2


@pytest.mark.parametrize("vanishing", [(1000, True)], indirect=True)
async def test_d1_a_scan_that_somebody_always_escapes_is_not_whole(vanishing: Vanishing) -> None:
    assert not (await adoption.scan({"run"})).is_whole
    assert vanishing.ended > 1


@pytest.mark.parametrize("vanishing", [(1000, False)], indirect=True)
async def test_d1_who_ends_in_a_session_of_others_leaves_no_doubt(vanishing: Vanishing) -> None:
    assert (await adoption.scan({"run"})).is_whole
    assert vanishing.ended == 1


@pytest.mark.parametrize("vanishing", [(1000, False)], indirect=True)
async def test_d1_who_may_not_be_read_is_a_stranger_too(
    vanishing: Vanishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a daemon without rights sees the processes of other users; only empty ones stay so."""
    monkeypatch.setattr(procfs, "environ", lambda pid: vanishing.environ(pid) and None)
    assert (await adoption.scan({"run"})).is_whole
    assert vanishing.ended == 1


class Remains:
    """Takes note of whose remains are to be ended."""

    def __init__(self) -> None:
        self.of: list[str] = []

    def adopt_remains(self, row: SpawnRow, _: object) -> bool:
        self.of.append(row.agent)
        return True


@pytest.mark.parametrize(
    ("row", "found", "whole", "looked"),
    [
        (ROW, GONE, True, False),
        (ROW, GONE, False, True),
        # A control group tells, and after a boot nobody is left.
        (replace(ROW, cgroup="/agentd/run-run"), GONE, False, False),
        (ROW, Found("gone", "the host was rebooted since", rebooted=True), False, False),
    ],
)
async def test_d1_after_a_look_that_is_no_proof_what_a_leader_left_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, row: SpawnRow, found: Found, *, whole: bool, looked: bool
) -> None:
    async def scan(*_: object) -> Scan:
        return Scan([], is_whole=whole)

    monkeypatch.setattr(adoption, "scan", scan)
    monkeypatch.setattr(adoption, "find", lambda *_: found)
    durable = Durable(state=State.RUNNING, incarnation=1, incarnation_id="run")
    remains = Remains()
    recovery = recovery_of(durable, row, remains)
    await recovery.look(["a"])
    recovered = recovery.adopt(["a"])
    assert recovered.fates["a"].ended
    assert remains.of == (["a"] if looked else [])
    # Its record goes once nothing of it is left.
    assert (SpawnEnded("a", 1) in recovered.rows) is not looked
