"""A message as people read it, the same in every sink: one headline, then line by line what is
known, what agentd did, and the next command to type.

What agents supplied stands in it as text and nothing else: escaped, on one line, bounded.
"""

from collections.abc import Mapping
from typing import Final

from agentd.sinks.escaping import clipped, escaped, on_one_line
from agentd.sinks.message import Message

HEADLINE_LENGTH_MAX: Final = 250
# Escaped for Slack a line can become five times as long, and still fits a block of 3000.
LINE_LENGTH_MAX: Final = 580
FOLDED_LENGTH_MAX: Final = 200
FOLDED_SHOWN_MAX: Final = 10
NAMES_SHOWN_MAX: Final = 8
ACTIONS_SHOWN_MAX: Final = 5
# The same five times over, in blocks that are half full: less than the 50 that Slack takes.
REPORT_LENGTH_MAX: Final = 14_000

_BEGINNINGS: Final = {
    "reminder": "STILL OPEN",
    "acknowledge": "ACKNOWLEDGED",
    "resolve": "RESOLVED",
    "test": "TEST",
}


# Sent late, these may tell of what is over.
_OF_TROUBLE: Final = ("trigger", "reminder")


def headline(message: Message) -> str:
    """Return one line that says how bad it is, where, who and what."""
    if message.report is not None:
        title = message.report_text.partition("\n")[0]
        date = _said(message.report, "date")
        return _clip(title or f"{date}, {message.host}: the daily report", HEADLINE_LENGTH_MAX)
    beginning = _BEGINNINGS.get(message.kind, message.severity.upper())
    if message.kind == "digest":
        return _clip(f"{beginning}: {_digest(message)}", HEADLINE_LENGTH_MAX)
    where = f"{message.agent} on {message.host}" if message.agent else message.host
    reason = _said(message.event, "reason")
    what = _said(message.event, "event") + (f" ({reason})" if reason else "")
    return _clip(f"{beginning}: {where}: {what}", HEADLINE_LENGTH_MAX)


def details(message: Message) -> list[str]:
    """Return what follows the headline, a line each; the report is a text of its own."""
    if message.report is not None:
        return []
    told = _told(message.event)
    lines = [_with_whom(message.event) if message.kind == "digest" else told]
    if message.incident is not None:
        lines += _of_incident(message, message.incident, told)
    time = _said(message.event, "time")
    lines.append(f"at {time}" if time else "")
    lines += _folded(message)
    return [_clip(line, LINE_LENGTH_MAX) for line in lines if line]


def next_step(message: Message) -> str:
    """Return the next command to type; empty: there is nothing to do."""
    return _clip(message.next, LINE_LENGTH_MAX)


def report_lines(message: Message) -> list[str]:
    """Return what follows the first line of the daily report, as much as there is room for."""
    lines, left = [], REPORT_LENGTH_MAX
    for raw in message.report_text.splitlines()[1:]:
        line = clipped(escaped(raw).replace("\n", " "), LINE_LENGTH_MAX)
        left -= len(line) + 1
        if left < 0:
            lines.append("… the rest is shown by: agentctl report")
            break
        lines.append(line)
    return lines


def below_headline(message: Message) -> str:
    """Return all but the headline as plain text, without an end of line at its end."""
    step = next_step(message)
    after = [f"next: {step}"] if step else []
    return "\n".join([*details(message), *report_lines(message), *after])


def _of_incident(message: Message, incident: Mapping[str, object], told: str) -> list[str]:
    summary = _said(incident, "summary")
    lines = []
    if summary and summary not in told and told not in summary:
        lines.append(f"incident {_said(incident, 'id')}: {summary}")
    others = [name for name in _words(incident.get("agents")) if name != message.agent]
    if others:
        lines.append(f"with it: {_names(others)}")
    if by := _said(incident, "acknowledged_by"):
        lines.append(f"acknowledged by {by}")
    if message.kind in _OF_TROUBLE and incident.get("resolved"):
        lines.append(f"over meanwhile: {_said(incident, 'resolution') or 'it has recovered'}")
    done = _words(incident.get("actions"))[-ACTIONS_SHOWN_MAX:]
    if done:
        lines.append(f"agentd did: {'; '.join(_clip(one, FOLDED_LENGTH_MAX) for one in done)}")
    return lines


def _folded(message: Message) -> list[str]:
    """One line an event: of the same agent what came before and after, of others who and what.

    An end tells what it was of, and one thing is told by several events: once is enough.
    """
    lines = []
    time = _said(message.event, "time")
    for event in message.folded[:FOLDED_SHOWN_MAX]:
        agent, what = _said(event, "agent"), _told(event)
        if agent and agent == message.agent:
            when = "before" if _said(event, "time") < time else "then"
            line = f"{when}: {what or _said(event, 'event')}"
        else:
            line = f"- {_with_whom(event)}"
        line = _clip(line, FOLDED_LENGTH_MAX)
        if line not in lines:
            lines.append(line)
    more = len(message.folded) - FOLDED_SHOWN_MAX
    if more > 0:
        lines.append(f"- and {more} more: agentctl events")
    return lines


def _told(event: Mapping[str, object]) -> str:
    """Return an event's message; its reason stands in the headline and isn't said twice."""
    return _said(event, "message").removeprefix(f"{_said(event, 'reason')}: ")


def _with_whom(event: Mapping[str, object]) -> str:
    """Return an event with who it is about, for where the headline doesn't say."""
    who = _said(event, "agent") or _said(event, "host")
    return f"{who}: {_said(event, 'event')}: {_told(event)}"


def _digest(message: Message) -> str:
    events = (message.event, *message.folded)
    agents = {_said(event, "agent") for event in events} - {""}
    about = f" about {_names(sorted(agents))}" if agents else ""
    return f"{message.host}: {len(events)} alerts in a short time{about}"


def _names(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN_MAX
    return ", ".join(names[:NAMES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _words(value: object) -> list[str]:
    """Return a list's items as text; of an object in it its message, or its event."""
    return [
        on_one_line(str(one.get("message") or one.get("event") or ""))
        if isinstance(one, Mapping)
        else on_one_line(str(one))
        for one in _list(value)
    ]


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _said(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    return on_one_line(str(value)) if value is not None else ""


def _clip(text: str, length_max: int) -> str:
    return clipped(on_one_line(text), length_max)
