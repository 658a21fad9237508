import json
import time

import pytest

from agentd.wire.limits import DEPTH_MAX, printable_escapes, too_deep, unusual
from agentd.wire.splitter import CHECKPOINT_BYTES_MAX, LINE_BYTES_MAX


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("raw", "deep"),
    [
        (nested(DEPTH_MAX), False),
        (nested(DEPTH_MAX + 1), True),
        (b'{"a":' * DEPTH_MAX + b"1" + b"}" * DEPTH_MAX, False),
        (b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1), True),
        (b"[" * 100_000, True),
        (b"[" + b"[]," * 5_000 + b"[]]", False),  # many, but side by side
        (json.dumps({"task": "[" * 500}).encode(), False),  # text is not structure
        (json.dumps({"task": '"[' * 500}).encode(), False),
        (b'["]",' * 40 + b"1" + b"]" * 40, True),  # a bracket in a text doesn't close one
    ],
)
def test_depth_is_judged_before_parsing(raw: bytes, deep: bool) -> None:
    assert too_deep(raw) is deep


@pytest.mark.parametrize(
    "raw",
    [
        b"[]" * (CHECKPOINT_BYTES_MAX // 2),
        b"[" * CHECKPOINT_BYTES_MAX,
        b'""' * (CHECKPOINT_BYTES_MAX // 2),
    ],
)
def test_the_costliest_line_is_looked_at_in_bounded_work(raw: bytes) -> None:
    before_s = time.process_time()
    too_deep(raw)
    # Some 0.1 s: the bound is ten times that, so that it fails for a step a bracket only.
    assert time.process_time() - before_s < 2.0


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (rb'"\ud800"', "\\ud800"),
        (rb'"\udc00\ud800"', "\\udc00\\ud800"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud83d\ud83d\ude00"', "\\ud83d\U0001f600"),
        (rb'"a\u0000b"', "a\\u0000b"),
        (rb'"\\ud800"', "\\ud800"),  # an escaped backslash and letters: text already
        (rb'"\\\ud800"', "\\\\ud800"),
        (rb'"\u001b[31m"', "\x1b[31m"),  # text, if not a pretty one: escaped when it is shown
    ],
)
def test_c7_escapes_that_are_no_text_are_stored_as_they_were_written(
    raw: bytes, shown: str
) -> None:
    text = json.loads(printable_escapes(raw))
    assert text == shown
    assert text.encode()


@pytest.mark.parametrize(
    ("raws", "closer"),
    [
        ([b'{"a":{"b":[1]}}'] * 100, False),
        ([b"{}", nested(DEPTH_MAX)], False),
        ([b"{}", nested(DEPTH_MAX + 1)], True),
        ([b"{}", rb'{"task":"\ud800"}'], True),
        ([b"{}", b"x" * (LINE_BYTES_MAX + 1)], True),
        ([b"x" * LINE_BYTES_MAX] * 2, False),
    ],
)
def test_only_lines_out_of_the_ordinary_cost_a_closer_look(raws: list[bytes], closer: bool) -> None:
    assert unusual(raws) is closer
