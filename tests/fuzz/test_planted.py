"""Bugs planted by hand: a target that doesn't find them would find no others either."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from agentd.cli.views import table
from agentd.daemon import loglines
from agentd.simulate import trace
from agentd.sinks import text
from agentd.wire import lines, notify, shapes, splitter
from tests.fuzz.runs import Run, shrunk
from tests.fuzz.target import Dice, Outcome, Target, told
from tests.fuzz.targets import TARGETS

INPUTS_MAX = 600


@dataclass(frozen=True)
class Planted:
    target: str
    module: object
    name: str
    bug: object


PLANTED = [
    Planted("lines", shapes, "has_infinite", lambda _raw: False),
    Planted("lines", lines, "too_deep", lambda _raw: False),
    Planted("lines", lines, "printable_escapes", lambda raw: raw),
    Planted("lines", splitter, "LINE_BYTES_MAX", 4_000),
    Planted("notify", notify, "STRING_MAX", 1 << 20),
    Planted("notify", notify, "ASSIGNMENTS_MAX", 1 << 20),
    Planted("trace", trace, "_t_ms", lambda t: round(t * 1000)),
    Planted("log", loglines, "_is_plain", lambda _one: True),
    Planted("log", loglines, "_across", lambda *_: -1),
    Planted("shown", table, "visible", str),
    Planted("shown", text, "on_one_line", str),
]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda one: f"{one.target}-{one.name}")
def test_a_planted_bug_is_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted.module, planted.name, planted.bug)
    run = Run(TARGETS[planted.target], "planted")
    while not run.finds and run.inputs < INPUTS_MAX:
        run.one(f"planted-{run.inputs}")
    assert run.finds


def target_of(check: Callable[[bytes], None]) -> Target:
    def counted(data: bytes) -> Outcome:
        check(data)
        return told("taken")

    def make(dice: Dice) -> bytes:
        return dice.randbytes(200)

    return Target("t", "", make, counted)


def test_a_find_is_shrunk_to_what_it_takes() -> None:
    def check(data: bytes) -> None:
        if b"x" in data:
            raise ZeroDivisionError

    assert shrunk(target_of(check), b"a" * 500 + b"x" + b"b" * 70) == b"x"


def test_a_find_tells_its_dice_and_its_input() -> None:
    def check(data: bytes) -> None:
        if len(data) > 3:
            raise ZeroDivisionError

    run = Run(target_of(check), "s")
    list(run.until(1))
    found = run.finds[0]
    assert (found.dice, len(found.data)) == ("s-t-0", 4)
    assert "ZeroDivisionError" in found.told
