"""What all connections share: who is alive, who listens, who is counted, what time it is."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agentd.config.schema import DaemonConfig
from agentd.core.lines import Line, Question
from agentd.daemon import clock
from agentd.daemon.counters import Counters
from agentd.daemon.exchange import Exchange
from agentd.daemon.questions import Speaker
from agentd.daemon.refusals import Refusal, Refusals
from agentd.daemon.registry import Registry
from agentd.daemon.replays import Replays
from agentd.daemon.visitors import Visitors
from agentd.wire.limits import LineId


class Handler(Protocol):
    """Whoever acts on what comes in; each call returns at once."""

    def lines(self, agent: str, incarnation: int, lines: list[Line]) -> None:
        """Valid lines of a living incarnation, in order; one call a read."""
        ...

    def asked(
        self, agent: str, incarnation: int, line: Question, line_id: LineId | None, speaker: Speaker
    ) -> None:
        """A line of a living incarnation that wants an answer; it is sent to `speaker`."""
        ...

    def dropped(self, agent: str, incarnation: int, count: int, spent: list[Line]) -> None:
        """So many lines over the agent's rate; those of them that tell what was spent."""
        ...

    def command(self, exchange: Exchange) -> None:
        """A command whose sender may send it; it is answered through the exchange."""
        ...

    def left(self, exchange: Exchange) -> None:
        """Whoever sent a command that only reads has gone; no answer is wanted any more."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """Something was refused for security's sake."""
        ...


@dataclass(slots=True)
class Hall:
    """The surroundings of every connection."""

    aio: asyncio.AbstractEventLoop
    registry: Registry
    handler: Handler
    visitors: Visitors
    counters: Counters
    refusals: Refusals
    replays: Replays = field(default_factory=Replays)
    now_ms: Callable[[], int] = clock.boottime_ms
    talking: set[int] = field(default_factory=set)
    """Descriptors of the connections of agents, while they are read."""
    first_line_s: float = 5.0
    """So long a connection may take to say something."""
    begun_line_s: float = 30.0
    """So long a line may take to end; between lines a connection may idle."""

    @classmethod
    def build(
        cls,
        aio: asyncio.AbstractEventLoop,
        registry: Registry,
        handler: Handler,
        config: DaemonConfig,
    ) -> "Hall":
        """Set up an empty hall."""
        return cls(aio, registry, handler, Visitors(config), Counters(), Refusals(handler.refused))
