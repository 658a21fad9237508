import array
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from agentd.daemon.sdnotify import Systemd, pick_up_fds


@pytest.fixture
def manager_socket() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0agentd-test-{os.getpid()}")
        sock.settimeout(5)
        yield sock


def ours(**more: str) -> Systemd:
    return Systemd({"NOTIFY_SOCKET": f"@agentd-test-{os.getpid()}", **more})


def test_each_message_says_what_systemd_expects(manager_socket: socket.socket) -> None:
    manager = ours()
    assert manager.ready("3 agents")
    assert manager.watchdog()
    assert manager.stopping()
    assert manager.reloading()
    said = [manager_socket.recv(4096).decode().split("\n") for _ in range(4)]
    assert said[:3] == [["READY=1", "STATUS=3 agents"], ["WATCHDOG=1"], ["STOPPING=1"]]
    assert said[3][0] == "RELOADING=1"
    assert said[3][1].startswith("MONOTONIC_USEC=")


def test_a_status_adds_no_assignment_of_its_own(manager_socket: socket.socket) -> None:
    assert ours().status("a\nREADY=1\r\n  b" + "x" * 1000)
    [line] = manager_socket.recv(4096).decode().split("\n")
    assert line.startswith("STATUS=a READY=1 bx")
    assert len(line) < 600


def test_a_descriptor_is_kept_without_being_polled(manager_socket: socket.socket) -> None:
    reading, writing = os.pipe()
    assert ours().keep_fd("a1", writing)
    data, ancillary, _, _ = manager_socket.recvmsg(4096, socket.CMSG_SPACE(4))
    assert data.decode().split("\n") == ["FDSTORE=1", "FDNAME=a1", "FDPOLL=0"]
    kept = array.array("i")
    kept.frombytes(ancillary[0][2])
    os.write(kept[0], b"x")
    assert os.read(reading, 1) == b"x"
    for fd in (reading, writing, *kept):
        os.close(fd)
    assert ours().drop_fd("a1")
    assert manager_socket.recv(4096) == b"FDSTOREREMOVE=1\nFDNAME=a1"


def test_g8_a_long_silence_is_asked_for_and_given_back_when_ready(
    manager_socket: socket.socket,
) -> None:
    manager = ours(WATCHDOG_USEC="20000000")
    manager.ready()
    manager.fall_silent()
    # The image that follows: it says so once more, whoever was before it.
    manager = ours(WATCHDOG_USEC="20000000")
    manager.fall_silent()
    manager.ready()
    manager.ready()
    said = [manager_socket.recv(4096).decode().split("\n") for _ in range(5)]
    assert said == [
        ["READY=1"],
        ["WATCHDOG=1", "WATCHDOG_USEC=300000000"],
        ["WATCHDOG=1", "WATCHDOG_USEC=300000000"],
        ["READY=1", "WATCHDOG=1", "WATCHDOG_USEC=20000000"],
        ["READY=1"],
    ]


def test_g8_a_watchdog_that_is_more_patient_stays_so(manager_socket: socket.socket) -> None:
    ours(WATCHDOG_USEC="900000000").fall_silent()
    assert manager_socket.recv(4096) == b"WATCHDOG=1\nWATCHDOG_USEC=900000000"


def test_without_a_watchdog_nothing_is_said_of_it(manager_socket: socket.socket) -> None:
    manager = ours()
    assert not manager.fall_silent()
    manager.ready()
    assert manager_socket.recv(4096) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}])
def test_without_a_manager_nothing_is_sent(environ: dict[str, str]) -> None:
    manager = Systemd(environ)
    assert not manager.ready()
    assert manager.failures == 0


def test_a_manager_that_is_gone_is_counted() -> None:
    manager = Systemd({"NOTIFY_SOCKET": "/nowhere/at/all"})
    assert not manager.ready()
    assert manager.failures == 1


def test_a_manager_that_doesnt_read_never_blocks_us(manager_socket: socket.socket) -> None:
    manager = ours()
    for _ in range(100):
        manager.watchdog()
    assert manager.failures > 0
    assert manager_socket.recv(100) == b"WATCHDOG=1"


def test_that_we_are_ready_is_said_until_it_is_taken(manager_socket: socket.socket) -> None:
    manager = ours()
    while manager.drop_fd("one of very many"):
        pass
    assert not manager.ready("3 agents")
    assert not manager.catch_up()
    taken = 0
    while not manager.catch_up():
        assert manager_socket.recv(100).startswith(b"FDSTOREREMOVE=1")
        taken += 1
    assert taken > 0
    assert manager.catch_up()
    manager_socket.setblocking(False)
    said = []
    with contextlib.suppress(BlockingIOError):
        while True:
            said.append(manager_socket.recv(100))
    assert said.count(b"READY=1\nSTATUS=3 agents") == 1


def test_once_the_end_has_begun_nobody_is_told_that_we_are_ready(
    manager_socket: socket.socket,
) -> None:
    manager = ours()
    while manager.watchdog():
        pass
    assert not manager.ready()
    manager.stopping()
    while manager_socket.recv(100) == b"WATCHDOG=1":
        manager.catch_up()
        manager.status("the last word here")
    assert manager_socket.recv(100).startswith(b"STATUS=")


@pytest.mark.parametrize(
    ("environ", "watchdog_ms"),
    [
        ({"WATCHDOG_USEC": "20000000"}, 20_000),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20_000),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_only_when_it_names_us(
    environ: dict[str, str], watchdog_ms: int | None
) -> None:
    assert Systemd(environ).watchdog_ms == watchdog_ms


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, 0),
        ({"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}, 0),
        ({"LISTEN_PID": str(os.getpid())}, 0),
        ({}, 0),
    ],
)
def test_descriptors_meant_for_others_are_left_alone(environ: dict[str, str], count: int) -> None:
    assert len(pick_up_fds(environ)) == count


def test_descriptors_come_with_their_names() -> None:
    pid = os.fork()
    if pid == 0:  # in a process of its own, whose descriptors may be moved about
        reading, _ = os.pipe()
        for fd in (3, 4):
            os.dup2(reading, fd, inheritable=True)
        os.closerange(5, 64)
        told = {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "a1:b2", "LISTEN_PID": str(os.getpid())}
        found = pick_up_fds(told)
        fine = found == [("a1", 3), ("b2", 4)] and not os.get_inheritable(3)
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
