"""Loops as `agentd simulate` tells them, from lines as agents write them; noise and all."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.simulate.telling import QUIET, tell

EVERY_S = 8.0
TEXT = "a reply that is long enough to say something, of which there is more on the next line\n" * 2


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def step(args: str, out: str, tool: str = "bash", *, ok: bool = True) -> dict[str, Any]:
    """A step line as the SDK makes it."""
    normal_args, normal_out = (re.sub(r"\d+", "#", text) for text in (args, out))
    lines = dict.fromkeys(f"{normal_args}\n{normal_out}".split("\n"))
    return {
        "type": "step",
        "tool": tool,
        "args_fp": fingerprint(args),
        "args_nfp": fingerprint(normal_args),
        "args_len": len(args),
        "out_fp": fingerprint(out),
        "out_nfp": fingerprint(normal_out),
        "out_len": len(out),
        "lines": [fingerprint(line) for line in lines if line][:64],
        "ok": ok,
        "error": None if ok else "exit 1",
    }


def word(random: Random) -> str:
    return "".join(random.choices("abcdefghij", k=12))


def new_step(random: Random) -> dict[str, Any]:
    return step(f"look at {word(random)}", "\n".join(word(random) for _ in range(8)))


def trace(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = [{"t": EVERY_S * number, "line": line} for number, line in enumerate(steps, 1)]
    return [*lines, {"t": EVERY_S * (len(steps) + 1), "end": True}]


@pytest.mark.parametrize("seed", range(5))
def test_a_noisy_loop_after_healthy_work_is_paused_with_its_evidence(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - a test
    healthy = [new_step(random) for _ in range(40)]
    loop = [
        new_step(random) if number % 5 == 4 else step("make test", f"{TEXT}took {number} s")
        for number in range(40)
    ]
    told = tell(tmp_path, QUIET, trace(healthy + loop))
    (warned_s,), (stopped_s,) = told.times("loop.warning"), told.times("loop.detected")
    assert 40 * EVERY_S < warned_s < stopped_s <= 52 * EVERY_S
    (paused,) = told.events("agent.paused")
    assert paused["reason"] == "LOOP_DETECTED"
    assert re.search(r"bash: the same call with the same answer \d+ times", paused["message"])
    assert len(told.effects("freeze")) == 1


def fix_and_retest(random: Random) -> list[dict[str, Any]]:
    edit = step(f"edit {word(random)}", "ok")
    return [edit, step("make test", f"{random.randrange(99)} failed", ok=random.random() < 0.2)]


def page(random: Random) -> list[dict[str, Any]]:
    return [step(f"list --page {random.randrange(99)}", "\n".join(word(random) for _ in range(20)))]


def bulk_edit(random: Random) -> list[dict[str, Any]]:
    return [step(f"sed -i s/a/b/ part{random.randrange(999)}.py", "")]


def retry_that_succeeds(random: Random) -> list[dict[str, Any]]:
    args = f"get {word(random)}"
    failures = [step(args, "503", ok=False)] * random.randrange(4)
    return [*failures, step(args, word(random))]


def poll(random: Random) -> list[dict[str, Any]]:
    waits = [{**step("job", "running", "wait_for_job"), "poll": True}] * random.randrange(9)
    return [*waits, step("job", word(random), "wait_for_job")]


@pytest.mark.parametrize("work", [fix_and_retest, page, bulk_edit, retry_that_succeeds, poll])
@pytest.mark.parametrize("seed", range(3))
def test_work_that_only_looks_like_a_loop_is_left_alone(
    tmp_path: Path,
    work: Callable[[Random], list[dict[str, Any]]],
    seed: int,
) -> None:
    steps: list[dict[str, Any]] = []
    random = Random(seed)  # noqa: S311 - a test
    while len(steps) < 400:
        steps += work(random)
        if random.random() < 0.2:
            steps.append(new_step(random))
    told = tell(tmp_path, QUIET, trace(steps))
    assert {line["event"] for line in told.lines if "event" in line}.isdisjoint(
        {"loop.detected", "tool.failing", "retry.limit", "agent.paused"}
    )


def test_a_new_daemon_counts_anew_and_still_comes_to_the_verdict(tmp_path: Path) -> None:
    lines = trace([step("again", TEXT)] * 12)
    crash = [{"t": 4.5 * EVERY_S, "daemon": "crash"}, {"t": 4.6 * EVERY_S, "daemon": "start"}]
    told = tell(tmp_path, QUIET, [*lines, *crash])
    assert told.times("loop.warning") == [3 * EVERY_S, 7 * EVERY_S]
    assert told.times("loop.detected") == [9 * EVERY_S]
