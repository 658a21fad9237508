"""Every scenario, and the proof that no option is without one on each side of its bound."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

import msgspec
import pytest

from agentd.config.agent import (
    BudgetConfig,
    CostConfig,
    HeartbeatConfig,
    JudgeConfig,
    LoopConfig,
    PauseConfig,
    RestartConfig,
)
from agentd.config.schema import BreakerConfig, PriceConfig
from tests.scenarios import breakers, budget, cost, judge, loop, pause, prices, progress
from tests.scenarios.scenario import Scenario
from tests.simulate.telling import tell

FAMILIES: Final = (cost, budget, prices, loop, judge, pause, breakers, progress)
SCENARIOS: Final[tuple[Scenario, ...]] = tuple(
    scenario for family in FAMILIES for scenario in family.SCENARIOS
)
TABLES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "cost": CostConfig,
    "budget": BudgetConfig,
    "loop": LoopConfig,
    "judge": JudgeConfig,
    "pause": PauseConfig,
    "breakers": BreakerConfig,
    "prices": PriceConfig,
}
# Of these tables only one option belongs here; the others have tests of their own.
ONE_OF: Final = (
    ("heartbeat", HeartbeatConfig, "no_progress_after"),
    ("restart", RestartConfig, "hold_unfinished"),
)


def _named(scenario: Scenario) -> str:
    family = next(one for one in FAMILIES if scenario in one.SCENARIOS)
    return f"{family.__name__.rpartition('.')[2]}: {scenario.name}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_named)
def test_what_agentd_would_have_done(scenario: Scenario, tmp_path: Path) -> None:
    scenario.check(tell(tmp_path, scenario.toml(), scenario.trace))


def _wanted(table: str, field: msgspec.structs.FieldInfo) -> set[str]:
    """What must be shown of one option: each of its words, or both sides of its bound."""
    option = f"{table}.{field.encode_name}"
    if get_origin(field.type) is Literal:
        return {f"{option} = {word}" for word in get_args(field.type)}
    if field.type is bool:
        return {f"{option} = true", f"{option} = false"}
    return {f"{option} below", f"{option} beyond"}


def _all_wanted() -> set[str]:
    wanted: set[str] = set()
    for table, struct in TABLES.items():
        for field in msgspec.structs.fields(struct):
            wanted |= _wanted(table, field)
    for table, struct, option in ONE_OF:
        (one,) = (each for each in msgspec.structs.fields(struct) if each.encode_name == option)
        wanted |= _wanted(table, one)
    return wanted


def test_every_option_has_a_scenario_on_each_side() -> None:
    shown = {what for scenario in SCENARIOS for what in scenario.shows}
    assert sorted(_all_wanted() - shown) == [], "add a scenario to tests/scenarios/"


def test_no_scenario_shows_an_option_that_is_none() -> None:
    shown = {what for scenario in SCENARIOS for what in scenario.shows}
    assert sorted(shown - _all_wanted() - {"loop.on_loop "}) == []


def test_every_name_is_told_once() -> None:
    names = [_named(scenario) for scenario in SCENARIOS]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_the_command_line_tells_the_same(tmp_path: Path) -> None:
    """`agentd simulate` on a file: the story that the table tests check in this process."""
    scenario = next(one for one in cost.SCENARIOS if one.name == "on a spike: pause")
    told = tell(tmp_path, scenario.toml(), scenario.trace)
    config, trace = tmp_path / "agentd.toml", tmp_path / "trace.jsonl"
    config.write_text(scenario.toml(), encoding="utf-8")
    trace.write_text("".join(json.dumps(line) + "\n" for line in scenario.trace), encoding="utf-8")
    command = [sys.executable, "-m", "agentd", "simulate", "--config", str(config), str(trace)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert [json.loads(line) for line in ran.stdout.splitlines()] == told.lines
