"""One step of the core: the moment, the fleet, and what is asked for so far."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from agentd.core.agent import Agent
from agentd.core.breaker import Breakers
from agentd.core.effects import Alert, Effect, Journal, Persist, PersistIncident
from agentd.core.hosts import Hosts
from agentd.core.incidents import Incidents
from agentd.core.pricing import Prices
from agentd.core.records import Record
from agentd.core.register import News
from agentd.core.states import StopReason

INFO: Final = "info"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
# Good news that people are told of: where an incident ends with it, it says so.
_GOOD_NEWS: Final = ("agent.recovered", "breaker.closed", "host.back")


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
    incidents: Incidents = field(default_factory=Incidents)
    prices: Prices = field(default_factory=Prices)
    hosts: Hosts = field(default_factory=Hosts)
    """The others."""

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
        told = alert if alert is not None else severity != INFO
        self.write(record, agent, told=told)
        if told and agent is not None and severity != INFO:
            agent.troubled = True

    def write(self, record: Record, agent: Agent | None, *, told: bool) -> None:
        """Write one entry, as part of its incident if it has one; `told`: people hear of it."""
        news = self.incidents.take(record, agent, self.now_ms, told=told)
        self.effects.append(Journal(record))
        self.announce(news)
        if told:
            self.effects.append(Alert(record, incident=self.incidents.known(record.incident)))

    def announce(self, news: Iterable[News]) -> None:
        """Write what became of incidents, and tell people what they are told of that."""
        for each in news:
            self.effects.append(Journal(each.record))
            if each.kind is not None and not (each.kind == "resolve" and self._told(each)):
                self.effects.append(Alert(each.record, each.kind, each.incident))

    def _told(self, resolved: News) -> bool:
        """Let good news of this very step tell the end of its incident, if there is any."""
        for place, effect in enumerate(self.effects):
            if (
                isinstance(effect, Alert)
                and effect.kind == "trigger"
                and effect.record.event in _GOOD_NEWS
                and effect.record.incident == resolved.incident.number
            ):
                kind = resolved.kind or effect.kind
                self.effects[place] = replace(effect, kind=kind, incident=resolved.incident)
                return True
        return False

    def finish(self) -> list[Effect]:
        """All effects: first what must be durable, then the deeds in their order."""
        if not self.touched and not self.incidents.changed:
            return self.effects  # as after most heartbeats
        snapshots: list[Effect] = [
            Persist(name, agent.snapshot())
            for name, agent in self.touched.items()
            if not agent.durable.removed
        ]
        incidents: list[Effect] = [
            PersistIncident(incident) for incident in self.incidents.take_changed()
        ]
        return snapshots + incidents + self.effects
