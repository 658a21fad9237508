"""Operators by their group alone, at a real daemon of root's that has nothing else to offer."""

import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from agentd.wire.commands import COMMANDS
from tests.daemon.harness import Daemon
from tests.places import short_root
from tests.security.cast import AS_ROOT, NOBODY, PYTHON, STRANGER, Cast, prepared
from tests.security.test_roles import LIFECYCLE, code_of, command

pytestmark = AS_ROOT

OPERATORS_GID = 37  # `operator` on every Debian; a number needs no name
CONNECT = (
    "import socket, sys\n"
    "try: socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
    "except PermissionError: print('EACCES')\n"
    "else: print('connected')"
)


@pytest.fixture(scope="module")
def cast() -> Iterator[Cast]:
    """A daemon with an operators' group, whose agents have no users of their own."""
    with short_root() as root, closing(Daemon(root)) as daemon, closing(Cast(daemon)) as found:
        prepared(found)
        daemon.configure(f'operator_group = "{OPERATORS_GID}"')
        daemon.sleeper("victim")
        daemon.start()
        daemon.until_state("victim", "running")
        found.relay("member", NOBODY, (60, OPERATORS_GID))
        yield found


def connects(daemon: Daemon, *groups: int) -> str:
    """Whether one who is nobody here, but in these groups, may connect at all."""
    done = subprocess.run(
        [PYTHON, "-S", "-c", CONNECT, str(daemon.socket)],
        user=STRANGER,
        group=STRANGER,
        extra_groups=groups,
        cwd="/",
        env={},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()


def test_l1_the_socket_is_the_operators_groups_and_nobody_elses(cast: Cast) -> None:
    daemon = cast.daemon
    for again in (False, True):
        if again:  # a daemon that comes upon the socket of one that was killed
            daemon.crash()
            daemon.start()
        found = daemon.socket.stat()
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert (found.st_uid, found.st_gid) == (0, OPERATORS_GID)
        assert connects(daemon) == "EACCES"
        assert connects(daemon, 60) == "EACCES"
        assert connects(daemon, OPERATORS_GID) == "connected"


def test_a_member_of_the_operators_group_is_an_operator(cast: Cast) -> None:
    member, daemon = cast.parts["member"], cast.daemon
    for name in (name for name in COMMANDS if name in LIFECYCLE - {"shutdown", "ack"}):
        [answer] = member.ask(command(name))
        assert code_of(answer) == "ok", (name, answer)
        if name == "kill":
            shown = daemon.status("victim")
            assert shown["intent"] == "killed"
            assert shown["intent_by"].startswith("nobody (pid "), "who it was is told"
            assert code_of(member.ask(command("resume", id="let go"))[0]) == "ok"
            daemon.until_state("victim", "running")
