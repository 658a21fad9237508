"""Disk is bounded while the agent writes, and no line that is kept is lost or doubled."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.daemon import logs as logs_module
from agentd.daemon.logbase import Base, BaseFile
from agentd.daemon.loggrep import matcher
from agentd.daemon.logs import LogFile, LogRefused
from agentd.daemon.logtrim import NotSupported
from tests.daemon.log_desk import PLACES, LogDesk, numbered, numbers, places
from tests.stopwatch import Stopwatch

WRITER = """
import os, sys
pattern, seconds = b"x" * 65535 + b"\\n", float(sys.argv[1])
import time
until, left = time.monotonic() + seconds, int(sys.argv[2])
while time.monotonic() < until and left > 0:
    left -= os.write(1, pattern)
print("end", flush=True)
"""


@pytest.fixture(params=PLACES)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogDesk]:
    with contextlib.contextmanager(places)(tmp_path, request.param) as directory:
        desk = LogDesk(directory)
        yield desk
        desk.close()


def test_f1_disk_stays_bounded_under_a_fast_writer_that_is_never_held_up(desk: LogDesk) -> None:
    bound = 8 << 20
    fd = desk.child("a", bound)
    most, samples = 0, 0
    desk.logs.start()
    with subprocess.Popen([sys.executable, "-c", WRITER, "2", str(400 << 20)], stdout=fd) as agent:
        watch, before_s = Stopwatch(), time.process_time()
        while agent.poll() is None:
            most, samples = max(most, desk.disk_bytes()), samples + 1
            with contextlib.suppress(subprocess.TimeoutExpired):
                agent.wait(0.02)
        took_s, used_s = watch.wall_s, time.process_time() - before_s
    written = desk.log().end()
    assert samples > 3
    # The bound and a second's output; more only for as long as somebody waited for a core.
    late_s = 1 + watch.starved_s
    assert most <= bound + late_s * written / max(took_s, 0.1) + (1 << 20)
    assert used_s < took_s / 2
    assert desk.reader().last(1) == ["end"]
    desk.logs.check()
    assert desk.logs.dropped_bytes == sum(
        note.dropped_bytes for note in desk.notes if note.kind == "trimmed"
    )
    if written > bound:
        assert desk.disk_bytes() <= bound + (1 << 20)
        assert "bytes trimmed" in desk.notes[0].message


def test_f5_no_numbered_line_is_lost_or_doubled_across_trims(desk: LogDesk) -> None:
    fd = desk.child("a", 64 << 10)
    reader, position, seen = desk.reader(), 0, []
    for part in range(120):
        os.write(fd, numbered(part * 100, 100))
        page = reader.next_page(position)
        assert page.lost_bytes == 0
        seen += numbers(reader.texts(page.lines, matcher(None)))
        position = page.position
        desk.logs.check()
    assert seen == list(range(12_000))
    assert desk.logs.dropped_bytes > 1_000_000
    assert desk.disk_bytes() <= 72 << 10


def test_f5_a_follower_who_was_too_slow_goes_on_at_a_whole_line(desk: LogDesk) -> None:
    fd = desk.child("a", 64 << 10)
    for part in range(20):
        os.write(fd, numbered(part * 100, 100))
        desk.logs.check()
    reader = desk.reader()
    page = reader.next_page(0)
    found = numbers(reader.texts(page.lines, matcher(None)))
    assert page.lost_bytes == page.lines[0].position
    assert found == list(range(found[0], 2_000))
    assert page.lost_bytes == found[0] * 100, "positions are those of the whole log"


def test_f5_positions_survive_a_restart_of_the_daemon(desk: LogDesk) -> None:
    fd = desk.child("a", 64 << 10)
    os.write(fd, numbered(0, 3_000))
    desk.logs.check()
    os.write(fd, numbered(3_000, 10))
    desk.logs.check()
    reader = desk.reader()
    position = reader.follow_from(5)
    before = numbers(reader.texts(reader.next_page(position).lines, matcher(None)))
    desk.again()
    os.write(fd, numbered(3_010, 5))
    reader = desk.reader()
    after = numbers(reader.texts(reader.next_page(position).lines, matcher(None)))
    assert before == list(range(3_005, 3_010))
    assert after == list(range(3_005, 3_015))


@pytest.mark.parametrize("moment", ["punch", "write", "collapse", "write again"])
def test_f5_a_crash_within_a_trim_moves_no_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    desk = LogDesk(tmp_path / "logs")
    fd = desk.child("a", 32 << 10)
    os.write(fd, numbered(0, 1_000))
    log = desk.log()
    crash = _Crash()
    writes: list[Base] = []
    write, collapse = BaseFile.write, logs_module.collapse

    def write_until(file: BaseFile, base: Base) -> None:
        writes.append(base)
        if moment == "punch" and base.collapsing:
            raise crash
        if moment == "write again" and len(writes) > 1 and not base.collapsing and log.start:
            raise crash
        write(file, base)
        if moment == "write" and base.collapsing:
            raise crash

    def collapse_until(fd: int, length_bytes: int) -> None:
        collapse(fd, length_bytes)
        if moment == "collapse":
            raise crash

    monkeypatch.setattr(BaseFile, "write", write_until)
    monkeypatch.setattr(logs_module, "collapse", collapse_until)
    with contextlib.suppress(_Crash):
        log.trim()
        log.trim()
    monkeypatch.undo()
    os.write(fd, numbered(1_000, 1))
    desk.again()
    reader = desk.reader()
    page = reader.next_page(0)
    for line, number in zip(
        page.lines, numbers(reader.texts(page.lines, matcher(None))), strict=True
    ):
        assert line.position == number * 100
    assert numbers(reader.last(1)) == [1_000]
    desk.close()


class _Crash(Exception):  # noqa: N818 - not an error: the daemon ends here
    pass


@pytest.mark.timeout(120)
def test_f5_kill_9_of_the_daemon_while_it_trims_loses_and_doubles_nothing(tmp_path: Path) -> None:
    keeper = (
        "import sys\nfrom pathlib import Path\nfrom agentd.daemon.logkeeper import Logs\n"
        "logs = Logs(Path(sys.argv[1]), wall_ms=lambda: 0, post=lambda call: call(),"
        " on_note=lambda note: None)\n"
        "log = logs.file('a', 65536)\nprint('open', flush=True)\nwhile True: logs.check()\n"
    )
    desk = LogDesk(tmp_path / "logs")
    fd = desk.child("a", 64 << 10)
    next_number, position, seen = 0, 0, []
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", keeper, str(desk.directory)], stdout=subprocess.PIPE, text=True
        ) as daemon:
            assert daemon.stdout is not None
            daemon.stdout.readline()
            for _ in range(15):
                os.write(fd, numbered(next_number, 50))
                next_number += 50
                time.sleep(0.001)  # so that trims fall between writes, too
            daemon.send_signal(signal.SIGKILL)
        desk.again()
        reader = desk.reader()
        page = reader.next_page(position)
        for line, number in zip(
            page.lines, numbers(reader.texts(page.lines, matcher(None))), strict=True
        ):
            assert line.position == number * 100
            seen.append(number)
        position = page.position
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen)
    assert seen[-1] == next_number - 1
    desk.close()


def test_the_file_shrinks_where_its_file_system_can_do_that(tmp_path: Path) -> None:
    desk = LogDesk(tmp_path / "logs")
    fd = desk.child("a", 64 << 10)
    for part in range(40):
        os.write(fd, numbered(part * 100, 100))
        desk.logs.check()
    if not desk.log()._shrinks:
        pytest.skip("this file system can't take a range out of a file")
    assert (desk.directory / "a.log").stat().st_size <= 256 << 10
    assert desk.log().end() == 400_000
    desk.close()


def test_without_holes_the_log_is_copied_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, length_bytes: int) -> None:
        raise NotSupported(fd, length_bytes)

    monkeypatch.setattr(logs_module, "punch", refuse)
    desk = LogDesk(tmp_path / "logs")
    fd = desk.child("a", 64 << 10)
    os.write(fd, numbered(0, 1_000))
    desk.logs.check()
    assert [note.kind for note in desk.notes] == ["copied"]
    assert "lost" in desk.notes[0].message
    os.write(fd, numbered(1_000, 10))
    desk.again()
    reader = desk.reader()
    found = reader.next_page(0)
    assert numbers(reader.texts(found.lines, matcher(None)))[-1] == 1_009
    assert found.lines[-1].position == 1_009 * 100
    assert desk.disk_bytes() <= 64 << 10
    desk.close()


def test_an_agent_that_truncates_its_own_log_loses_no_follower(desk: LogDesk) -> None:
    fd = desk.child()
    os.write(fd, numbered(0, 10))
    reader = desk.reader()
    position = reader.next_page(0).position
    os.ftruncate(fd, 0)
    os.write(fd, numbered(10, 3))
    page = reader.next_page(position)
    assert numbers(reader.texts(page.lines, matcher(None))) == [10, 11, 12]


def test_a_log_that_was_moved_away_is_begun_anew_with_the_next_run(desk: LogDesk) -> None:
    os.write(desk.child(), numbered(0, 10))
    reader = desk.reader()
    position = reader.next_page(0).position
    (desk.directory / "a.log").rename(desk.directory / "a.log.1")
    os.write(desk.child(), numbered(10, 3))
    page = reader.next_page(position)
    assert numbers(reader.texts(page.lines, matcher(None))) == [10, 11, 12]


def test_a_torn_last_line_gets_its_end_before_the_next_run_writes(desk: LogDesk) -> None:
    os.write(desk.child(), b"whole\ntorn")
    os.write(desk.child(), b"next\n")
    desk.child()
    assert desk.reader().last(10) == ["whole", "torn", "next"]


def test_the_file_is_ours_and_readable_by_its_group_only(desk: LogDesk) -> None:
    previous = os.umask(0)
    try:
        fd = desk.child()
    finally:
        os.umask(previous)
    assert (desk.directory / "a.log").stat().st_mode & 0o777 == 0o640
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.read(fd, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/etc/passwd"),
        os.mkfifo,
    ],
)
def test_a_log_that_is_no_plain_file_is_refused(desk: LogDesk, make: object) -> None:
    assert callable(make)
    make(desk.directory / "a.log")
    with pytest.raises(LogRefused, match=r"a\.log"):
        desk.child()


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o777)
    with pytest.raises(LogRefused, match="logs"):
        LogDesk(tmp_path / "logs")


def test_reading_while_trimming_in_another_thread_tears_nothing(desk: LogDesk) -> None:
    fd = desk.child("a", 64 << 10)
    log: LogFile = desk.log()
    stop = threading.Event()

    def trim() -> None:
        while not stop.is_set():
            log.trim()

    trimmer = threading.Thread(target=trim)
    trimmer.start()
    reader, position = desk.reader(), 0
    try:
        for part in range(300):
            os.write(fd, numbered(part * 20, 20))
            page = reader.next_page(position)
            found = numbers(reader.texts(page.lines, matcher(None)))
            assert [line.position for line in page.lines] == [number * 100 for number in found]
            position = page.position
    finally:
        stop.set()
        trimmer.join(10)
    assert position == 600_000
