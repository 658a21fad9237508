"""What is read of /proc: lines whose names are hostile, and how a zombie ended."""

import os

import pytest

from agentd.daemon import procfs
from agentd.daemon.procfs import parse_stat


def test_d14_a_stat_line_is_read_after_its_last_bracket() -> None:
    line = b"42 (a) R 1 2) S 7 42 42 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 999"
    stat = parse_stat(line + b" 0" * 30)
    assert (stat.comm, stat.state, stat.ppid) == ("a) R 1 2", "S", 7)
    assert (stat.cpu_ticks, stat.start_time) == (10, 999)


@pytest.mark.parametrize(
    ("state", "may_be_told", "status", "told"),
    [
        ("Z", 1, 9, 9),
        ("Z", 1, 0, 0),
        ("Z", 0, 0, None),  # what is shown to those who may not look
        ("Z", 0, 768, 768),
        ("S", 1, 0, None),
    ],
)
def test_how_a_zombie_ended_is_read_where_it_is_for_us_to_know(
    state: str, may_be_told: int, status: int, told: int | None
) -> None:
    fields = [state, *["0"] * 49]
    fields[32], fields[49] = str(may_be_told), str(status)
    assert parse_stat(f"42 (a) {' '.join(fields)}".encode()).exit_status == told


@pytest.mark.parametrize(
    ("status", "flags", "dying"),
    [
        (b"SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n", 0x400000, False),
        (b"SigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n", 0x400000, True),
        (b"SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n", 0x400000, True),
        (b"SigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n", 0x400000, False),
        (b"SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n", 0x40000C, True),
        (b"", None, False),
    ],
)
def test_a6_who_has_sigkill_pending_or_exits_is_dying(
    monkeypatch: pytest.MonkeyPatch, status: bytes, flags: int | None, *, dying: bool
) -> None:
    stat = b"" if flags is None else b"7 (a) b) R 1 7 7 0 -1 %d 0 0" % flags
    texts = {"/proc/7/status": status, "/proc/7/stat": stat}
    monkeypatch.setattr(procfs, "read", texts.get)
    assert procfs.is_dying(7) is dying


def test_who_lives_is_not_dying() -> None:
    assert not procfs.is_dying(os.getpid())
