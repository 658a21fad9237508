"""Secrets of the config, kept out of events: agents' own words and their commands' output.

Logs are masked where they are read (loglines.py); what goes into the journal and to people is
masked before it is written, for it is copied further from there. The core's own records keep
what was said as it was said: a status is masked when it is made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agentd.core.effects import Alert, Effect, Journal, PersistIncident, Reply, Run, SaveEvidence
from agentd.core.records import IncidentRecord, Record

MASK: Final = "***"

# What of an agent's status is, or may quote, the words of agents, of their judges and of people.
_SAID: Final = frozenset(
    (
        *("evidence", "last_exit", "no_progress", "transitions", "intent_reason", "held_why"),
        *("task", "step", "tool", "goal", "model", "unfinished", "open_call"),
    )
)
# What of an incident's payload is ours.
_OURS: Final = frozenset(("agent", "reason"))


@dataclass(slots=True)
class Masks:
    """What must not be shown; replaced when the configuration changes."""

    secrets: tuple[str, ...] = ()

    def hide(self, secrets: Iterable[str]) -> None:
        """Hide these values from now on; longer ones first, for one may hold another."""
        self.secrets = tuple(sorted(secrets, key=len, reverse=True))

    def text(self, text: str) -> str:
        """Return `text` without the secrets in it."""
        for secret in self.secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    def effect(self, effect: Effect) -> Effect:
        """Return an effect as it may be written down and told."""
        if not self.secrets:
            return effect
        if isinstance(effect, Journal):
            return replace(effect, record=self._record(effect.record))
        if isinstance(effect, Alert):
            known = effect.incident
            incident = self._incident(known) if known is not None else None
            return replace(effect, record=self._record(effect.record), incident=incident)
        if isinstance(effect, PersistIncident):
            return replace(effect, incident=self._incident(effect.incident))
        if isinstance(effect, SaveEvidence):
            return replace(effect, evidence=self._but(frozenset(), effect.evidence))
        if isinstance(effect, Run):
            return replace(effect, payload=self._but(_OURS, effect.payload))
        if isinstance(effect, Reply) and effect.error is not None:
            code, message, hint = effect.error
            return replace(effect, error=(code, self.text(message), hint))
        return effect

    def status(self, document: Mapping[str, object]) -> Mapping[str, object]:
        """Return a status document as it may be shown."""
        agents = document["agents"]
        if not self.secrets or not isinstance(agents, list):
            return document
        return {**document, "agents": [self._agent(agent) for agent in agents]}

    def document(self, document: Mapping[str, object]) -> dict[str, object]:
        """Return a document as it may be shown, every text in it masked."""
        return self._but(frozenset() if self.secrets else frozenset(document), document)

    def _agent(self, agent: Mapping[str, object]) -> dict[str, object]:
        return self._but(frozenset(agent.keys() - _SAID), agent)

    def _but(self, ours: frozenset[str], data: Mapping[str, object]) -> dict[str, object]:
        return {name: value if name in ours else self._value(value) for name, value in data.items()}

    def _record(self, record: Record) -> Record:
        data = {name: self._value(value) for name, value in record.data.items()}
        return replace(record, message=self.text(record.message), data=data)

    def _incident(self, incident: IncidentRecord) -> IncidentRecord:
        summary, resolution = self.text(incident.summary), self.text(incident.resolution)
        return replace(incident, summary=summary, resolution=resolution)

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: self._value(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(each) for each in value]
        return value
