"""An example agent runs away: each step is new, none is a loop, and it never comes to an end.

The verdict needs ten minutes of ordinary work to compare with and three of trouble. So each
framework really runs, against a listener that keeps every line it sends; then these lines are
played to the decision core in virtual time, at a pace that is written below.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import tomli_w

from tests.daemon.harness import PYTHON, Document
from tests.places import short_root
from tests.programs.example_agents import Example, Fleet, fleet_of
from tests.programs.places import AGENTD, EXAMPLES
from tests.sdk.daemons import FakeDaemon

PATIENCE_S: Final = 150
# A task every half minute for twelve minutes; then the model answers every 0.6 to 1 s.
TASKS: Final = 24
TASK_EVERY_S: Final = 30.0
LINE_EVERY_S: Final = 0.2
RUNAWAY_TASKS: Final = 15
BEGINS_S: Final = TASKS * TASK_EVERY_S
WINDOW_S: Final = 180  # `cost.rate_window`

Lines = list[Document]


def recorded(fleet: Fleet, trouble: str, cycles: int) -> Lines:
    """Run the agent for some cycles, and return all that it has told its daemon."""
    with short_root() as root:
        path = root / "agentd.sock"
        environment = {
            "PATH": os.environ["PATH"],
            "AGENTD_SOCKET": str(path),
            "AGENTD_TOKEN": "any",
            "OPENAI_BASE_URL": fleet.address(f"{trouble}v1"),
            "CYCLES": str(cycles),
            "PAUSE_S": "0",
            "LEDGER": str(root / "ledger"),
        }
        agent = EXAMPLES / fleet.example.folder / "agent.py"
        with FakeDaemon(path) as listener:
            words = [PYTHON, agent]
            subprocess.run(
                words, env=environment, check=True, capture_output=True, timeout=PATIENCE_S
            )
            listener.wait(None, cycles + 2)  # the first, one a cycle, the last
            assert listener.of(None)[-1]["status"] == "done"
            return [line for line in listener.lines if line.get("type") != "hello"]


def paced(lines: Lines) -> Iterator[Document]:
    """Let a task begin every so often; what it says comes at once."""
    task, within_s = 0, 0.0
    for line in lines:
        yield {"t": round(task * TASK_EVERY_S + within_s, 3), "line": line}
        within_s += 0.01
        if "type" not in line and "task" in line:
            task, within_s = task + 1, 0.0


def hurried(lines: Lines) -> Iterator[Document]:
    """Let one line follow the other, as fast as models answer."""
    for number, line in enumerate(lines):
        yield {"t": round(BEGINS_S + number * LINE_EVERY_S, 3), "line": line}


def simulated(folder: Path, example: Example, moments: Lines) -> Lines:
    """Play a trace against the example's TOML, made for tasks of half a minute; return events."""
    trace, config = folder / "trace.jsonl", folder / "agentd.toml"
    trace.write_text("".join(json.dumps(moment) + "\n" for moment in moments))
    settings = example.settings
    settings["agents"][example.agent]["heartbeat"]["interval"] = f"{TASK_EVERY_S:g}s"
    config.write_text(tomli_w.dumps(settings))
    words = ["simulate", "--config", config, "--agent", example.agent, trace]
    run = subprocess.run([AGENTD, *words], capture_output=True, check=True, timeout=PATIENCE_S)
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert not [line for line in told if "rejected" in line]
    return [line for line in told if "event" in line]


@pytest.mark.slow
@pytest.mark.timeout(3 * PATIENCE_S)
@pytest.mark.parametrize(
    "example",
    [
        Example("openai_agent", "answers"),
        Example("langgraph_agent", "research"),
        Example("pydantic_ai_agent", "shelves"),
    ],
    ids=lambda example: example.folder,
)
def test_a_runaway_is_recognised_by_its_rate_alone(example: Example, tmp_path: Path) -> None:
    with fleet_of(example) as fleet:
        fleet.daemon.start()
        fleet.await_provider()
        well = recorded(fleet, "", TASKS)
        runaway = recorded(fleet, "runaway/", RUNAWAY_TASKS)
    moments: Lines = [{"t": 0, "start": True}, *paced(well[:-1]), *hurried(runaway)]
    told = simulated(tmp_path, example, [*moments, {"t": BEGINS_S + 900, "end": True}])
    assert [e for e in told if e["t"] < BEGINS_S and e["severity"] != "info"] == []
    [verdict] = [event for event in told if event["event"] == "cost.runaway"]
    assert verdict["reason"] == "LOOP_DETECTED"
    # Not at the first sign, but once it has been above the bound for a whole window; the rate
    # is a mean over a window itself, and takes a part of one to rise.
    assert BEGINS_S + WINDOW_S <= verdict["t"] <= BEGINS_S + 2 * WINDOW_S
    [paused] = [event for event in told if event["event"] == "agent.paused"]
    assert (paused["t"], paused["reason"]) == (verdict["t"], "LOOP_DETECTED")
    kinds = {event["event"] for event in told}
    assert not kinds & {"loop.warning", "loop.detected", "budget.exceeded"}  # all is new
