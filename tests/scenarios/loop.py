"""[loop]: the same work again and again, seen from fingerprints of what was asked and answered.

A warning comes first, to people as an event and to the agent as `steer`; the verdict comes only
after it, and `on_loop` follows.
"""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.traces import (
    Line,
    beat,
    chain,
    command,
    end,
    exits,
    failed,
    step,
    steps,
    word,
)

SAME: Final = ("web_search", "weather in Kyiv", "cloudy, with a little rain in the evening")
LONG: Final = (
    "this is a long answer, long enough to say something when it comes again and again " * 2
)
WARNED: Final = "loop.warning warning"
DETECTED: Final = "loop.detected critical LOOP_DETECTED"
TELLS: Final = 'loop.on_loop = "alert"\n'


def _same(count: int, first: float = 10) -> list[Line]:
    return steps(first, count, *SAME)


def _cycle(times: int, *tools: str) -> list[Line]:
    names = [tool for _ in range(times) for tool in tools]
    return [step(10 + 10 * n, tool, f"do {tool}", f"did {tool}") for n, tool in enumerate(names)]


def _seen(
    name: str, trace: list[Line], *told: str, side: str = "", config: str = TELLS
) -> Scenario:
    sides = (f"loop.on_loop {side}",) if side else ()
    return Scenario(name, sides, [*trace, end(9000)], config, told, never=("freeze",))


RULES: Final = (
    _seen("twice the same answer to the same question is common", _same(2)),
    _seen("three in a row is worth a word to the agent", _same(4), f"30 {WARNED}"),
    _seen("five is a loop", _same(5), f"30 {WARNED}", f"50 {DETECTED}"),
    _seen(
        "numbers, ids and times that change make it no other answer",
        [
            step(10 + 10 * n, "status", "status of job", f"job 9f86d081884c7d65 ran {n} s: " + LONG)
            for n in range(5)
        ],
        f"30 {WARNED}",
        f"50 {DETECTED}",
    ),
    _seen("another answer each time is no loop", steps(10, 9, "search", "news", "{n} happened")),
    _seen("another question each time is none", steps(10, 9, "search", "about {n}", "{n}: found")),
    _seen("two steps by turns, three times", _cycle(3, "edit", "test"), f"60 {WARNED}"),
    _seen(
        "four times are a loop",
        _cycle(4, "edit", "test"),
        f"60 {WARNED}",
        f"80 {DETECTED}",
    ),
    _seen(
        "a circle of five is a circle too",
        _cycle(4, "look", "think", "edit", "test", "undo"),
        f"150 {WARNED}",
        "170 drift.warning",
        f"200 {DETECTED}",
    ),
    _seen(
        "one tool, ever new questions, ever the same long answer",
        steps(10, 8, "search", "about {n}", LONG),
        f"60 {WARNED}",
        f"80 {DETECTED}",
    ),
    _seen("a short answer says too little", steps(10, 12, "write", "line {n}", "ok")),
)

EXCUSES: Final = (
    _seen(
        "progress that rises", chain(_same(4), beat(45, progress=0.5), _same(2, 50)), f"30 {WARNED}"
    ),
    _seen(
        "progress that is only repeated is none",
        chain(beat(5, progress=0.5), _same(4), beat(45, progress=0.5), _same(1, 50)),
        f"30 {WARNED}",
        f"50 {DETECTED}",
    ),
    _seen("a new task", chain(_same(4), beat(45, task="next"), _same(2, 50)), f"30 {WARNED}"),
    _seen("shutting down", chain(beat(5, status="draining"), _same(8))),
    _seen(
        "shutting down for too long is no excuse",
        chain(beat(5, status="draining"), beat(310, status="draining"), _same(5, 320)),
        f"340 {WARNED}",
        f"360 {DETECTED}",
    ),
    _seen(
        "a restart of the agent",
        chain(_same(4), exits(45), _same(2, 50)),
        f"30 {WARNED}",
        "45 agent.exited EXITED",
        "45 spawn incarnation=2",
    ),
)

POLLS: Final = (
    Scenario(
        "a tool that is meant to be asked again and again",
        ("loop.poll_tools beyond",),
        [*steps(10, 40, "wait_for_build", "the build", "not yet"), end(500)],
        'loop.poll_tools = ["wait_for_*"]\n',
    ),
    Scenario(
        "one that isn't named is judged",
        ("loop.poll_tools below",),
        [*steps(10, 5, "await_build", "the build", "not yet"), end(500)],
        'loop = { poll_tools = ["wait_for_*"], on_loop = "alert" }\n',
        (f"30 {WARNED}", f"50 {DETECTED}"),
    ),
    Scenario(
        "a step may say itself that it polls",
        ("loop.poll_tools beyond",),
        [*steps(10, 40, "await_build", "the build", "not yet", poll=True), end(500)],
    ),
    Scenario(
        "but nobody waits for ever: time counts instead",
        ("loop.poll_tools beyond",),
        [step(60 * n, "wait_for_build", "the build", "not yet") for n in range(1, 70)],
        'loop.poll_tools = ["wait_for_*"]\n',
        (f"3600..3720 {WARNED}",),
    ),
)


def _on_loop(action: str, *told: str) -> Scenario:
    return Scenario(
        f"on a loop: {action}",
        (f"loop.on_loop = {action}",),
        [*_same(5), end(60)],
        f'loop.on_loop = "{action}"\n',
        (f"30 {WARNED}", f"50 {DETECTED}", *told),
    )


ACTIONS: Final = (
    Scenario(
        "on a loop: off, nobody looks",
        ("loop.on_loop = off",),
        [*_same(12), end(200)],
        'loop.on_loop = "off"\n',
    ),
    Scenario(
        "on a loop: alert, people are told",
        ("loop.on_loop = alert",),
        [*_same(5), end(200)],
        TELLS,
        (f"30 {WARNED}", "30 alert", f"50 {DETECTED}", "50 alert critical LOOP_DETECTED"),
    ),
    _on_loop("pause", "50 agent.paused LOOP_DETECTED", "50 freeze"),
    _on_loop(
        "kill", "50 agent.killed LOOP_DETECTED", "50 kill_tree", "50 agent.exited LOOP_DETECTED"
    ),
    _on_loop(
        "restart",
        "50 signal SIGTERM",
        "50.1 agent.exited LOOP_DETECTED",
        "50.1 spawn incarnation=2",
    ),
    Scenario(
        "an operator's word: what was let go on is not held against it at once",
        ("loop.on_loop = pause",),
        [*_same(5), command(100, "resume"), *_same(5, 110), end(300)],
        "",
        (
            f"30 {WARNED}",
            f"50 {DETECTED}",
            "50 agent.paused LOOP_DETECTED",
            "50 freeze",
            "100 agent.resumed",
            "100 thaw",
        ),
    ),
)


def _failing(count: int, *, same: bool, first: float = 10) -> list[Line]:
    return [
        failed(first + 10 * n, "fetch", "page" if same else f"page {word(n)}", "HTTP 503")
        for n in range(count)
    ]


ERRORS: Final = (
    _seen("four errors of one kind are bad luck", _failing(4, same=False)),
    _seen(
        "five of one tool, with no success between, are told",
        _failing(5, same=False),
        "50 tool.failing TOOL_FAILURE",
    ),
    _seen(
        "the very same call tried five times is its own matter",
        _failing(5, same=True),
        "50 retry.limit RETRY_LIMIT_REACHED",
    ),
    _seen(
        "a success between begins anew",
        chain(
            _failing(4, same=False),
            step(55, "fetch", "page x", "here it is"),
            _failing(4, same=False, first=60),
        ),
    ),
    Scenario(
        "who fails on and on is stopped as the config says, with the true reason",
        ("loop.on_loop = pause",),
        [*_failing(12, same=False), end(300)],
        told=(
            "50 tool.failing warning TOOL_FAILURE",
            "60..120 tool.failing critical TOOL_FAILURE",
            "* agent.paused TOOL_FAILURE",
            "* freeze",
        ),
    ),
    Scenario(
        "and so is who retries on and on",
        ("loop.on_loop = pause",),
        [*_failing(12, same=True), end(300)],
        told=(
            "50 retry.limit warning RETRY_LIMIT_REACHED",
            "60..120 retry.limit critical RETRY_LIMIT_REACHED",
            "* agent.paused RETRY_LIMIT_REACHED",
            "* freeze",
        ),
    ),
)

SEEN_AGAIN: Final = (*range(7), 0, 3, 5, 1, 6, 2, 4, 6, 0, 5, 2, 3, 1, 4)


def _read(t: float, number: int) -> Line:
    """Read one of seven things: three lines asked, one answered."""
    thing = word(number)
    asked = "\n".join(f"ask {thing} {word(line)}" for line in range(3))
    return step(t, f"tool_{thing}", asked, f"answer {thing}")


NOVELTY: Final = (
    _seen(
        "nothing new for a dozen steps, in no order that a rule would know",
        [_read(10 + 10 * n, number) for n, number in enumerate(SEEN_AGAIN)],
        "* drift.warning warning",
    ),
)

SCENARIOS: Final = (*RULES, *EXCUSES, *POLLS, *ACTIONS, *ERRORS, *NOVELTY)
