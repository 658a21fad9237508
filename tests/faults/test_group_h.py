"""H: a disk that refuses, with an incident and its alert under way; and a directory to refuse."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.alert_receivers import sink_shown, until_delivered, webhook, with_sinks
from tests.daemon.harness import PYTHON, RUN, WAIT_S, Refused, alive
from tests.faults.guard import Fleet
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


@pytest.mark.root
@pytest.mark.timeout(120)
def test_h1_h2_a_full_disk_is_told_and_a_kill_is_recorded_from_the_reserve(small: Fleet) -> None:
    small.sleeper("one")
    small.sleeper("two")
    small.start()
    pids = {name: small.until_state(name, "running")["pid"] for name in ("one", "two")}
    filler = small.root / "state" / "filler"
    fill(filler)
    small.until_true(lambda: "disk full" in storage(small))
    for deed in ("hold", "pause", "restart"):
        with pytest.raises(Refused) as refused:
            small.ask(deed, select=["two"])
        assert refused.value.error["code"] == "storage_unavailable", deed
    with pytest.raises(Refused) as refused:
        small.ask("daemon", action="reexec")
    assert "would be lost: disk full" in refused.value.error["message"]
    small.sleeper("three")
    assert small.ask("reload", dry_run=True)["added"] == ["three"], "nothing is to be recorded"
    (small.root / "agents.d" / "three.toml").unlink()
    small.ask("kill", select=["one"])
    shown = small.until("one", lambda s: s["pid"] is None)
    assert (shown["intent"], alive(pids["one"])) == ("killed", False)
    small.crash()
    small.start()
    assert filler.exists()
    assert small.status("one")["intent"] == "killed", "recorded on a full disk"
    assert small.status("two")["pid"] == pids["two"]
    # What is left of the reserve is the next daemon's room, until that is full, too.
    fill(filler.with_name("more"))
    small.until_true(lambda: "disk full" in storage(small))
    filler.unlink()
    small.until_true(lambda: storage(small) == "ok")
    small.until_true(lambda: small.events(kind="daemon.storage"))
    told = [event["message"] for event in small.events(kind="daemon.storage")]
    assert any("disk full" in message for message in told), told
    small.ask("restart", select=["two"])
    small.crash()
    small.start()
    assert small.status("one")["intent"] == "killed"
    small.seen.append(f"told: {told[0]}")


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2


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
