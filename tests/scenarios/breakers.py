"""[breakers.NAME]: one breaker a dependency, shared by all agents of the host.

Agents report how their calls went, and ask before the next. Too many failures within `window`
open it; after `reset` a few trials are let through; one that goes well closes it.
"""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.traces import Line, breaker, chain, daemon_away, end, may_i

SMALL: Final = """\
[breakers.openai]
failures = 3
window = "10s"
reset = "30s"
"""


def _failures(first: float, count: int, every: float = 1) -> list[Line]:
    return [breaker(first + number * every, ok=False) for number in range(count)]


OPENING: Final = (
    Scenario(
        "four failures in a minute open nothing",
        ("breakers.failures below",),
        chain(_failures(10, 4), end(200)),
        head="[breakers.openai]\n",
    ),
    Scenario(
        "the fifth opens it",
        ("breakers.failures beyond",),
        chain(_failures(10, 5), end(50)),
        head="[breakers.openai]\n",
        told=("14 breaker.opened",),
    ),
    Scenario(
        "failures further apart than the window don't add up",
        ("breakers.window below",),
        chain(_failures(10, 9, every=5.1), end(60)),
        head=SMALL,
    ),
    Scenario(
        "within it they do",
        ("breakers.window beyond",),
        chain(_failures(10, 3, every=4.9), end(45)),
        head=SMALL,
        told=("19.8 breaker.opened",),
    ),
    Scenario(
        "agents share it: each failed once",
        ("breakers.failures beyond",),
        [
            breaker(10, ok=False, agent="a"),
            breaker(11, ok=False, agent="b"),
            breaker(12, ok=False, agent="c"),
            end(40),
        ],
        head=SMALL,
        agents=("a", "b", "c"),
        told=("12 breaker.opened",),
    ),
)

CLOSED: Final = "answer state=closed allow=True"
OPEN: Final = "answer state=open allow=False"
HALF_OPEN: Final = "answer state=half_open allow=True"
REFUSED: Final = "answer state=half_open allow=False"
OPENS: Final = "12 breaker.opened"

CLOSING: Final = (
    Scenario(
        "it stays open for `reset`, however often it is asked",
        ("breakers.reset below",),
        chain(_failures(10, 3), may_i(13), may_i(41.9), end(41.95)),
        head=SMALL,
        told=(OPENS, f"13 {OPEN} retry_in_s=29.0", f"41.9 {OPEN}"),
    ),
    Scenario(
        "then a trial is let through, and closes it if it goes well",
        ("breakers.reset beyond",),
        chain(_failures(10, 3), may_i(42), breaker(43, ok=True), may_i(44), end(50)),
        head=SMALL,
        told=(
            OPENS,
            "42 breaker.half_open",
            f"42 {HALF_OPEN}",
            "43 breaker.closed",
            f"44 {CLOSED}",
        ),
    ),
    Scenario(
        "a trial that fails opens it for another `reset`",
        ("breakers.reset below",),
        chain(_failures(10, 3), may_i(42), breaker(43, ok=False), may_i(72), may_i(73), end(80)),
        head=SMALL,
        told=(
            OPENS,
            "42 breaker.half_open",
            f"42 {HALF_OPEN}",
            "43 breaker.opened",
            f"72 {OPEN}",
            "73 breaker.half_open",
            f"73 {HALF_OPEN}",
        ),
    ),
    Scenario(
        "one trial at a time",
        ("breakers.half_open_max below", "breakers.half_open_max beyond"),
        chain(_failures(10, 3), may_i(42), may_i(43), end(45)),
        head=SMALL,
        told=(OPENS, "42 breaker.half_open", f"42 {HALF_OPEN}", f"43 {REFUSED}"),
    ),
    Scenario(
        "or as many as the config says",
        ("breakers.half_open_max below", "breakers.half_open_max beyond"),
        chain(_failures(10, 3), may_i(42), may_i(43), may_i(44), end(45)),
        head=SMALL + "half_open_max = 2\n",
        told=(
            OPENS,
            "42 breaker.half_open",
            f"42 {HALF_OPEN}",
            f"43 {HALF_OPEN}",
            f"44 {REFUSED}",
        ),
    ),
    Scenario(
        "a success begins the count of failures anew only once it was open",
        ("breakers.failures beyond",),
        chain(_failures(10, 2), breaker(12, ok=True), breaker(13, ok=False), end(40)),
        head=SMALL,
        told=("13 breaker.opened",),
    ),
    Scenario(
        "a daemon that comes back knows of no failure, and asks nobody to wait",
        ("breakers.failures below",),
        chain(_failures(10, 2), daemon_away(12, 12.5), _failures(13, 2), may_i(15), end(20)),
        head=SMALL,
        told=(f"15 {CLOSED}",),
    ),
)


def _firsts(first: float, count: int) -> list[Line]:
    """First attempts that went well."""
    return [breaker(first + number, ok=True) for number in range(count)]


def _retries(first: float, count: int) -> list[Line]:
    """Attempts after the first, that went well in the end."""
    return [breaker(first + number, ok=True, attempt=2) for number in range(count)]


RETRIES: Final = (
    Scenario(
        "below the floor a retry is always allowed",
        ("breakers.retry_floor_per_minute below",),
        chain(_retries(10, 5), may_i(20), end(30)),
        head="[breakers.openai]\n",
        told=(f"20 {CLOSED} retry_allowed=True",),
    ),
    Scenario(
        "at the floor it isn't",
        ("breakers.retry_floor_per_minute beyond",),
        chain(_retries(10, 6), may_i(20), end(30)),
        head="[breakers.openai]\n",
        told=(f"20 {CLOSED} retry_allowed=False",),
    ),
    Scenario(
        "and a minute later it is again",
        ("breakers.retry_floor_per_minute below",),
        chain(_retries(10, 6), may_i(77), end(80)),
        head="[breakers.openai]\n",
        told=(f"77 {CLOSED} retry_allowed=True",),
    ),
    Scenario(
        "retries below a fifth of the first attempts are allowed, whatever the floor",
        ("breakers.retry_ratio below",),
        chain(_firsts(10, 40), _retries(50, 7), may_i(58), end(60)),
        head="[breakers.openai]\n",
        told=(f"58 {CLOSED} retry_allowed=True",),
    ),
    Scenario(
        "beyond it they would be a storm",
        ("breakers.retry_ratio beyond",),
        chain(_firsts(10, 40), _retries(50, 8), may_i(58), end(60)),
        head="[breakers.openai]\n",
        told=(f"58 {CLOSED} retry_allowed=False",),
    ),
)

SCENARIOS: Final = (*OPENING, *CLOSING, *RETRIES)
