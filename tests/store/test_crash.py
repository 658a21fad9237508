"""A writer that is killed, or whose disk fails, has told nobody a lie."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.desk import Desk, ids
from tests.store.history import MIDNIGHT_MS, MINUTE_MS

ROOT = Path(__file__).parents[2]
STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed")


def scribe(directory: Path, groups: int, inject: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.store.programs.scribe", str(directory), str(groups)]
    if inject:
        assert STRACE is not None
        trace = [STRACE, "-f", "-qq", "-o", "/dev/null"]
        command = [
            *trace,
            "-e",
            f"trace={inject.partition(':')[0]}",
            "-e",
            f"inject={inject}",
            *command,
        ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "LC_ALL": "C"}
    )


def begin(directory: Path) -> None:
    """Make a store with one row, so that what is injected next meets the writer alone."""
    assert scribe(directory, 1).wait(30) == 0


def acknowledged(output: str) -> tuple[int, int]:
    """Return the last event id and incarnation that were said to be durable."""
    last_id = incarnation = 0
    for line in output.splitlines():
        match line.split():
            case ["ok", found, number]:
                last_id, incarnation = int(found), int(number)
    return last_id, incarnation


def expect_kept(directory: Path, output: str) -> None:
    last_id, incarnation = acknowledged(output)
    desk = Desk(directory, boot_id="boot")
    try:
        assert not desk.store.rebuilt, desk.store.damage
        found = ids(desk.store)
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= last_id
        if incarnation:
            assert desk.store.agents()["a"].durable.incarnation >= incarnation
        expect_whole_groups(desk)
    finally:
        desk.close()


def expect_whole_groups(desk: Desk) -> None:
    """Each group is there with its events, incident, evidence, alert and rollup, or not at all."""
    known = desk.store.agents()
    groups = known["a"].durable.incarnation if known else 0
    messages = {one["id"]: one["message"] for one in desk.store.events(after=0, limit=10_000)}
    assert len(messages) == 2 * groups
    numbers = list(range(1, groups + 1))
    assert desk.store.last_incident() == groups
    assert [one.number for one in desk.store.open_incidents()] == numbers
    assert all(desk.store.evidence(number) for number in numbers[-3:])
    told = desk.store.deliveries(limit=10_000)
    assert [one.row.uid for one in told] == [f"u-{number}" for number in numbers]
    assert all(messages[one.event_id] == one.row.record.message for one in told)
    minutes = desk.store.rollups(since_wall_ms=0, until_wall_ms=1 << 50, span="minute")
    assert [one.begins_ms for one in minutes] == [MIDNIGHT_MS + n * MINUTE_MS for n in numbers]
    assert all(one.heartbeats == 2 for one in minutes), "each is written once"


@pytest.mark.timeout(120)
def test_g2_nothing_acknowledged_is_lost_to_kill_9(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - chance, not secrets
    print(f"seed {seed}")  # noqa: T201 - shown with a failure
    draw = random.Random(seed)  # noqa: S311 - chance, not secrets
    for _ in range(6):
        process = scribe(tmp_path / "state", 100_000)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(draw.randrange(1, 400))]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=30)
        expect_kept(tmp_path / "state", "".join(lines) + rest)


@needs_strace
@pytest.mark.timeout(120)
@pytest.mark.parametrize("syscall", ["fdatasync", "pwrite64"])
@pytest.mark.parametrize("when", [1, 3, 8, 13, 21])
def test_g2_nothing_acknowledged_is_lost_at_the_nth_write(
    tmp_path: Path, syscall: str, when: int
) -> None:
    process = scribe(tmp_path / "state", 12, f"{syscall}:signal=SIGKILL:when={when}")
    output, _ = process.communicate(timeout=60)
    if (tmp_path / "state").exists():
        expect_kept(tmp_path / "state", output)


@needs_strace
@pytest.mark.timeout(120)
@pytest.mark.parametrize("when", [3, 5, 6, 9])
def test_h3_an_error_of_fdatasync_is_never_a_false_acknowledgement(
    tmp_path: Path, when: int
) -> None:
    begin(tmp_path / "state")
    process = scribe(tmp_path / "state", 12, f"fdatasync:error=EIO:when={when}")
    output, _ = process.communicate(timeout=60)
    assert "closed True" in output
    assert acknowledged(output)[1] == 13, output
    expect_kept(tmp_path / "state", output)


@needs_strace
@pytest.mark.timeout(120)
def test_h3_a_disk_that_goes_on_failing_is_told_and_nothing_is_acknowledged(
    tmp_path: Path,
) -> None:
    begin(tmp_path / "state")
    process = scribe(tmp_path / "state", 8, "fdatasync:error=EIO:when=4+")
    output, _ = process.communicate(timeout=60)
    assert "health False" in output
    assert "ok" in output
    assert "failed 9" in output
    expect_kept(tmp_path / "state", output)


@needs_strace
@pytest.mark.timeout(120)
def test_h4_a_write_that_finds_no_space_fails_and_is_told(tmp_path: Path) -> None:
    begin(tmp_path / "state")
    process = scribe(tmp_path / "state", 12, "pwrite64:error=ENOSPC:when=60+")
    output, _ = process.communicate(timeout=60)
    assert "health False" in output
    assert "ok" in output
    assert "failed 13" in output
    expect_kept(tmp_path / "state", output)
