import json
import random

import pytest

from agentd.wire.splitter import CHECKPOINT_BYTES_MAX, LINE_BYTES_MAX, Splitter


def test_lines_come_out_whole_however_the_stream_is_cut() -> None:
    dice = random.Random(7)  # noqa: S311 - dice, not secrets
    lines = [b"x" * dice.randrange(50) for _ in range(500)]
    stream = b"".join(line + b"\n" for line in lines)
    splitter, found, at = Splitter(), [], 0
    while at < len(stream):
        step = dice.randrange(1, 90)
        found += splitter.feed(stream[at : at + step])
        at += step
    assert found == lines
    assert not splitter.partial


@pytest.mark.parametrize(
    ("size", "overflow"),
    [(LINE_BYTES_MAX - 1, False), (LINE_BYTES_MAX, False), (LINE_BYTES_MAX + 1, True)],
)
@pytest.mark.parametrize("ended", [True, False])
def test_a_line_has_at_most_64_kib(size: int, overflow: bool, ended: bool) -> None:
    splitter = Splitter()
    found = splitter.feed(b"before\n" + b"x" * size + (b"\nafter\n" if ended else b""))
    assert splitter.overflow is overflow
    assert found[0] == b"before"
    assert (b"after" in found) is (ended and not overflow)


@pytest.mark.parametrize(
    ("head", "size", "overflow"),
    [
        (b'{"type":"checkpoint.put","x":"', CHECKPOINT_BYTES_MAX, False),
        (b'{"type":"checkpoint.put","x":"', CHECKPOINT_BYTES_MAX + 1, True),
        (b'{"id":"2", "type" : "checkpoint.put","x":"', CHECKPOINT_BYTES_MAX, False),
        (b'{"type":"checkpoint.get","x":"', LINE_BYTES_MAX + 1, True),
        (b'{"task":"\\"type\\":\\"checkpoint.put\\"', LINE_BYTES_MAX + 1, True),
    ],
)
def test_only_a_checkpoint_may_be_longer(head: bytes, size: int, overflow: bool) -> None:
    line = head + b"x" * (size - len(head))
    for pieces in ([line + b"\n"], [line[:100_000], line[100_000:] + b"\n"]):
        splitter = Splitter()
        found = [one for piece in pieces for one in splitter.feed(piece)]
        assert splitter.overflow is overflow
        assert found == ([] if overflow else [line])


def test_after_an_overflow_nothing_is_kept_and_nothing_is_taken() -> None:
    splitter = Splitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 10_000) == []
    assert splitter.overflow
    assert not splitter.partial
    assert splitter.feed(b"\n{}\n") == []


def test_an_empty_read_changes_nothing() -> None:
    splitter = Splitter()
    assert splitter.feed(b"") == []
    assert splitter.feed(b"half") == []
    assert splitter.feed(b"") == []
    assert splitter.feed(json.dumps({}).encode() + b"\n") == [b"half{}"]
