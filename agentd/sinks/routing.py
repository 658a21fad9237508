"""Which sinks are told of what: by severity, by agent, by event, and by what a sink can show.

What follows a trigger (a reminder, an acknowledgement, the end) goes to those who were told of
the beginning, whatever their filters say of it: nobody is left with an alarm that never ends,
and nobody hears the end of what they never heard of.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from agentd.config.schema import SinkConfig
from agentd.core.incident import rank
from agentd.sinks.message import Kind

_FOLLOWING: Final = frozenset({"reminder", "acknowledge", "resolve"})
_ALL_AGENTS: Final = frozenset({"*", "all"})
REPORT_EVENT: Final = "report.sent"


@dataclass(frozen=True, slots=True)
class Subject:
    """What of an alert decides who is told."""

    kind: Kind
    severity: str
    """Of an incident the highest so far, also where this alert is milder."""
    event: str
    agents: Sequence[str] = ()
    """All that it is about; none: it is the host's, or a dependency's."""
    tags: Collection[str] = ()
    """Those of these agents."""


def routed(
    sinks: Iterable[SinkConfig], subject: Subject, told: Collection[str] | None = None
) -> list[SinkConfig]:
    """Return the sinks that take an alert, in the order of the config.

    `told`: the names of those that were sent the trigger of its incident; where that is not
    known (None), what follows goes to whoever takes its severity and agents.
    """
    return [sink for sink in sinks if _takes(sink, subject, told)]


def reported(sinks: Iterable[SinkConfig]) -> list[SinkConfig]:
    """Return the sinks that take the daily report: those that take info of every agent.

    PagerDuty is for what somebody has to get up for, and gets none.
    """
    return [
        sink
        for sink in sinks
        if sink.type != "pagerduty"
        and sink.min_severity == "info"
        and not _ALL_AGENTS.isdisjoint(sink.agents)
        and _has_event(sink, REPORT_EVENT)
    ]


def _takes(sink: SinkConfig, subject: Subject, told: Collection[str] | None) -> bool:
    if subject.kind == "acknowledge" and sink.type != "pagerduty":
        return False  # people who read a channel see who took it there
    follows = subject.kind in _FOLLOWING
    if follows and told is not None:
        return sink.name in told
    return (
        rank(subject.severity) >= rank(sink.min_severity)
        and _has_agent(sink, subject)
        and (follows or _has_event(sink, subject.event))
    )


def _has_agent(sink: SinkConfig, subject: Subject) -> bool:
    if not _ALL_AGENTS.isdisjoint(sink.agents):
        return True
    return any(
        fnmatchcase(word, pattern.removeprefix("tag:"))
        for pattern in sink.agents
        for word in (subject.tags if pattern.startswith("tag:") else subject.agents)
    )


def _has_event(sink: SinkConfig, event: str) -> bool:
    return not sink.events or any(fnmatchcase(event, pattern) for pattern in sink.events)
