"""Full, read-only and foreign disks."""

import os
import time
from pathlib import Path

import pytest

from agentd.core.states import Intent
from agentd.store.committer import Job
from agentd.store.rows import RequestRow, SpawnEnded, SpawnIntent
from agentd.store.store import DirectoryRefused, StoreUnavailable
from agentd.store.writer import RETRY_MS, Writer
from tests.store.desk import Desk, event, fill, ids, persist, small_disk

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: root only")


def use_up(desk: Desk) -> None:
    """Fill the disk and write until the store notices."""
    fill(desk.directory.parent)
    for _ in range(2_000):
        if not desk.write(event(blob="x" * 2_000), persist("busy")).ok:
            return
    pytest.fail("the disk never filled up")


@needs_root
def test_h1_a_full_disk_is_told_and_the_store_recovers_when_space_returns(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        desk = Desk(tmp_path / "disk" / "state")
        before = desk.write(event()).stamps[0].id
        use_up(desk)
        failed = desk.write(persist("b", failures=2), event("agent.exited"))
        assert "full" in failed.error
        assert desk.health[-1][0] is False
        assert desk.store.health.startswith("degraded: ")
        assert before in ids(desk.store), "reads go on"
        (tmp_path / "disk" / "filler").unlink()
        desk.wait_for_health(ok=True)
        assert desk.store.health == "ok"
        assert desk.write(event()).ok
        assert desk.store.agents()["b"].durable.failures == 2, "what was told meanwhile is written"
        assert "agent.exited" in [record.event for record, _ in desk.late]
        found = ids(desk.store)
        assert found == list(range(1, len(found) + 1))
        desk.close()


@needs_root
@pytest.mark.parametrize("due", ["_lazy_due_ms", "_tidy_due_ms", "_fold_due_ms"])
def test_h1_what_is_due_on_a_full_disk_waits_for_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, due: str
) -> None:
    """The thread that writes would spin otherwise, and keep the loop from handing over anything."""
    with small_disk(tmp_path / "disk"):
        desk = Desk(tmp_path / "disk" / "state")
        desk.write(event())
        use_up(desk)
        tries_s: list[float] = []
        write = Writer._write

        def counted(writer: Writer, jobs: list[Job]) -> None:
            tries_s.append(time.monotonic())
            write(writer, jobs)

        monkeypatch.setattr(Writer, "_write", counted)
        monkeypatch.setattr(desk.store._writer, due, 1)
        assert not desk.write(event()).ok
        desk.wait_for(lambda: len(tries_s) >= 4)
        # The first is that of the event, and another may have been on its way.
        assert tries_s[3] - tries_s[1] >= 2 * RETRY_MS / 1000 * 0.9
        (tmp_path / "disk" / "filler").unlink()
        desk.wait_for_health(ok=True)
        desk.close()


@needs_root
def test_h2_a_kill_on_a_full_disk_is_recorded_thanks_to_the_ballast(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        desk = Desk(tmp_path / "disk" / "state")
        desk.write(persist("victim"))
        use_up(desk)
        assert not (desk.directory / "ballast").exists()
        assert not desk.write(event()).ok, "what is left is for operators only"
        request = RequestRow(0, "r-1", "kill", "hash", '{"ok":true}', desk.wall_ms)
        assert desk.write(persist("victim", intent=Intent.KILLED), event(), request).ok
        desk.close()
        assert desk.store.agents()["victim"].durable.intent is Intent.KILLED
        assert desk.store.requests(desk.wall_ms) == [request]
        desk.close()


@needs_root
def test_h2_an_older_snapshot_that_waited_never_replaces_a_newer_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        desk = Desk(tmp_path / "disk" / "state")
        desk.write(persist("a"))
        use_up(desk)
        assert not desk.write(persist("a", failures=1)).ok
        assert desk.write(persist("a", intent=Intent.STOPPED, failures=2)).ok
        (tmp_path / "disk" / "filler").unlink()
        desk.wait_for_health(ok=True)
        assert desk.write(event()).ok
        durable = desk.store.agents()["a"].durable
        assert (durable.intent, durable.failures) == (Intent.STOPPED, 2)
        desk.close()


@needs_root
def test_h1_the_ballast_is_taken_again_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as remount:
        desk = Desk(tmp_path / "disk" / "state")
        desk.write(event())
        use_up(desk)
        remount("size=32m")
        desk.wait_for_health(ok=True)
        assert (desk.directory / "ballast").stat().st_blocks * 512 == 4 << 20
        desk.close()


@needs_root
def test_h1_a_run_that_came_and_went_on_a_full_disk_leaves_no_row(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        desk = Desk(tmp_path / "disk" / "state")
        desk.write(event())
        use_up(desk)
        assert not desk.write(SpawnIntent("a", 1, "i-1", "start")).ok
        assert not desk.write(SpawnEnded("a", 1)).ok
        assert not desk.write(SpawnIntent("a", 2, "i-2", "retry")).ok
        (tmp_path / "disk" / "filler").unlink()
        desk.wait_for_health(ok=True)
        assert desk.store.spawn_intents() == {"a": SpawnIntent("a", 2, "i-2", "retry")}
        desk.close()


@needs_root
def test_h7_a_read_only_disk_is_told_and_the_store_recovers(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as remount:
        desk = Desk(tmp_path / "disk" / "state")
        desk.write(event())
        desk.write(persist("a", intent=Intent.KILLED))
        desk.close()
        remount("ro")
        assert "state" in desk.store.unavailable
        assert desk.store.health.startswith("degraded: ")
        assert desk.store.agents()["a"].durable.intent is Intent.KILLED, "what it held is known"
        assert ids(desk.store) == [1]
        assert not desk.write(persist("b"), event()).ok
        remount("rw")
        desk.wait_for_health(ok=True)
        assert desk.write(event()).stamps[0].id == 3, "what was told meanwhile came first"
        assert desk.store.agents().keys() == {"a", "b"}
        assert not desk.store.rebuilt, "a disk that refuses is not a damaged store"
        desk.close()


@needs_root
def test_h7_a_store_that_never_was_is_begun_when_the_disk_takes_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as remount:
        desk = Desk(tmp_path / "disk" / "state")
        desk.directory.mkdir(mode=0o700)
        remount("ro")
        assert desk.store.agents() == desk.store.spawns() == {}
        assert not desk.write(persist("a")).ok
        remount("rw")
        desk.wait_for_health(ok=True)
        assert desk.write(event()).ok
        assert desk.store.agents().keys() == {"a"}
        desk.close()


@needs_root
def test_h7_a_store_that_cannot_be_read_either_is_no_store(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as remount:
        desk = Desk(tmp_path / "disk" / "state")
        desk.write(persist("a", intent=Intent.KILLED))
        desk.close()
        (desk.directory / "agentd.db").unlink()
        remount("ro")
        with pytest.raises(StoreUnavailable, match="state"):
            _ = desk.store
        remount("rw")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_h9_a_directory_that_others_can_write_is_refused_by_name(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(DirectoryRefused, match=str(directory)):
        _ = Desk(directory).store
    assert list(directory.iterdir()) == []


def test_h9_a_directory_behind_a_symlink_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "state").symlink_to(tmp_path / "real")
    with pytest.raises(DirectoryRefused, match=str(tmp_path / "state")):
        _ = Desk(tmp_path / "state").store
    assert list((tmp_path / "real").iterdir()) == []


@needs_root
def test_h9_a_directory_of_another_user_is_refused_by_name(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    os.chown(directory, 65534, 65534)
    with pytest.raises(DirectoryRefused, match=str(directory)):
        _ = Desk(directory).store


def test_h9_a_store_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "state")
    desk.directory.mkdir(mode=0o700)
    desk.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DirectoryRefused, match="symlink"):
        _ = desk.store
    assert not (tmp_path / "elsewhere").exists()


def test_files_are_closed_to_others(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o755)
    desk = Desk(directory)
    desk.write(event())
    assert directory.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    desk.close()
