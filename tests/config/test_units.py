import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.units import (
    DURATION_MS_MAX,
    SIZE_BYTES_MAX,
    format_dollars,
    format_duration,
    format_size,
    parse_dollars,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("250ms", 250),
        ("90s", 90_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("7d", 604_800_000),
        ("1.5s", 1_500),
        ("0s", 0),
        (" 1s ", 1_000),
        ("3650d", DURATION_MS_MAX),
    ],
)
def test_a_duration_is_read(text: str, expected_ms: int) -> None:
    assert parse_duration(text) == expected_ms


@pytest.mark.parametrize(
    "text",
    ["", " ", "5", "5x", "-5s", "5 s", "s", "1h 30m", "nan", "3650d1ms", "1s" * 33, "٣s", 5, None],
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|ten years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected_bytes"),
    [
        ("", 0),
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("2GiB", 2 << 30),
        ("2gb", 2 << 30),
        ("1.5K", 1_536),
        ("100", 100),
        ("1048576T", SIZE_BYTES_MAX),
    ],
)
def test_a_size_is_read(text: str, expected_bytes: int) -> None:
    assert parse_size(text) == expected_bytes


@pytest.mark.parametrize(
    # The last K is the sign for kelvin, which folds to k.
    "text",
    ["-1M", "M", "1X", "1MM", "nan", "1048577T", "9" * 65, 512, 1.0, True, None, "5\u212a"],
)
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"size|larger"):
        parse_size(text)


@pytest.mark.parametrize(
    ("amount", "expected_micros"),
    [(2.5, 2_500_000), ("2.50", 2_500_000), (0, 0), (1e9, 10**15), (0.000001, 1)],
)
def test_money_is_read(amount: object, expected_micros: int) -> None:
    assert parse_dollars(amount) == expected_micros


@pytest.mark.parametrize(
    "amount",
    [-0.01, float("nan"), float("inf"), 1.1e9, True, "x", "", "sNaN", "1e999999999", None, []],
)
def test_what_is_no_money_is_refused(amount: object) -> None:
    with pytest.raises(ValueError, match=r"dollars|signaling"):
        parse_dollars(amount)


@given(st.integers(0, DURATION_MS_MAX))
def test_a_duration_is_written_as_it_is_read(duration_ms: int) -> None:
    assert parse_duration(format_duration(duration_ms)) == duration_ms


@given(st.integers(0, SIZE_BYTES_MAX))
def test_a_size_is_written_as_it_is_read(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@given(st.integers(0, 10**12))
def test_money_is_written_as_it_is_read(amount_micros: int) -> None:
    assert parse_dollars(format_dollars(amount_micros)) == amount_micros


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_dollars):
        with contextlib.suppress(ValueError):  # any other exception is a failure
            assert parse(text) >= 0
