"""Secrets of the config, kept out of events: agents' own words and their commands' output.

Logs are masked where they are read (loglines.py); what goes into the journal and to people is
masked before it is written, for it is copied further from there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agentd.core.effects import Alert, Effect, Journal
from agentd.core.records import Record

MASK: Final = "***"


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
        if self.secrets and isinstance(effect, Journal | Alert):
            return replace(effect, record=self._record(effect.record))
        return effect

    def _record(self, record: Record) -> Record:
        data = {name: self._value(value) for name, value in record.data.items()}
        return replace(record, message=self.text(record.message), data=data)

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: self._value(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(each) for each in value]
        return value
