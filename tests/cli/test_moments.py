"""Local times of the command line on the days on which clocks are changed."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from tests.cli.stub import Stub

# As in Europe/Berlin, also where no tables of time zones are installed.
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", BERLIN)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("since", "utc"),
    [
        ("2026-03-29T01:59", "2026-03-29T00:59"),
        # There is none: whoever says it means to miss nothing that a clock showed later.
        ("2026-03-29T02:30", "2026-03-29T00:30"),
        ("2026-03-29T03:00", "2026-03-29T01:00"),
        ("2026-10-25T01:59", "2026-10-24T23:59"),
        ("2026-10-25T02:30", "2026-10-25T00:30"),  # and once more an hour later
        ("2026-10-25T02:30+01:00", "2026-10-25T01:30"),
        ("2026-10-25T03:00", "2026-10-25T02:00"),
    ],
)
def test_f9_since_misses_nothing_on_the_day_the_clocks_change(
    serve: Callable[..., Stub], ctl: Callable[..., tuple[int, str, str]], since: str, utc: str
) -> None:
    stub = serve({"logs": {"logs": []}})
    assert ctl("logs", "a", "--since", since)[0] == 0
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert stub.asked[-1]["args"]["since_ms"] == int(moment.timestamp()) * 1000
