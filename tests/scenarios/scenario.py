"""What a scenario is, and how what was told is compared with what it expects.

A line of `told` reads `TIME NAME [WORD …]`: seconds since the start (`*`: any moment,
`60..180`: between the two), then an event, an effect or `answer`, then words that must stand in
it: a severity, a stop reason, a signal, or `key=value` of its data or its fields (`value` may be
JSON without blanks).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.simulate.telling import Told

# What a verdict or its action looks like: nothing of this may be told that isn't expected.
WATCHED: Final = frozenset(
    {"cost.spike", "cost.runaway", "budget.warning", "budget.exceeded"}
    | {"loop.warning", "loop.detected", "drift.warning", "drift.detected"}
    | {"tool.failing", "retry.limit", "action.unfinished"}
    | {"breaker.opened", "breaker.half_open", "breaker.closed"}
    | {"agent.paused", "agent.resumed", "agent.killed", "agent.held", "agent.unheld"}
    | {"agent.degraded", "agent.unreachable", "agent.parked", "agent.escalated", "agent.exited"}
    | {"spawn", "signal", "freeze", "thaw", "kill_tree", "judge"}
)
SEVERITIES: Final = ("info", "warning", "critical")

QUIETLY: Final = 'command = ["agent"]\nheartbeat.required = false\n'
"""An agent whose silence is nobody's business, so that only the option shown matters."""


@dataclass(frozen=True)
class Scenario:
    """One side of one bound, or one value of one option."""

    name: str
    shows: tuple[str, ...]
    """`TABLE.OPTION below|beyond`, or `TABLE.OPTION = VALUE`."""
    trace: Sequence[Mapping[str, Any]]
    config: str = ""
    """The agent's own keys."""
    told: tuple[str, ...] = ()
    """Everything of `WATCHED` that is told, in order, but for the first start."""
    never: tuple[str, ...] = ()
    """What else must not be told."""
    head: str = ""
    """Tables that stand before the agent's, such as `[prices.x]`."""
    agents: tuple[str, ...] = ("a",)
    """Agents with one config."""
    anything_else: bool = False
    """More than `told` may be told: the order of these lines is the point."""

    def toml(self) -> str:
        """Return the whole config file."""
        each = [f"[agents.{name}]\n{QUIETLY}{self.config}" for name in self.agents]
        return "\n".join([self.head, *each])

    def check(self, told: Told) -> None:
        """Compare what was told with what is expected."""
        assert not told.rejected(), told.rejected()
        watched = (WATCHED | {_name(line) for line in self.told}) - {"alert"}
        if any(_name(line) == "alert" for line in self.told):
            watched |= {"alert"}
        lines = [line for line in told.lines if name_of(line) in watched and not _is_first(line)]
        seen = [brief(line) for line in lines]
        if self.anything_else:
            rest = iter(lines)
            for expected in self.told:
                assert any(fits(expected, line) for line in rest), (expected, seen)
        else:
            assert len(lines) == len(self.told), seen
            for expected, line in zip(self.told, lines, strict=True):
                assert fits(expected, line), (expected, seen)
        names = {name_of(line) for line in told.lines}
        assert not names & set(self.never), (names & set(self.never), seen)


def name_of(line: Mapping[str, Any]) -> str:
    """Return the name of the event or of the effect; `answer`: an agent's question is answered."""
    return "answer" if "answer" in line else str(line.get("event") or line.get("effect"))


def _name(expected: str) -> str:
    return expected.split()[1]


def _is_first(line: Mapping[str, Any]) -> bool:
    return line.get("effect") == "spawn" and line["incarnation"] == 1


def brief(line: Mapping[str, Any]) -> str:
    """Return a told line in the words of an expectation, for a message."""
    words = (line.get(key) for key in ("agent", "severity", "reason", "signal", "message"))
    return " ".join([f"{line['t']:g}", name_of(line), *(str(word) for word in words if word)])


def fits(expected: str, line: Mapping[str, Any]) -> bool:
    """Whether a told line is the expected one."""
    time, name, *words = expected.split()
    return (
        name == name_of(line)
        and _in_time(time, line["t"])
        and all(_said(word, line) for word in words)
    )


def _in_time(time: str, told_s: float) -> bool:
    if time == "*":
        return True
    first, dots, last = time.partition("..")
    return float(first) <= told_s <= float(last) if dots else told_s == float(time)


def _said(word: str, line: Mapping[str, Any]) -> bool:
    key, equals, value = word.partition("=")
    if equals:
        answer = line.get("answer", {})
        fields = {**line, **line.get("data", {}), **answer, **answer.get("result", {})}
        return value in (str(fields.get(key)), json.dumps(fields.get(key), separators=(",", ":")))
    return word in (line.get("severity"), line.get("reason"), line.get("signal"))
