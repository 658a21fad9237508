"""Secrets of the config, kept out of events: agents' own words and their commands' output.

Logs are masked where they are read (loglines.py); what goes into the store and to people is
masked before it is written, for it is copied further from there. Only the core's memory, and
what an agent is to get back, keep what was said as it was said: a status is masked when it is
made.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agentd.core.effects import (
    Alert,
    Effect,
    Journal,
    Persist,
    PersistIncident,
    Reply,
    Run,
    SaveEvidence,
)
from agentd.core.records import IncidentRecord, Record

MASK: Final = "***"
# The core cuts long words of agents before they come here: of a longer secret its first half, but
# no less than this, is one, too.
BEGINNING_MIN: Final = 12

# What of an agent's status is, or may quote, the words of agents, of their judges and of people.
_SAID: Final = frozenset(
    (
        *("evidence", "last_exit", "no_progress", "transitions", "intent_reason", "held_why"),
        *("task", "step", "tool", "goal", "model", "unfinished", "open_call"),
    )
)
# What of an incident's payload is ours.
_OURS: Final = frozenset(("agent", "reason"))
# What of an agent's record quotes; it gets back its actions as they are.
_QUOTING: Final = ("intent_reason", "held_why", "evidence", "stop_evidence")


@dataclass(slots=True)
class Masks:
    """What must not be shown; replaced when the configuration changes."""

    secrets: tuple[str, ...] = ()
    _beginnings: tuple[tuple[str, str], ...] = ()
    """Of each secret what it is known by, and all of it."""

    def hide(self, secrets: Iterable[str]) -> None:
        """Hide these values from now on; longer ones first, for one may hold another."""
        forms = {form for secret in secrets for form in _forms(secret)}
        self.secrets = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._beginnings = tuple((_beginning(secret), secret) for secret in self.secrets)

    def text(self, text: str) -> str:
        """Return `text` without the secrets in it, nor what was left of one by a cut."""
        found = [known for known in self._beginnings if known[0] in text]
        for _, secret in found:
            text = text.replace(secret, MASK)
        for beginning, secret in found:
            text = _without_cut(text, beginning, secret)
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
        if isinstance(effect, Persist):
            return self._persist(effect)
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

    def _persist(self, effect: Persist) -> Persist:
        """Return the same effect where there is nothing to hide: it comes often."""
        said = effect.durable
        words = {name: getattr(said, name) for name in _QUOTING if getattr(said, name)}
        shown = {name: text for name in words if (text := self.text(words[name])) != words[name]}
        last = said.last_exit
        ended = self.text(last.evidence) if last is not None else ""
        if not shown and (last is None or ended == last.evidence):
            return effect
        kept = said.copy()
        for name, text in shown.items():
            setattr(kept, name, text)
        kept.last_exit = None if last is None else replace(last, evidence=ended)
        return replace(effect, durable=kept)

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


def _forms(secret: str) -> tuple[str, ...]:
    """Return a secret as it is, and as an exception, Python or JSON would quote it."""
    quoted = (repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False))
    return secret, *(form[1:-1] for form in quoted)


def _beginning(secret: str) -> str:
    """Return what a secret is known by; of an address never its host alone, which is no secret."""
    scheme = secret.find("://")
    host_end = secret.find("/", scheme + 3) + 1 if scheme >= 0 else 0
    is_open = "@" not in secret[:host_end]  # else a password stands in it
    shown = host_end if is_open else 0
    return secret[: max(BEGINNING_MIN, shown + (len(secret) - shown + 1) // 2)]


def _without_cut(text: str, beginning: str, secret: str) -> str:
    """Mask each place where a secret begins, as far as it goes."""
    at = text.find(beginning)
    while at >= 0:
        end = at + len(beginning)
        while end < len(text) and secret.startswith(text[at : end + 1]):
            end += 1
        text = text[:at] + MASK + text[end:]
        at = text.find(beginning, at + len(MASK))
    return text
