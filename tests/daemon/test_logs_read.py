"""What a reader of a log gets: huge lines, hostile bytes, times, patterns."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.daemon.loggrep import GrepRefused, Pattern, matcher
from agentd.daemon.logindex import LogIndex
from agentd.daemon.loglines import PIECE_BYTES_MAX, SPLIT_MARK, LogLine, read_page, shown
from agentd.daemon.logs import Chunk
from tests.daemon.log_desk import LogDesk, numbered, numbers


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LogDesk]:
    desk = LogDesk(tmp_path / "logs")
    yield desk
    desk.close()


class Memory:
    """A log that is bytes in memory."""

    start = 0

    def __init__(self, data: bytes) -> None:
        self.data = data

    def end(self) -> int:
        return len(self.data)

    def read(self, position: int, max_bytes: int) -> Chunk:
        return Chunk(position, self.data[position : position + max_bytes], 0, len(self.data))


def everything(data: bytes, secrets: tuple[bytes, ...] = ()) -> list[LogLine]:
    source, position, lines = Memory(data), 0, []
    while position < len(data):
        page = read_page(source, position, final=True, secrets=secrets)
        assert page.position > position
        lines += page.lines
        position = page.position
    return lines


@given(st.lists(st.binary(max_size=40) | st.integers(0, 3 * PIECE_BYTES_MAX), max_size=8))
def test_f2_pieces_put_together_are_what_was_written(parts: list[bytes | int]) -> None:
    data = b"\n".join(b"z" * one if isinstance(one, int) else one for one in parts)
    lines = everything(data)
    whole = b"".join(line.text + (b"" if line.goes_on else b"\n") for line in lines)
    assert whole in {data, data + b"\n"}
    assert all(len(line.text) <= PIECE_BYTES_MAX for line in lines)


def test_f2_a_line_of_50_mb_is_shown_in_marked_pieces(desk: LogDesk) -> None:
    fd = desk.child()
    for _ in range(50):
        os.write(fd, b"y" * (1 << 20))
    os.write(fd, b"\nlast\n")
    found = desk.reader().last(3)
    assert found[-1] == "last"
    assert not found[1].endswith(SPLIT_MARK)
    assert found[0] == "y" * PIECE_BYTES_MAX + SPLIT_MARK
    assert sum(map(len, desk.reader().last(10_000))) <= 8 << 20, "bounded, however much is asked"


def test_f2_a_piece_never_ends_within_a_character() -> None:
    for shift in range(4):
        data = b"a" * shift + "\U0001f980".encode() * PIECE_BYTES_MAX
        texts = [shown(line) for line in everything(data)]
        assert not any("\\x" in text for text in texts)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"plain \xc3\xa9 \xe2\x82\xac\ttab", "plain é €\ttab"),
        (b"\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        (b"nul\x00byte", "nul\\x00byte"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"crlf\r", "crlf"),
        (b"progress\rdone", "progress\\x0ddone"),
        ("left\u202eright".encode(), "left\\u202eright"),  # changes the order of writing
        ("c1\x9b1m".encode(), "c1\\x9b1m"),
        ("\u00a0wide\u3000".encode(), "\u00a0wide\u3000"),
        ("tag\U000e0041".encode(), "tag\\U000e0041"),
    ],
)
def test_f3_what_controls_a_terminal_is_shown_as_an_escape(written: bytes, expected: str) -> None:
    assert shown(LogLine(0, written)) == expected


def test_f3_raw_is_raw(desk: LogDesk) -> None:
    os.write(desk.child(), b"\x1b[31mred\x1b[0m\n")
    assert desk.reader(raw=True).last(1) == ["\x1b[31mred\x1b[0m"]
    assert desk.reader().last(1) == ["\\x1b[31mred\\x1b[0m"]


@given(st.integers(PIECE_BYTES_MAX - 40, PIECE_BYTES_MAX + 5), st.booleans())
def test_f3_a_secret_is_masked_across_the_border_of_two_pieces(before: int, twice: bool) -> None:
    secrets = (b"hunter2-hunter2", b"2-hunter2x")
    data = b"k" * before + secrets[0] * (2 if twice else 1) + b"tail" * 4_000
    text = "".join(
        shown(line, secrets=secrets).removesuffix(SPLIT_MARK) for line in everything(data, secrets)
    )
    assert "hunter2" not in text
    assert "***" in text


def test_f7_all_that_was_printed_before_an_exit_can_be_read(desk: LogDesk) -> None:
    fd = desk.child()
    os.write(fd, numbered(0, 655) + b"the very end")
    found = desk.reader().last(700)
    assert numbers(found[:-1]) == list(range(655))
    assert found[-1] == "the very end"


def test_a_follower_waits_for_the_end_of_a_line(desk: LogDesk) -> None:
    fd, reader = desk.child(), desk.reader()
    os.write(fd, b"one\ntw")
    page = reader.next_page(0)
    assert [line.text for line in page.lines] == [b"one"]
    assert reader.next_page(page.position).lines == []
    os.write(fd, b"o\n")
    assert [line.text for line in reader.next_page(page.position).lines] == [b"two"]


@pytest.mark.parametrize(
    ("written", "lines", "expected"),
    [
        (b"", 3, []),
        (b"a\nb\nc\n", 2, ["b", "c"]),
        (b"a\nb\nc", 2, ["b", "c"]),
        (b"a\nb\n", 5, ["a", "b"]),
        (b"a\n\n\n", 2, ["", ""]),
        (b"a\n", 0, []),
        (b"\n" * 70_000 + b"end\n", 1, ["end"]),
        (b"x\n" + b"w" * 100_000, 1, None),  # begins beyond one block
    ],
)
def test_the_last_lines_are_found_from_the_end(
    desk: LogDesk, written: bytes, lines: int, expected: list[str] | None
) -> None:
    os.write(desk.child(), written)
    reader = desk.reader()
    if expected is None:
        assert reader.follow_from(lines) == 2
    else:
        assert reader.last(lines) == expected


def test_a_log_that_was_never_written_has_no_lines(desk: LogDesk) -> None:
    assert desk.logs.read("nobody", lines=10) == []
    assert not (desk.directory / "nobody.log").exists()


def test_f9_since_is_complete_across_trims_restarts_and_idle_hours(desk: LogDesk) -> None:
    fd, begun_ms = desk.child("a", 64 << 10), desk.wall_ms
    for minute in range(60):
        desk.wall_ms = begun_ms + minute * 60_000
        os.write(fd, numbered(minute * 100, 100))
        desk.logs.check()
        if minute % 20 == 19:
            desk.again()
            fd = desk.child("a", 64 << 10)
    # An hour of silence, in which a zone may change its clocks: positions go by UTC.
    desk.wall_ms += 3_600_000
    os.write(fd, numbered(6_000, 5))
    desk.logs.check()
    for minute in (57, 58, 59):
        found = numbers(desk.logs.read("a", lines=10_000, since_ms=begun_ms + minute * 60_000))
        assert found == list(range(minute * 100, 6_005))
    after = begun_ms + 59 * 60_000 + 1
    assert numbers(desk.logs.read("a", lines=100, since_ms=after)) == list(range(6_000, 6_005))
    assert desk.logs.read("a", lines=100, since_ms=desk.wall_ms + 1) == []
    everything_left = numbers(desk.logs.read("a", lines=10_000, since_ms=0))
    assert everything_left == list(range(everything_left[0], 6_005))


def test_i1_since_finds_lines_though_the_clock_was_set_back(desk: LogDesk) -> None:
    fd, begun_ms = desk.child(), desk.wall_ms
    for number, offset_ms in enumerate((0, 10_000, -3_600_000, 20_000)):
        desk.wall_ms = begun_ms + offset_ms
        os.write(fd, numbered(number, 1))
        desk.logs.check()
    assert numbers(desk.logs.read("a", lines=10, since_ms=begun_ms + 10_000)) == [1, 2, 3]


def test_the_index_stays_bounded_and_still_finds(tmp_path: Path) -> None:
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    index = LogIndex(dir_fd, "a.log", entries_max=64)
    for second in range(1_000):
        index.sample(second * 1_000, (second + 1) * 10, 0)
    assert (tmp_path / ".a.log.times").stat().st_size <= 65 * 16
    for second in (3, 500, 999):
        assert index.position_since(second * 1_000) <= second * 10
    assert index.position_since(999_000) == 9_990
    with (tmp_path / ".a.log.times").open("ab") as file:
        file.write(b"torn")
    assert index.position_since(999_000) == 9_990
    index.sample(2_000_000, 10_010, 0)
    assert index.position_since(2_000_000) == 10_000
    os.close(dir_fd)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (None, ["alpha 1", "beta 22", "gamma"]),
        ("beta", ["beta 22"]),
        (r"\d{2}$", ["beta 22"]),
        (r"^(alpha|gamma)", ["alpha 1", "gamma"]),
        ("nothing", []),
    ],
)
def test_lines_are_chosen_by_word_or_by_pattern(
    desk: LogDesk, pattern: str | None, expected: list[str]
) -> None:
    os.write(desk.child(), b"alpha 1\nbeta 22\ngamma\n")
    assert desk.logs.read("a", lines=10, grep=pattern) == expected


def test_the_last_matches_are_found_however_far_back(desk: LogDesk) -> None:
    fd = desk.child()
    os.write(fd, b"needle 1\nneedle 2\n" + numbered(0, 20_000))
    assert desk.logs.read("a", lines=1, grep=r"needle \d") == ["needle 2"]


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(GrepRefused, match="not a regular expression"):
        matcher("(unclosed")


def test_a_pattern_that_never_ends_is_given_up_and_stops_nobody_else() -> None:
    with Pattern(r"(a+)+$", 1.0) as wanted:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(wanted.matches, ["a" * 200 + "!"])
            rounds = 0
            while not asked.done():
                rounds += 1
        with pytest.raises(GrepRefused, match="takes too long"):
            asked.result()
    assert rounds > 1_000, "the interpreter was not held"
    assert wanted._process.returncode is not None, "its process is gone"


def test_whoever_follows_never_waits_for_a_trim(desk: LogDesk) -> None:
    os.write(desk.child(), b"one\n")
    log = desk.log()
    assert log.may_have_more(0)
    assert not log.may_have_more(4)
    with log._lock:
        assert log.may_have_more(4), "a thread will find out"
