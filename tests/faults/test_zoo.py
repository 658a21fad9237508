"""Stopped means empty: trees that are hard to stop, and every way to stop them, on every ground.

All kinds of `programs/zoo.py` run under one daemon and are stopped together. Survivors are found
by their working directory alone, which no kind can lose: not by what agentd goes by.
"""

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agentd.daemon import grounds
from agentd.daemon.assembly import ground_name
from tests.daemon import harness
from tests.daemon.harness import PYTHON, RUN, Daemon, Document, alive
from tests.daemon.process_bench import can_make_cgroups
from tests.faults.guard import PROGRAMS
from tests.faults.programs.zoo import KINDS, is_held

ZOO = PROGRAMS / "zoo.py"
# A daemon that the kernel gives no group of its own.
RUN_WITHOUT_GROUPS = f"from agentd.daemon import grounds; grounds.find = lambda name: None; {RUN}"
# `AGENTD_ZOO=all` has every way on each ground, else some.
WHOLE = os.environ.get("AGENTD_ZOO") == "all"
# The second run of an agent is a tame one, so that what is left of the first shows.
SCRIPT = 'if [ -e tame ]; then exec sleep 600; fi; : > tame; exec "$0" "$@"'
# `respawner` is a race where there is no cgroup, and a busy host loses it for a while.
WAIT_S = 45.0
# Nobody is missed because of a fork in the middle of a look.
LOOKS = 3

pytestmark = pytest.mark.timeout(120)  # some hundred processes are to be started, on any machine


class Zoo(Daemon):
    """A daemon with an agent of each kind, each in a directory of its own."""

    def __init__(self, root: Path, ground: str, kinds: list[str]) -> None:
        super().__init__(root)
        self.kinds = kinds
        self.program = RUN if ground == "cgroup" else RUN_WITHOUT_GROUPS
        for kind in kinds:
            self.cage(kind).mkdir(parents=True)
            words = ["/bin/sh", "-c", SCRIPT, PYTHON, "-S", str(ZOO), kind]
            text = f'directory = "{self.cage(kind)}"\nstop_timeout = "1s"'
            self.agent(kind, words, f"{text}\n[heartbeat]\nrequired = false")

    def _spawn(self, words: list[str], env: dict[str, str], fds: Sequence[int] = ()) -> None:
        super()._spawn([self.program if word == RUN else word for word in words], env, fds)

    def cage(self, kind: str) -> Path:
        return self.root / "cages" / kind

    def fill(self) -> dict[str, int]:
        """Start it, and wait until every tree stands; return the leaders."""
        self.start()
        for kind in self.kinds:
            self.until_true(lambda kind=kind: "ready" in self.said(kind), lambda k=kind: k)
        return {kind: self.status(kind)["pid"] for kind in self.kinds}

    def said(self, kind: str) -> str:
        path = self.root / "logs" / f"{kind}.log"
        return path.read_text() if path.exists() else ""

    def inhabited(self) -> dict[str, set[int]]:
        """Every kind of which something lives, in a few looks at all processes."""
        cages = {str(self.cage(kind)): kind for kind in self.kinds}
        found: dict[str, set[int]] = {}
        for _ in range(LOOKS):
            for entry in Path("/proc").iterdir():
                kind = cages.get(link_of(entry / "cwd")) if entry.name.isdigit() else None
                if kind is not None and alive(int(entry.name)):
                    found.setdefault(kind, set()).add(int(entry.name))
        return found

    def has_groups(self) -> bool:
        """Whether its agents have control groups of their own."""
        mount = grounds.mount_point()
        base = mount / ground_name(self.root / "state") if mount is not None else None
        return base is not None and any(base.glob("*/"))

    def held(self) -> set[str]:
        """Every kind of which a process lives that kept its files, however quick it is."""
        return {kind for kind in self.kinds if is_held(self.cage(kind))}

    def shown(self) -> dict[str, Document]:
        return {agent["name"]: agent for agent in self.ask("status")["agents"]}

    def until_all(self, wanted: Callable[[Document], object]) -> None:
        def look() -> bool:
            return all(wanted(agent) for agent in self.shown().values())

        self.until_true(look, lambda: str([(a["name"], a["state"]) for a in self.shown().values()]))

    def until_stopped(self) -> None:
        self.until_all(lambda agent: agent["state"] == "stopped")

    def close(self) -> None:
        super().close()
        for pids in self.inhabited().values():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def stop(zoo: Zoo) -> None:
    zoo.ask("stop", select=zoo.kinds)
    zoo.until_stopped()


def kill(zoo: Zoo) -> None:
    zoo.ask("kill", select=zoo.kinds)
    zoo.until_stopped()


def restart(zoo: Zoo) -> None:
    before = {name: agent["pid"] for name, agent in zoo.shown().items()}
    zoo.ask("restart", select=zoo.kinds)
    until_anew(zoo, before)


def until_anew(zoo: Zoo, before: dict[str, int]) -> None:
    """Each has begun anew, and then its own first process is all there is."""
    zoo.until_all(lambda a: a["state"] == "running" and a["pid"] not in (None, before[a["name"]]))
    fresh = {name: {agent["pid"]} for name, agent in zoo.shown().items()}
    assert zoo.held() == set()
    assert zoo.inhabited() == fresh
    stop(zoo)


def removal(zoo: Zoo) -> None:
    for kind in zoo.kinds:
        (zoo.root / "agents.d" / f"{kind}.toml").unlink()
    zoo.ask("reload")
    zoo.until_true(lambda: not zoo.shown(), lambda: str(zoo.shown()))


def shutdown(zoo: Zoo) -> None:
    assert zoo.end() == 0


def stop_after_adoption(zoo: Zoo) -> None:
    """The daemon that stops them didn't start them, and their orphans aren't its children."""
    zoo.crash()
    zoo.start()
    stop(zoo)


def end_while_away(zoo: Zoo) -> None:
    """Their leaders end while no daemon is there; the next one finds the rest."""
    before = {name: agent["pid"] for name, agent in zoo.shown().items()}
    zoo.crash()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    zoo.start()
    until_anew(zoo, before)


WAYS = [stop, kill, restart, removal, shutdown, stop_after_adoption, end_while_away]
# A cgroup is the easy case: there the kernel keeps the list.
WAYS_BY_GROUND = {"sweep": WAYS, "cgroup": WAYS if WHOLE else [restart, stop_after_adoption]}
PAIRS = [(ground, way) for ground, ways in WAYS_BY_GROUND.items() for way in ways]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(harness, "WAIT_S", WAIT_S)
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    ("ground", "way"), PAIRS, ids=[f"{ground}-{way.__name__}" for ground, way in PAIRS]
)
def test_d1_d7_stopped_means_empty_for_every_kind(
    folder: Path, ground: str, way: Callable[[Zoo], None]
) -> None:
    if ground == "cgroup" and not can_make_cgroups():
        pytest.skip("no cgroup v2 that may be written to")
    zoo = Zoo(folder, ground, list(KINDS))
    try:
        zoo.fill()
        assert set(zoo.inhabited()) == set(KINDS)
        assert zoo.has_groups() == (ground == "cgroup")
        port = int(zoo.said("port-holder").split()[1])
        way(zoo)
        assert zoo.held() == set()
        survivors = {kind: [comm(pid) for pid in pids] for kind, pids in zoo.inhabited().items()}
        assert survivors == {}
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
    finally:
        zoo.close()


def comm(pid: int) -> str:
    return f"{pid} {link_of(Path(f'/proc/{pid}/exe'))}"


def link_of(path: Path) -> str:
    """Where a link of /proc leads; nowhere when its process is gone."""
    try:
        return str(path.readlink())
    except OSError:
        return ""
