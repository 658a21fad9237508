"""Who gets in, and what he may do then."""

import asyncio
import errno
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.daemon import sockets
from agentd.daemon.listener import Listener, ListenError, final_mode
from agentd.daemon.peers import Access, Peer, Role
from agentd.daemon.registry import Incarnation
from agentd.wire.commands import COMMANDS
from tests.daemon.hallway import Hallway, raw_socket, until

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")

# The one of a virtual environment may lie where nobody may read.
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable

# Of the standard library only `socket`, from a path that everybody may read.
STRANGER = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
    s.sendall(sys.argv[2].encode() + b"\\n")
    print(s.makefile().read(), end="")
except OSError as error:
    print("errno", error.errno)
"""


async def as_nobody(path: Path, line: object) -> str:
    """Say one line as nobody, in a process forked from this one; return all that came back."""
    child = await asyncio.create_subprocess_exec(
        PYTHON,
        "-S",
        "-c",
        STRANGER,
        str(path),
        json.dumps(line),
        stdout=subprocess.PIPE,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
    )
    out, _ = await asyncio.wait_for(child.communicate(), 20)
    return out.decode()


@AS_ROOT
@pytest.mark.parametrize("mode", [0o600, 0o660])
async def test_l1_nobody_is_kept_out_by_the_mode(mode: int) -> None:
    async with Hallway(mode=mode) as hallway:
        said = await as_nobody(hallway.path, {"id": 1, "cmd": "status"})
        assert said.strip() == f"errno {errno.EACCES}"
        assert hallway.counters.connections_accepted == 0


@AS_ROOT
@pytest.mark.parametrize(
    "line",
    [
        {"id": 1, "cmd": "kill", "args": {"select": ["a"]}},
        {"id": 1, "cmd": "ping"},
        {"id": 1, "cmd": "no-such-command"},
        {"id": 1, "tokens": 5, "agent": "a"},
        {"id": 1, "token": "guessed"},
        {"id": 1, "tokens": "nonsense"},
    ],
)
async def test_l1_nobody_is_forbidden_and_closed_by_the_role(line: dict[str, object]) -> None:
    access = Access(daemon_uid=1234, daemon_pid=-1)
    async with Hallway(access, mode=0o666) as hallway:
        hallway.live("a")
        said = await as_nobody(hallway.path, line)
        reply = json.loads(said)
        assert (reply["id"], reply["error"]["code"]) == (1, "forbidden")
        assert hallway.recorder.commands == []
        assert hallway.recorder.lines_of == {}
        await until(lambda: len(hallway.hall.visitors) == 0)
        assert hallway.counters.connections_strangers == 1


@AS_ROOT
async def test_a_stranger_with_the_token_of_an_external_agent_is_that_agent() -> None:
    async with Hallway(Access(daemon_uid=1234, daemon_pid=-1), mode=0o666) as hallway:
        hallway.registry.add(Incarnation("ext", 0, "", "a-token-from-a-file"))
        child = asyncio.create_task(
            as_nobody(hallway.path, {"id": 1, "token": "a-token-from-a-file", "tokens": 5})
        )
        assert len(await hallway.hears(1, "ext", 0)) == 1
        for connection in hallway.hall.visitors.everyone():
            connection.close()
        assert json.loads(await child)["ok"]


# The socket's recipe.


@pytest.fixture
def place() -> Iterator[Path]:
    hall = Hallway()
    yield hall.directory
    subprocess.run(["rm", "-rf", str(hall.directory)], check=True)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_socket_ends_up_with_its_mode_and_never_wider(
    place: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = place / "s.sock", []
    chmod = os.chmod

    def watching(*words: object, **more: object) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))
        chmod(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "chmod", watching)
    umask = os.umask(0)
    listener = Listener.open(path, mode=mode, gid=os.getegid())
    os.umask(umask)
    seen.append(stat.S_IMODE(path.stat().st_mode))
    assert seen == [0o600, mode]
    listener.close()
    assert not path.exists()


def test_l3_a_symlink_for_a_directory_is_refused(place: Path) -> None:
    (place / "real").mkdir(mode=0o700)
    (place / "link").symlink_to("real")
    with pytest.raises(ListenError, match="symlink or not a directory"):
        Listener.open(place / "link" / "s.sock")
    assert list((place / "real").iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o702])
def test_l3_a_directory_that_others_can_write_is_refused(place: Path, mode: int) -> None:
    (place / "open").mkdir()
    (place / "open").chmod(mode)
    with pytest.raises(ListenError, match="others can write"):
        Listener.open(place / "open" / "s.sock")
    assert list((place / "open").iterdir()) == []


@AS_ROOT
def test_l3_a_directory_of_somebody_else_is_refused(place: Path) -> None:
    (place / "his").mkdir(mode=0o755)
    os.chown(place / "his", NOBODY, NOBODY)
    with pytest.raises(ListenError, match=f"owned by uid {NOBODY}"):
        Listener.open(place / "his" / "s.sock")


@pytest.mark.parametrize("kind", ["symlink", "dangling", "file", "directory"])
def test_l3_what_stands_in_the_way_is_refused_and_left_alone(place: Path, kind: str) -> None:
    path, target = place / "s.sock", place / "target"
    if kind == "symlink":
        target.write_text("precious")
        path.symlink_to(target)
    elif kind == "dangling":
        path.symlink_to(place / "nowhere")
    elif kind == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    before = path.lstat().st_ino
    with pytest.raises(ListenError, match="in the way"):
        Listener.open(path)
    assert path.lstat().st_ino == before
    assert not (place / "nowhere").exists()


def test_l3_a_lock_that_is_a_symlink_is_refused(place: Path) -> None:
    (place / "s.sock.lock").symlink_to(place / "elsewhere")
    with pytest.raises(ListenError):
        Listener.open(place / "s.sock")
    assert not (place / "elsewhere").exists()


@AS_ROOT
def test_l3_a_socket_of_somebody_else_is_refused(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place / "s.sock"))
        os.chown(place / "s.sock", NOBODY, NOBODY)
        with pytest.raises(ListenError, match=f"uid {NOBODY}"):
            Listener.open(place / "s.sock")


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(place: Path) -> None:
    path = place / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = Listener.open(path)
    with pytest.raises(ListenError, match="another agentd listens"):
        Listener.open(path)
    first.close()
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
        foreign.listen()
        with pytest.raises(ListenError, match="somebody listens"):
            Listener.open(path)
        assert path.exists()


def test_a_path_too_long_for_a_socket_is_refused(place: Path) -> None:
    with pytest.raises(ListenError, match="too long"):
        Listener.open(place / ("x" * 100))


def test_the_image_after_a_re_exec_goes_on_with_the_socket(place: Path) -> None:
    path = place / "s.sock"
    first = Listener.open(path)
    client = raw_socket(path)  # waits in the queue meanwhile
    fds = os.dup(first.sock.fileno()), os.dup(first.lock_fd)
    second = Listener.inherit(path, *fds)
    accepted, _ = second.sock.accept()
    client.send(b"x")
    assert accepted.recv(1) == b"x"
    for one in (client, accepted):
        one.close()
    first.close()
    second.sock.close()


@pytest.mark.parametrize(
    ("system", "strangers", "gid", "mode"),
    [
        (False, False, None, 0o600),
        (False, True, 5, 0o600),
        (True, False, None, 0o600),
        (True, False, 5, 0o660),
        (True, True, 5, 0o666),
        (True, True, None, 0o666),
    ],
)
def test_the_final_mode_is_as_narrow_as_the_config_allows(
    system: bool, strangers: bool, gid: int | None, mode: int
) -> None:
    found = final_mode(system=system, strangers_connect=strangers, operator_gid=gid)
    assert found == mode


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_directory_that_root_makes_can_be_searched_by_every_agent(place: Path, mode: int) -> None:
    directory = 0o755 if os.geteuid() == 0 else 0o700
    umask = os.umask(0o077)
    listener = Listener.open(place / "made" / "s.sock", mode=mode)
    os.umask(umask)
    assert stat.S_IMODE((place / "made").stat().st_mode) == directory
    listener.close()


# Commands by role.


def as_role(monkeypatch: pytest.MonkeyPatch, role: Role, incarnation: Incarnation | None) -> None:
    peer = Peer(1, 1000, 1000, role, incarnation)
    monkeypatch.setattr(sockets, "recognise", lambda *_: peer)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("name", list(COMMANDS))
async def test_c10_each_role_may_what_the_table_says(
    monkeypatch: pytest.MonkeyPatch, role: Role, name: str
) -> None:
    async with Hallway() as hallway:
        who = hallway.live() if role is Role.AGENT else None
        as_role(monkeypatch, role, who)
        peer = await hallway.connect()
        args = {"select": ["a"], "signal": "SIGHUP", "id": 1}
        reply = await peer.ask({"id": "7", "cmd": name, "args": args})
        rank = {"none": 0, "agent": 1, "viewer": 2, "operator": 3}
        # What is for the channel of an internal agent alone is for nobody who comes to the socket.
        may = rank[role.value] >= rank[COMMANDS[name].role] and not COMMANDS[name].internal
        assert reply["ok"] is may
        assert len(hallway.recorder.commands) == (may and name != "unfollow")
        if not may:
            assert reply["error"]["code"] == "forbidden"
        told = [refusal.kind for refusal in hallway.recorder.refusals]
        assert told == (["command"] if role is Role.AGENT and not may else [])


@pytest.mark.parametrize(
    ("internal", "role", "ok"),
    [
        ("agentd-fleet", Role.OPERATOR, True),
        ("agentd-http", Role.OPERATOR, False),
        ("", Role.OPERATOR, False),
        ("agentd-fleet", Role.AGENT, False),  # a token has turned it into an agent's
    ],
)
async def test_what_is_for_one_channel_is_for_no_other(
    monkeypatch: pytest.MonkeyPatch, internal: str, role: Role, *, ok: bool
) -> None:
    async with Hallway() as hallway:
        who = hallway.live() if role is Role.AGENT else None
        channel = Peer(1, 1000, 1000, role, who, internal=internal)
        monkeypatch.setattr(sockets, "recognise", lambda *_: channel)
        peer = await hallway.connect()
        reply = await peer.ask({"id": "7", "cmd": "fleet", "args": {"connected": False}})
        assert reply["ok"] is ok
        assert len(hallway.recorder.commands) == ok


@pytest.mark.parametrize("name", ["restart", "kill", "reload", "shutdown", "status", "daemon"])
async def test_c10_l14_a_child_of_an_agent_commands_nothing_root_or_not(name: str) -> None:
    async with Hallway() as hallway:
        child = await hallway.talker()
        hallway.registry.add(Incarnation("a", 1, "a-1", "t", leader_pid=child.child.pid))
        reply = await child.ask({"id": 1, "cmd": name, "args": {"select": ["b"]}})
        assert reply["error"]["code"] == "forbidden"
        assert hallway.recorder.commands == []
        [refusal] = hallway.recorder.refusals
        assert (refusal.kind, refusal.agent) == ("command", "a")


async def test_c10_a_child_of_the_daemon_commands_nothing() -> None:
    async with Hallway(Access(daemon_pid=os.getpid())) as hallway:
        child = await hallway.talker()
        reply = await child.ask({"id": 1, "cmd": "kill", "args": {"select": ["b"]}})
        assert reply["error"]["code"] == "forbidden"
        assert (await child.ask({"id": 2, "cmd": "ping"}))["ok"]


async def test_l14_a_token_in_the_environment_gives_an_agent_away() -> None:
    async with Hallway() as hallway:
        hallway.live("a")
        environ = {**os.environ, "AGENTD_TOKEN": "token-of-a-1"}
        child = await hallway.talker(env=environ)
        assert (await child.ask({"id": 1, "tokens": 4}))["ok"]
        reply = await child.ask({"id": 2, "cmd": "kill", "args": {"select": ["b"]}})
        assert reply["error"]["code"] == "forbidden"


async def test_a_viewer_may_not_make_the_daemon_replace_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Hallway() as hallway:
        as_role(monkeypatch, Role.VIEWER, None)
        peer = await hallway.connect()
        assert (await peer.ask({"id": 1, "cmd": "daemon"}))["ok"]
        reexec = {"id": 2, "cmd": "daemon", "args": {"action": "reexec"}}
        assert await peer.error(reexec) == "forbidden"


async def test_l4_ten_thousand_unknown_names_are_looked_up_and_counted() -> None:
    async with Hallway() as hallway:
        peer = await hallway.connect()
        names = ["__class__", "a.b.c", "__init__.__globals__", *(f"x{n}" for n in range(10_000))]
        for start in range(0, len(names), 100):
            some = names[start : start + 100]
            peer.send(*({"id": name, "cmd": name} for name in some))
            for name in some:
                reply = await peer.receive()
                assert (reply["id"], reply["error"]["code"]) == (name, "unknown_command")
        assert hallway.counters.commands_unknown == len(names)
        assert (await peer.ask({"id": 1, "cmd": "ping"}))["ok"]


async def test_a_flood_of_refusals_is_one_event_now_and_then() -> None:
    async with Hallway(line_rate=0) as hallway:
        peer = await hallway.connect(hallway.live())
        kill = {"id": 1, "cmd": "kill", "args": {"select": ["b"]}}
        for _ in range(300):
            assert await peer.error(kill) == "forbidden"
        assert len(hallway.recorder.refusals) == 1
        assert hallway.counters.commands_forbidden == 300
        hallway.hall.now_ms = lambda now=hallway.hall.now_ms: now() + 10_000  # type: ignore[misc]
        await peer.error(kill)
        assert [one.count for one in hallway.recorder.refusals] == [1, 300]
