"""A process layer of its own, in a scratch directory, driven without a core.

Every wait is for an event and has a bound. What it started is killed at the end, and what
it made of cgroups is removed.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec import convert

from agentd.config.agent import AgentConfig
from agentd.config.units import Bytes, Milliseconds, parse_duration, parse_size
from agentd.core.effects import KillTree, Spawn
from agentd.core.events import Event, Exited, Spawned, SpawnFailed, TreeEmpty
from agentd.daemon import grounds, host, launch, pidfds, procfs
from agentd.daemon.cgroups import CgroupForest
from agentd.daemon.processes import Prepared, Processes
from agentd.daemon.runs import Run
from agentd.daemon.sampler import Sampler
from agentd.daemon.sweep import SweepForest

WAIT_S = 10.0
NS_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
V1 = Path("/sys/fs/cgroup")
PYTHON = sys.executable
Some = TypeVar("Some")


def config(command: str | list[str], **keys: object) -> AgentConfig:
    """Return the config that these keys of a file would give."""
    return convert({"command": command, **keys}, AgentConfig, dec_hook=_written)


def _written(kind: type, text: object) -> object:
    return {Milliseconds: parse_duration, Bytes: parse_size}[kind](text)


def settle() -> host.Host:
    """Take the part of the daemon's hygiene that a test process survives."""
    host.become_subreaper()
    return host.look({})


class Bench:
    """The process layer, and everything it has posted."""

    def __init__(self, directory: Path, *, cgroups: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self.directory = directory
        self.events: list[Event] = []
        self.faults: list[object] = []
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))
        self._changed = asyncio.Event()
        self.log = directory / "agent.log"
        self._log_fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        directory.chmod(0o755)
        self.host = settle()
        self.processes = Processes(self.loop, self._post, self.host, launch.install_gate(directory))
        self.name = f"agentd-test-{secrets.token_hex(4)}"
        if cgroups:
            ground = grounds.find(self.name)
            assert ground is not None
            self.processes.forest = CgroupForest(ground, self.loop)
        else:
            self.processes.forest = SweepForest(self.loop, self.processes.strangers)
        self.sampler = Sampler(self.loop, self._post)
        self.processes.on_running = self.sampler.add
        self.processes.orphans.attend()
        self.environment = {"AGENTD_SOCKET": "/nowhere/agentd.sock"}

    def _post(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, true: Callable[[], Some], what: str = "it") -> Some:
        """Wait until `true()` holds; looked at after each event and every few ms."""
        end = self.loop.time() + WAIT_S
        while not (found := true()):
            assert self.loop.time() < end, f"{what} did not come: {self.events}"
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.01)
        return found

    async def event(self, kind: type[Some], agent: str = "a", incarnation: int = 1) -> Some:
        """Wait for the event of this kind about this incarnation."""

        def find() -> Some | None:
            for event in self.events:
                about = getattr(event, "agent", None), getattr(event, "incarnation", None)
                if isinstance(event, kind) and about == (agent, incarnation):
                    return event
            return None

        found = await self.until(find, kind.__name__)
        assert found is not None
        return found

    async def prepare(
        self, what: AgentConfig, agent: str = "a", incarnation: int = 1
    ) -> Prepared | SpawnFailed:
        spawn = Spawn(agent, incarnation, f"{self.name}-{agent}-{incarnation}", "test")
        outfit = launch.Outfit(self._log_fd, self.environment, str(self.directory))
        return await self.processes.prepare(spawn, what, outfit)

    async def start(
        self, what: AgentConfig, agent: str = "a", incarnation: int = 1, *, wait: bool = True
    ) -> Prepared:
        """Start an agent; waited for until it has exec'ed."""
        prepared = await self.prepare(what, agent, incarnation)
        assert isinstance(prepared, Prepared), prepared
        self.processes.release(prepared)
        if wait:
            await self.event(Spawned, agent, incarnation)
        return prepared

    async def fails(self, what: AgentConfig) -> SpawnFailed:
        """Start an agent that can't be; return why."""
        answer = await self.prepare(what)
        if isinstance(answer, SpawnFailed):
            return answer
        self.processes.release(answer)
        return await self.event(SpawnFailed)

    async def over(self, agent: str = "a", incarnation: int = 1) -> Exited:
        """Wait for the end of an incarnation; return its exit."""
        exited = await self.event(Exited, agent, incarnation)
        await self.event(TreeEmpty, agent, incarnation)
        return exited

    async def kill(self, agent: str = "a", incarnation: int = 1) -> None:
        self.processes.kill_tree(KillTree(agent, incarnation))
        await self.event(TreeEmpty, agent, incarnation)

    async def output(self, text: str) -> str:
        """Wait until the log holds `text`; return all of it."""

        def find() -> str:
            seen = self.log.read_text(encoding="utf-8", errors="replace")
            return seen if text in seen else ""

        return await self.until(find, text)

    def run_of(self, agent: str = "a") -> Run:
        run = self.processes.living(agent)
        assert run is not None
        return run

    async def close(self) -> None:
        assert not self.faults, self.faults
        for run in self.processes.runs():
            run.kill()
        await self.until(lambda: not self.processes.runs(), "the end of all")
        self.sampler.close()
        self.processes.close()
        os.close(self._log_fd)
        _bury(self.processes.strangers())  # zombies of this test must not reach the next


def _bury(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def open_files(pid: int | str) -> dict[str, str]:
    """Return the descriptors of a process and what they lead to."""
    places = Path(f"/proc/{pid}/fd").iterdir()
    return {fd.name: str(fd.readlink()) for fd in places if fd.is_symlink()}


def limits_of(pid: int) -> dict[str, list[str]]:
    """Return soft and hard limits by the name that /proc gives them."""
    lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
    return {line[:26].strip(): line[26:].split()[:2] for line in lines}


def move_to_group(pid: int, group: Path) -> None:
    (group / "cgroup.procs").write_text(str(pid), encoding="ascii")


def give_pid_away(pid: int) -> None:
    """Have the next process get this pid, if it is free."""
    NS_LAST_PID.write_text(str(pid - 1), encoding="ascii")


@contextlib.contextmanager
def v1_group(controller: str) -> Iterator[Path]:
    """Give a cgroup v1 group; skip where there is no such hierarchy to write to."""
    group = V1 / controller / f"agentd-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip(f"no cgroup v1 {controller} hierarchy to write to")
    try:
        yield group
    finally:
        for _ in range(200):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            os.sched_yield()


def can_make_cgroups() -> bool:
    name = f"agentd-test-probe-{os.getpid()}"
    ground = grounds.find(name)
    if ground is not None:
        with contextlib.suppress(OSError):
            ground.base.rmdir()
    return ground is not None and ground.base.name == name


@pytest.fixture(params=["cgroup", "sweep"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Give a process layer on cgroup v2, and one that has to do without."""
    if request.param == "cgroup" and not can_make_cgroups():
        pytest.skip("no cgroup v2 hierarchy to write to")
    made = Bench(_reachable(tmp_path), cgroups=request.param == "cgroup")
    yield made
    await made.close()


@pytest.fixture
async def cgroup_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Give a process layer on cgroup v2."""
    if not can_make_cgroups():
        pytest.skip("no cgroup v2 hierarchy to write to")
    made = Bench(_reachable(tmp_path), cgroups=True)
    yield made
    await made.close()


@pytest.fixture
async def sweep_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Give a process layer without cgroups."""
    made = Bench(_reachable(tmp_path), cgroups=False)
    yield made
    await made.close()


def _reachable(path: Path) -> Path:
    """Let other users search the way to a scratch directory: agents may run as one."""
    for place in (path, *path.parents):
        if place.owner() == Path("/proc/self").owner() and not place.stat().st_mode & 0o001:
            place.chmod(place.stat().st_mode | 0o011)
    return path


def alive(pid: int) -> bool:
    stat = procfs.stat_of(pid)
    return stat is not None and not stat.dead


def carriers(incarnation_id: str) -> list[int]:
    """Return the living processes that carry this incarnation's id in their environment."""
    return [
        pid
        for pid in procfs.pids()
        if alive(pid)
        and (procfs.environ(pid) or {}).get(b"AGENTD_INCARNATION") == incarnation_id.encode()
    ]


def kill_pid(pid: int) -> None:
    pidfd = pidfds.open_pidfd(pid)
    if pidfd is not None:
        pidfds.send(pidfd, signal.SIGKILL)
        os.close(pidfd)
