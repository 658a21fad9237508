"""Upgrades and downgrades of a real daemon: from one installed version to another, and back."""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import agentd
from agentd.daemon.errands import Errands
from agentd.daemon.startcheck import StartCheck
from agentd.store.schema import VERSION, backup_path
from tests.daemon.harness import PYTHON, Daemon, Refused, alive
from tests.daemon.test_reexec import REEXEC_S, Load, reexec

# The installation is a directory of its own: its code, and none of this project's.
RUN = (
    "import sys; sys.path[0] = sys.argv.pop(1); from pathlib import Path; "
    "from agentd.daemon.main import run; sys.exit(run(Path(sys.argv[1]), None))"
)
LATER = "STEPS = (*STEPS, ('CREATE TABLE later (x)',))\nVERSION: Final = len(STEPS)"


class Installed(Daemon):
    """A daemon of an installation that can be changed under it."""

    @property
    def place(self) -> Path:
        return self.root / "installed"

    def install(self) -> None:
        """Put this project's version there."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(Path(agentd.__file__).parent, self.place / "agentd")

    def install_next(self) -> None:
        """Put a later version there, with one more step of the store's schema."""
        self.install()
        self.edit("store/schema.py", "VERSION: Final = len(STEPS)", LATER)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.place / "agentd" / file
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    def begin(self, *, ready: bool = True) -> None:
        self._spawn([PYTHON, "-c", RUN, str(self.place), str(self.config)], {})
        if ready:
            self.await_notify("READY=1")

    def store_version(self) -> int:
        with closing(sqlite3.connect(self.root / "state" / "agentd.db")) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def refused(self) -> str:
        """Ask for a re-exec that is refused, both ways; return why."""
        with pytest.raises(Refused) as caught:
            self.ask("daemon", action="reexec", timeout_s=130)
        assert caught.value.error["code"] == "conflict"
        before = self.log().count("why=")
        self.signal(signal.SIGUSR2)
        self.until_true(lambda: self.log().count("why=") > before)
        assert self.ask("ping")
        return str(caught.value.error["message"])


@pytest.fixture
def installed(daemon: Daemon) -> Iterator[Installed]:
    daemon.close()
    under_test = Installed.__new__(Installed)
    folder = daemon.root / "i"
    folder.mkdir()
    under_test.__init__(folder)  # type: ignore[misc]
    try:
        yield under_test
    finally:
        under_test.close()


def test_g8_an_installation_that_cannot_start_is_not_become(installed: Installed) -> None:
    installed.install()
    installed.sleeper("one")
    installed.begin()
    pid = installed.until_state("one", "running")["pid"]
    installed.edit("daemon/loop.py", "import asyncio\n", "import asyncio\nimport half_done\n")
    assert "No module named 'half_done'" in installed.refused()
    installed.install()
    installed.edit("daemon/life.py", "class Life:", "class Life")
    assert "SyntaxError" in installed.refused()
    installed.install()
    reexec(installed)
    shown = installed.until_state("one", "running")
    assert (shown["pid"], shown["restarts"], shown["failures"]) == (pid, 0, 0)


def test_g9_up_and_down_again_the_older_one_refuses_and_agents_live_on(
    installed: Installed,
) -> None:
    installed.install()
    installed.sleeper("one")
    installed.begin()
    pid = installed.until_state("one", "running")["pid"]
    installed.install_next()
    reexec(installed)
    assert installed.store_version() == VERSION + 1
    state = installed.root / "state"
    assert backup_path(state / "agentd.db", VERSION).exists()
    assert installed.until_state("one", "running")["pid"] == pid
    installed.install()
    told = installed.refused()
    assert f"written by a newer agentd (store version {VERSION + 1}" in told
    assert "Install that version again" in told
    # However the later one ends, the older one doesn't touch what it left.
    installed.crash()
    before = contents(state)
    installed.begin(ready=False)
    assert installed.process is not None
    assert installed.process.wait(60) == 1
    assert "Install that version again" in installed.log()
    assert contents(state) == before
    assert alive(pid)
    installed.install_next()
    installed.begin()
    shown = installed.until_state("one", "running")
    assert (shown["pid"], shown["restarts"], shown["failures"]) == (pid, 0, 0)


@pytest.mark.timeout(30 + REEXEC_S)
def test_g8_g9_an_upgrade_under_200_beats_a_second_loses_nothing(installed: Installed) -> None:
    """Another version takes over, and migrates the store, while agents and a follower go on."""
    installed.install()
    load = Load(installed)
    installed.begin()
    load.begin()
    installed.install_next()
    reexec(installed)
    assert installed.store_version() == VERSION + 1
    load.settle()
    load.verify()


def contents(state: Path) -> dict[str, bytes]:
    """What the store is made of; the index of its log is rebuilt by whoever reads."""
    found = {path.name: path.read_bytes() for path in state.glob("agentd.db*")}
    found.pop("agentd.db-shm", None)
    return found


class Childless:
    """Who has no other children."""

    def helper_started(self, pid: int) -> None:
        self.pid = pid

    def helper_ended(self, pid: int) -> None:
        assert pid == self.pid


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import time; time.sleep(600)", "took longer than 0.5 s"),
        ("import os; os.kill(os.getpid(), 11)", "killed by signal 11"),
        ("import sys; sys.exit('so it is')", "exited with code 1: so it is"),
    ],
)
def test_g8_one_that_hangs_or_dies_at_its_start_would_not_start(
    monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", code])
    parent = Childless()

    async def check() -> tuple[bool, str]:
        errands = Errands(asyncio.get_running_loop(), lambda _event: None, parent)
        ended = await errands.carry_out(StartCheck(timeout_ms=500 if "sleep" in code else 60_000))
        return ended.ok, ended.told

    ok, said = asyncio.run(check())
    assert not ok
    assert told in said
    # Killed; one that was still dying is the daemon's to reap, with its orphans.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(parent.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(parent.pid, 0)
