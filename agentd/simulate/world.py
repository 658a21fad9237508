"""The simulated system: processes that live, die and are measured as the trace says.

It starts a process at once, ends it 0.1 s after SIGTERM with that signal and at once by
SIGKILL, finds every state valid, and its judge finds that all goes well; `world` lines change
that. It outlives the daemon.
"""

import heapq
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.core.events import Judged
from agentd.core.exits import SIGKILL, SIGNALS
from agentd.wire.judgement import decode_judgement

STOP_TAKES_MS: Final = 100
FIRST_PID: Final = 1_001
_NUMBERS: Final = {name: number for number, name in SIGNALS.items()}


@dataclass(slots=True)
class Habits:
    """How the world treats one agent."""

    spawn_fails: bool = False
    validate_fails: bool = False
    deaf: bool = False
    memory_limit_bytes: int | None = None
    judge: object = None
    """What the judge says: an object as it would print it, or "fail"; else: it is closer."""
    judge_takes_ms: int = 0

    def change(self, settings: Mapping[str, object]) -> None:
        """Take over what a `world` line says; what it leaves out stays."""
        if "spawn" in settings:
            self.spawn_fails = settings["spawn"] == "fail"
        if "validate" in settings:
            self.validate_fails = settings["validate"] == "fail"
        if "deaf_to_sigterm" in settings:
            self.deaf = bool(settings["deaf_to_sigterm"])
        if "judge" in settings:
            self.judge = settings["judge"]
        if "judge_takes" in settings:
            takes_s = settings["judge_takes"]
            self.judge_takes_ms = round(takes_s * 1000) if isinstance(takes_s, int | float) else 0
        if "memory_limit" in settings:
            limit = settings["memory_limit"]
            self.memory_limit_bytes = int(limit) if isinstance(limit, int | float) else None

    def judged(self, agent: str, incarnation: int, timeout_ms: int) -> Judged:
        """What comes of a question to the judge, when it has taken its time."""
        if self.judge_takes_ms > timeout_ms:
            told = f"no answer within {timeout_ms / 1000:g} s"
            return Judged(agent, incarnation, error=told)
        if self.judge == "fail":
            return Judged(agent, incarnation, error="the judge command exited 1")
        if not isinstance(self.judge, dict):
            return Judged(agent, incarnation, closer=True, confidence=1.0)
        said = decode_judgement(json.dumps(self.judge).encode())
        return Judged(
            agent,
            incarnation,
            closer=said.closer,
            confidence=said.confidence,
            reason=said.short_reason,
            cost_micros=said.cost_micros,
        )


@dataclass(slots=True)
class Process:
    """One process, and how it ended once it has."""

    agent: str
    incarnation: int
    """As the core counts."""
    ordinal: int
    """As the trace counts: the first spawn of this agent is 1."""
    pid: int
    alive: bool = True
    frozen: bool = False
    pending: int | None = None
    """A signal that waits until it is thawed."""
    code: int | None = None
    signal: int | None = None
    oom: bool = False
    booked: bool = False
    """The core has been told of its end."""
    rss_bytes: int | None = None


@dataclass(slots=True)
class World:
    """All processes there ever were that still matter, and the deaths that are on their way."""

    habits: dict[str, Habits] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    """The latest of each agent."""
    spawned: dict[str, int] = field(default_factory=dict)
    """Spawns asked for, by agent: the ordinal of the latest."""
    _common: dict[str, object] = field(default_factory=dict)
    _deaths: list[tuple[int, int, str, int, int]] = field(default_factory=list)
    """(when, order, agent, incarnation, signal)."""
    _deaths_asked: int = 0
    _pid: int = FIRST_PID - 1

    def habits_of(self, agent: str) -> Habits:
        if agent not in self.habits:
            self.habits[agent] = Habits()
            self.habits[agent].change(self._common)
        return self.habits[agent]

    def change(self, agent: str | None, settings: Mapping[str, object]) -> None:
        """Change the world for one agent, or for all."""
        if agent is not None:
            self.habits_of(agent).change(settings)
            return
        self._common.update(settings)
        for habits in self.habits.values():
            habits.change(settings)

    def ordinal(self, agent: str, incarnation: int) -> int:
        """The trace's number of an incarnation; of one not spawned yet, the number it gets."""
        process = self.processes.get(agent)
        if process is not None and process.incarnation == incarnation:
            return process.ordinal
        return self.spawned.get(agent, 0) + 1

    def spawn(self, agent: str, incarnation: int) -> Process | None:
        """Start a process; None: the world does not let it."""
        self.spawned[agent] = self.spawned.get(agent, 0) + 1
        if self.habits_of(agent).spawn_fails:
            return None
        self._pid += 1
        process = Process(agent, incarnation, self.spawned[agent], self._pid)
        self.processes[agent] = process
        return process

    def alive(self, agent: str, incarnation: int | None = None) -> Process | None:
        """The living process of an agent, if it is the one meant."""
        process = self.processes.get(agent)
        if process is None or not process.alive:
            return None
        return process if incarnation in (None, process.incarnation) else None

    def signal(self, process: Process, name: str, now_ms: int) -> None:
        """Deliver a signal; most end a process, after a moment."""
        number = _NUMBERS.get(name)
        if number is None or (self.habits_of(process.agent).deaf and number != SIGKILL):
            return
        if process.frozen and number != SIGKILL:
            process.pending = number
            return
        after_ms = 0 if number == SIGKILL else STOP_TAKES_MS
        self._deaths_asked += 1
        death = (now_ms + after_ms, self._deaths_asked, process.agent, process.incarnation, number)
        heapq.heappush(self._deaths, death)

    def freeze(self, process: Process) -> None:
        process.frozen = True

    def thaw(self, process: Process, now_ms: int) -> None:
        """Let it go on; a signal that waited is heard now."""
        process.frozen = False
        if process.pending is not None:
            name, process.pending = SIGNALS[process.pending], None
            self.signal(process, name, now_ms)

    def end(
        self, process: Process, *, code: int | None, signal: int | None, oom: bool = False
    ) -> None:
        process.alive = False
        process.code, process.signal, process.oom = code, signal, oom

    def next_death_ms(self) -> int | None:
        """When the next signalled process ends."""
        while self._deaths and self.alive(*self._deaths[0][2:4]) is None:
            heapq.heappop(self._deaths)
        return self._deaths[0][0] if self._deaths else None

    def next_dead(self) -> Process:
        """End the process whose time has come first, and return it."""
        _, _, agent, incarnation, number = heapq.heappop(self._deaths)
        process = self.processes[agent]
        assert process.alive, agent
        assert process.incarnation == incarnation, agent
        self.end(process, code=None, signal=number)
        return process
