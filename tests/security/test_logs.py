"""An agent holds the descriptor of its own log: what it does to that stays with that log."""

import os
from pathlib import Path

import pytest

from agentd.daemon import logs
from agentd.daemon.logkeeper import LogNote, Logs

MIB = 1 << 20


@pytest.fixture
def notes() -> list[LogNote]:
    return []


@pytest.fixture
def kept(tmp_path: Path, notes: list[LogNote]) -> Logs:
    """Logs whose thread is the test itself."""
    place = tmp_path / "logs"
    return Logs(place, wall_ms=lambda: 0, post=lambda call: call(), on_note=notes.append)


def test_an_agent_that_stretches_its_log_beyond_every_number_ends_nothing(
    kept: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a file system with files of 8 EiB, where the position no longer fits a note.
    monkeypatch.setattr(logs, "POSITION_MAX", 64 * MIB)
    fd = kept.child_fd("bad", 0)
    for length in (40 * MIB, 0, 30 * MIB, 0, 63 * MIB, 80 * MIB):
        os.ftruncate(fd, length)
        kept.check()
        assert kept.file("bad").end() <= 64 * MIB
    os.write(fd, b"still heard\n")
    assert kept.read("bad", lines=1) == ["still heard"]
    os.close(fd)
    kept.close()


def test_a_position_beyond_what_can_be_noted_costs_one_log_and_not_the_thread(
    kept: Logs, notes: list[LogNote], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "POSITION_MAX", 1 << 70)
    fds = [kept.child_fd(name, MIB) for name in ("bad", "good")]
    bad = kept.file("bad")
    monkeypatch.setattr(bad, "_base", 1 << 63)
    os.write(fds[1], b"x" * 4 * MIB)
    kept.check()
    assert [note.agent for note in notes if note.kind == "failed"] == ["bad"]
    assert [note.agent for note in notes if note.kind == "trimmed"] == ["good"]
    kept.check()
    assert len([note for note in notes if note.kind == "failed"]) == 1  # said once
    for fd in fds:
        os.close(fd)
    kept.close()


def test_l3_a_symlink_where_a_log_belongs_is_refused_and_its_target_untouched(
    kept: Logs, tmp_path: Path
) -> None:
    target = tmp_path / "precious"
    target.write_text("keep me")
    (kept.directory / "bad.log").symlink_to(target)
    with pytest.raises(logs.LogRefused):
        kept.child_fd("bad", MIB)
    for beside in (".good.log.base", ".good.log.times"):
        (kept.directory / beside).symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        kept.child_fd("good", MIB)
    assert target.read_text() == "keep me"
    kept.close()
