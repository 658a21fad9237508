"""H: a disk that refuses, with an incident and its alert under way; and a directory to refuse."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.alert_receivers import sink_shown, until_delivered, webhook, with_sinks
from tests.daemon.harness import PYTHON, RUN, WAIT_S
from tests.faults.guard import Fleet
from tests.faults.test_groups_e_f_g import fill
from tests.sinks.receiver import Receiver

NEVER = '[restart]\npolicy = "never"'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def small(fleet: Fleet) -> Iterator[Fleet]:
    """A fleet whose state directory is a small disk of its own."""
    state = fleet.root / "state"
    state.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "none", str(state)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        yield fleet
        fleet.verify()
        fleet.idle_files = None
        fleet.end()
        fleet.process = None
    finally:
        fleet.close()
        subprocess.run(["umount", "-l", str(state)], check=True)


def incidents(fleet: Fleet) -> list[str | None]:
    """Whose they are, the oldest first; None: the host's."""
    found = sorted(fleet.ask("incidents")["incidents"], key=lambda one: one["id"])
    assert [one["id"] for one in found] == list(range(1, len(found) + 1))
    return [one["agent"] for one in found]


def storage(fleet: Fleet) -> str:
    return str(fleet.ask("status")["daemon"]["storage"])


def fail(fleet: Fleet, name: str, by: signal.Signals) -> None:
    """End an agent as a crash does, each in its own way; it stays down."""
    pid = fleet.until_state(name, "running")["pid"]
    os.kill(pid, by)
    fleet.until(name, lambda shown: shown["pid"] is None)


@pytest.mark.root
@pytest.mark.timeout(120)
def test_h1_an_incident_on_a_full_disk_is_alerted_at_once_and_kept_when_there_is_room(
    small: Fleet, receiver: Receiver
) -> None:
    with_sinks(small, webhook("pager", receiver.url))
    for name in ("one", "two"):
        small.sleeper(name, NEVER)
    small.start()
    fail(small, "one", signal.SIGSEGV)
    small.until_true(lambda: incidents(small) == ["one"])
    filler = small.root / "state" / "filler"
    fill(filler)
    small.until_true(lambda: storage(small) != "ok")
    fail(small, "two", signal.SIGABRT)
    # Nothing of it can be kept, and whoever must know knows all the same.
    told = ["one", None, "two"]
    small.until_true(
        lambda: set(told) <= {one.json()["agent"] for one in receiver.accepted()},
        lambda: str([one.json() for one in receiver.accepted()]),
    )
    assert incidents(small) == ["one"], "what could be un-happened by a crash isn't shown"
    filler.unlink()
    small.until_true(lambda: storage(small) == "ok")
    small.until_true(lambda: incidents(small) == told, lambda: str(incidents(small)))
    timeline = small.ask("incidents", id=3)["timeline"]
    assert "agent.exited" in [one["event"] for one in timeline]
    until_delivered(small, "pager")
    small.crash()
    small.start()
    assert incidents(small) == told, "they outlive the daemon"
    assert sink_shown(small, "pager")["waiting"] == 0


def opened_to_all(state: Path) -> None:
    state.mkdir()
    state.chmod(0o777)


def behind_a_link(state: Path) -> None:
    (state.parent / "elsewhere").mkdir(mode=0o700)
    state.symlink_to(state.parent / "elsewhere")


def of_another_user(state: Path) -> None:
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)


@pytest.mark.root
@pytest.mark.parametrize("made", [opened_to_all, behind_a_link, of_another_user])
def test_h9_a_state_directory_that_is_not_ours_alone_is_refused_by_name(
    tmp_path: Path, made: Callable[[Path], None]
) -> None:
    fleet = Fleet(tmp_path)
    made(tmp_path / "state")
    began = subprocess.run(
        [PYTHON, "-c", RUN, str(fleet.config)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert began.returncode == 1
    assert str(tmp_path / "state") in began.stderr
    assert "Traceback" not in began.stderr
    assert not list((tmp_path / "state").iterdir()), "nothing was written into it"
