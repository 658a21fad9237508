"""Log disks that are full, read-only, or fail."""

import os
from pathlib import Path

import pytest

from agentd.daemon import logkeeper
from agentd.daemon import logs as logs_module
from tests.daemon.log_desk import LogDesk, numbered, numbers
from tests.store.desk import fill, small_disk

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: root only")


def write_until_full(fd: int) -> None:
    while os.write(fd, numbered(12_000, 100)):
        pass


@needs_root
def test_f8_a_full_disk_trims_first_and_the_agent_writes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        desk = LogDesk(tmp_path / "disk" / "logs")
        fd = desk.child("a", 100 << 20)
        os.write(fd, numbered(0, 12_000))
        fill(tmp_path / "disk")
        with pytest.raises(OSError, match="No space"):
            write_until_full(fd)
        desk.logs.check()
        assert [note.kind for note in desk.notes] == ["trimmed"]
        assert desk.logs.evidence() == "log disk full"
        assert os.write(fd, numbered(20_000, 100)) == 10_000
        assert numbers(desk.reader().last(1)) == [20_099]
        desk.close()


@needs_root
def test_f8_a_disk_that_stays_full_is_told_once_and_so_is_its_recovery(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        desk = LogDesk(tmp_path / "disk" / "logs")
        fd = desk.child("a", 100 << 20)
        os.write(fd, b"little\n")
        filler = fill(tmp_path / "disk")
        for _ in range(3):
            desk.logs.check()
        assert [note.kind for note in desk.notes] == ["full"]
        assert str(desk.directory) in desk.notes[0].message
        filler.unlink()
        desk.logs.check()
        assert [note.kind for note in desk.notes] == ["full", "ok"]
        assert os.write(fd, b"more\n") == 5
        assert desk.reader().last(2) == ["little", "more"]
        desk.close()


@needs_root
def test_f8_a_line_torn_by_a_full_disk_is_ended_before_the_next_run(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        desk = LogDesk(tmp_path / "disk" / "logs")
        fd = desk.child("a", 100 << 20)
        filler = fill(tmp_path / "disk")
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - 4_096)
        assert os.write(fd, b"z" * 10_000) < 10_000
        filler.unlink()
        os.write(desk.child(), b"next\n")
        assert desk.reader().last(1) == ["next"]
        desk.close()


@needs_root
def test_f8_a_read_only_disk_is_told_and_reads_go_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as remount:
        desk = LogDesk(tmp_path / "disk" / "logs")
        fd = desk.child("a", 64 << 10)
        os.write(fd, numbered(0, 2_000))
        desk.drop(fd)
        desk.again()
        remount("ro")
        with pytest.raises(OSError, match="Read-only"):
            desk.child("a", 64 << 10)
        assert numbers(desk.logs.read("a", lines=1)) == [1_999]
        remount("rw")
        desk.logs.check()
        assert desk.disk_bytes() <= 64 << 10, "resumes by itself"
        desk.close()


def test_f8_a_log_that_cannot_be_trimmed_is_told_once_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = LogDesk(tmp_path / "logs")
    bad, good = desk.child("a", 64 << 10), desk.child("b", 64 << 10)
    punch, bad_inode = logs_module.punch, os.fstat(bad).st_ino

    def failing(fd: int, length_bytes: int) -> None:
        if os.fstat(fd).st_ino == bad_inode:
            raise OSError(5, "Input/output error")
        punch(fd, length_bytes)

    monkeypatch.setattr(logs_module, "punch", failing)
    for fd in (bad, good):
        os.write(fd, numbered(0, 2_000))
    for _ in range(3):
        desk.logs.check()
    assert [(note.kind, note.agent) for note in desk.notes] == [("failed", "a"), ("trimmed", "b")]
    assert "Input/output error" in desk.notes[0].message
    desk.close()


def test_a_fast_writer_is_looked_at_more_often(tmp_path: Path) -> None:
    desk = LogDesk(tmp_path / "logs")
    fd = desk.child("a", 1 << 20)
    assert desk.logs.check() > logkeeper.LOOK_S / 2
    os.write(fd, numbered(0, 6_000))
    assert desk.logs.check() < logkeeper.LOOK_S / 2
    desk.close()


def test_a_forgotten_agent_leaves_its_file_and_no_note(tmp_path: Path) -> None:
    desk = LogDesk(tmp_path / "logs")
    os.write(desk.child("a", 1 << 20), b"x\n")
    desk.logs.forget("a")
    desk.logs.check()
    assert desk.notes == []
    assert desk.logs.read("a", lines=1) == ["x"]
    desk.close()
