"""Play a written trace against a written config, and look at what was told."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.config.load import load
from agentd.simulate.driver import simulate
from agentd.simulate.trace import read_trace

HEALTHY_EVERY_S = 30


@dataclass
class Told:
    """The printed lines of one simulation."""

    lines: list[dict[str, Any]]

    def events(self, name: str, agent: str | None = None) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines
            if line.get("event") == name and agent in (None, line["agent"])
        ]

    def times(self, name: str, agent: str | None = None) -> list[float]:
        return [line["t"] for line in self.events(name, agent)]

    def effects(self, name: str, agent: str | None = None) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines
            if line.get("effect") == name and agent in (None, line["agent"])
        ]

    def spawns(self, agent: str | None = None) -> list[float]:
        return [line["t"] for line in self.effects("spawn", agent)]

    def reasons(self, agent: str | None = None) -> list[str]:
        """The stop reasons of all ends, in order."""
        return [line["reason"] for line in self.events("agent.exited", agent)]

    def rejected(self) -> list[str]:
        return [line["rejected"] for line in self.lines if "rejected" in line]


def tell(folder: Path, config: str, trace: Iterable[Any]) -> Told:
    """Simulate; the config is TOML, the trace is sorted by time here, stably."""
    file = folder / "agentd.toml"
    file.write_text(config, encoding="utf-8")
    loaded = load(file)
    assert not loaded.errors, [error.text() for error in loaded.errors]
    ordered = sorted(trace, key=lambda line: line["t"])
    checked = read_trace([json.dumps(line) for line in ordered], loaded.config.agents)
    printed: list[str] = []
    simulate(loaded.config, checked, printed.append)
    return Told([json.loads(line) for line in printed])


def beats(first_s: float, last_s: float, agent: str | None = None) -> list[dict[str, Any]]:
    """Plain heartbeats every 30 s, from `first_s` to `last_s` inclusive."""
    who = {} if agent is None else {"agent": agent}
    count = int((last_s - first_s) // HEALTHY_EVERY_S) + 1
    return [
        {"t": first_s + number * HEALTHY_EVERY_S, **who, "line": {"status": "ok"}}
        for number in range(count)
    ]


QUIET = """\
[agents.a]
command = ["true"]
heartbeat.required = false
"""
"""An agent that need not beat: only its ends matter."""

BEATING = """\
[agents.a]
command = ["true"]
"""
