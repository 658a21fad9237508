"""`agentctl breakers` as a person reads it."""

import time
from collections.abc import Iterator

import pytest

from agentd.cli.views.breakers import breakers_table
from agentd.cli.views.table import plain
from tests.cli.stub import BREAKER


@pytest.fixture(autouse=True)
def _utc(_environment: None) -> Iterator[None]:
    time.tzset()
    yield
    time.tzset()


def test_breakers_as_text() -> None:
    quiet = {**BREAKER, "name": "db", "state": "closed", "failures": 0, "opened": None}
    quiet |= {"retry_in_s": None, "last_error": None, "agents": []}
    shown = plain(breakers_table({"breakers": [BREAKER, quiet]}))
    assert shown.splitlines() == [
        (
            "DEPENDENCY  STATE     FAILURES  FIRST  RETRIES  OPENED               TRIAL IN"
            "  LAST ERROR  AGENTS"
        ),
        (
            "openai      open    5 in 1m00s     20        4  2026-11-21 08:00:00       42s"
            "  429         crawler, order-processor"
        ),
        (
            "db          closed  0 in 1m00s     20        4  -                           -"
            "  -           -"
        ),
        "1 open, 1 closed",
    ]


def test_what_an_agent_supplied_cannot_draw_on_the_terminal() -> None:
    nasty = {**BREAKER, "name": "\x1b[2J", "last_error": "a\nb"}
    shown = plain(breakers_table({"breakers": [nasty]}))
    assert "\x1b" not in shown
    assert r"a\nb" in shown


def test_none_is_said_in_words() -> None:
    assert plain(breakers_table({"breakers": []})) == "no agent has told of a shared dependency"
