"""What is read of /proc: lines whose names are hostile, and how a zombie ended."""

import pytest

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
