import array
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from agentd.core.lines import Notify
from agentd.daemon.notify import NotifySockets
from agentd.daemon.registry import Incarnation
from tests.daemon.hallway import Hallway, until


class Ears:
    """A hallway with notify sockets."""

    def __init__(self, hallway: Hallway) -> None:
        self.hallway = hallway
        self.sockets = NotifySockets(hallway.hall, hallway.directory / "n")

    def open(self, ordinal: int = 1, **facts: int) -> str:
        return self.sockets.open(self.hallway.live("a", ordinal, **facts))


def say(path: str, data: bytes, fds: list[int] | None = None) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sock.sendmsg([data], rights, 0, path)


def say_as(uid: int, path: str, data: bytes) -> None:
    """Send one datagram as another user."""
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        say(path, data)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def let_through(path: str, owner: int) -> None:
    """Open up the socket of `owner` to all, as if its mode had let them through."""
    assert Path(path).stat().st_uid == owner
    Path(path).chmod(0o666)


async def test_a_datagram_becomes_a_line_of_its_incarnation() -> None:
    async with Hallway() as hallway:
        ears = Ears(hallway)
        first, second = ears.open(1), ears.open(2)
        assert first != second
        say(first, b"STATUS=up\nREADY=1\n")
        say(second, b"WATCHDOG=1")
        assert await hallway.hears(1, "a", 1) == [Notify(ready=True, status="up")]
        assert await hallway.hears(1, "a", 2) == [Notify(watchdog=True)]
        ears.sockets.close()


async def test_c1_empty_and_odd_datagrams_are_counted_and_forgotten() -> None:
    async with Hallway() as hallway:
        ears = Ears(hallway)
        path = ears.open()
        for data in (b"", b"\n", b"junk", b"\xff=1", b"STATUS=" + b"x" * 9000):
            say(path, data)
        say(path, b"X_UNKNOWN=1")  # understood, and means nothing to us
        say(path, b"READY=1")
        assert await hallway.hears(1) == [Notify(ready=True)]
        assert hallway.counters.notifications_bad == 5
        ears.sockets.close()


async def test_every_descriptor_that_comes_along_is_closed() -> None:
    async with Hallway() as hallway:
        ears = Ears(hallway)
        path = ears.open()
        ours, theirs = os.pipe()
        for data in (b"BARRIER=1", b"FDSTORE=1\nFDNAME=x", b"junk"):
            say(path, data, [theirs] * 9)
        os.close(theirs)
        os.set_blocking(ours, False)
        await until(lambda: hallway.counters.fds_closed == 27)
        assert os.read(ours, 1) == b""  # nobody holds the other end: the barrier is lifted
        os.close(ours)
        ears.sockets.close()


@pytest.mark.skipif(not shutil.which("systemd-notify"), reason="systemd-notify isn't installed")
async def test_systemd_notify_itself_is_understood() -> None:
    async with Hallway() as hallway:
        ears = Ears(hallway)
        path = ears.open()
        child = subprocess.Popen(  # noqa: ASYNC220 - it is waited for below
            ["systemd-notify", "--ready", "--status=loaded"],
            env={**os.environ, "NOTIFY_SOCKET": path},
        )
        [said] = await hallway.hears(1)
        assert said == Notify(ready=True, status="loaded")
        await until(lambda: child.poll() is not None)
        assert child.returncode == 0
        ears.sockets.close()


async def test_mainpid_is_believed_of_its_own_tree_only() -> None:
    async with Hallway() as hallway:
        ears = Ears(hallway)
        child = await hallway.talker()
        leader = child.child.pid
        incarnation = Incarnation("a", 1, "a-1", "t", leader_pid=leader)
        hallway.registry.add(incarnation)
        path = ears.sockets.open(incarnation)
        say(path, b"MAINPID=%d" % leader)
        say(path, b"MAINPID=1\nREADY=1")
        assert await hallway.hears(2) == [Notify(mainpid=leader), Notify(ready=True)]
        assert [refusal.kind for refusal in hallway.recorder.refusals] == ["notify"]
        ears.sockets.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
async def test_another_user_is_not_that_agent() -> None:
    async with Hallway() as hallway:
        ears = Ears(hallway)
        path = ears.open(uid=65534)
        let_through(path, 65534)
        say_as(1234, path, b"READY=1")
        await until(lambda: hallway.counters.notifications_refused == 1)
        say_as(65534, path, b"READY=1")
        assert await hallway.hears(1) == [Notify(ready=True)]
        ears.sockets.close()


async def test_last_words_are_heard_and_then_the_path_is_gone() -> None:
    async with Hallway() as hallway:
        ears = Ears(hallway)
        path = ears.open()
        say(path, b"STOPPING=1")
        hallway.registry.end("a", 1)
        assert hallway.heard() == [Notify(stopping=True)]
        with pytest.raises(FileNotFoundError):
            say(path, b"READY=1")


async def test_a_path_left_by_a_daemon_that_died_is_taken_over() -> None:
    async with Hallway() as hallway:
        ears = Ears(hallway)
        path = ears.open()
        ears.sockets.close()
        hallway.registry.remove("a", 1)
        assert ears.open() == path
        say(path, b"READY=1")
        assert await hallway.hears(1) == [Notify(ready=True)]
        ears.sockets.close()


async def test_a_flood_is_limited_but_readiness_gets_through() -> None:
    async with Hallway(line_rate=10) as hallway:
        ears = Ears(hallway)
        path = ears.open()
        for _ in range(50):
            for _ in range(5):
                say(path, b"WATCHDOG=1")
            sent = hallway.counters.notifications
            await until(lambda: hallway.counters.notifications >= sent + 5)  # noqa: B023 - awaited
        say(path, b"READY=1")
        await until(lambda: Notify(ready=True) in hallway.heard())
        assert hallway.counters.lines_dropped > 100
        ears.sockets.close()
