"""One step of the core: the moment, the fleet, and what is asked for so far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.core.agent import Agent
from agentd.core.breaker import Breakers
from agentd.core.effects import Alert, Effect, Journal, Persist
from agentd.core.pricing import Prices
from agentd.core.records import Record
from agentd.core.states import StopReason

INFO: Final = "info"
WARNING: Final = "warning"
CRITICAL: Final = "critical"


@dataclass(slots=True)
class Turn:
    """Collects the effects of one step; what must last comes out first."""

    now_ms: int
    fleet: Mapping[str, Agent]
    jitter: Callable[[], float]
    new_id: Callable[[], str]
    effects: list[Effect] = field(default_factory=list)
    touched: dict[str, Agent] = field(default_factory=dict)
    leaving: dict[str, tuple[StopReason, str]] = field(default_factory=dict)
    """Stops that wait until the dependants of an agent are down."""
    closing: bool = False
    """The daemon is about to end: nothing starts any more."""
    breakers: Breakers = field(default_factory=Breakers)
    """Of all agents together."""
    prices: Prices = field(default_factory=Prices)

    def do(self, effect: Effect) -> None:
        """Ask for `effect`, after all that was asked for before."""
        self.effects.append(effect)

    def touch(self, agent: Agent) -> None:
        """Its durable half changed; it is persisted before this step's deeds."""
        self.touched[agent.name] = agent

    def journal(
        self,
        event: str,
        agent: Agent | None,
        message: str,
        *,
        severity: str = INFO,
        reason: StopReason | None = None,
        data: dict[str, object] | None = None,
        alert: bool | None = None,
    ) -> None:
        """Write one entry, and tell people where the severity (or `alert`) says so."""
        durable = agent.durable if agent is not None else None
        has_run = durable is not None and durable.incarnation > 0
        record = Record(
            event=event,
            severity=severity,
            message=message,
            agent=agent.name if agent is not None else None,
            incarnation=durable.incarnation if durable is not None and has_run else None,
            incarnation_id=durable.incarnation_id if durable is not None and has_run else None,
            reason=reason.value if reason is not None else None,
            data=data if data is not None else {},
        )
        self.effects.append(Journal(record))
        if alert if alert is not None else severity != INFO:
            self.effects.append(Alert(record))
            if agent is not None and severity != INFO:
                agent.troubled = True

    def finish(self) -> list[Effect]:
        """All effects: first what must be durable, then the deeds in their order."""
        snapshots: list[Effect] = [
            Persist(name, agent.snapshot())
            for name, agent in self.touched.items()
            if not agent.durable.removed
        ]
        return snapshots + self.effects
