"""The sink `pagerduty`: the Events API v2, an incident of ours being one of PagerDuty's.

All messages of an incident carry its key: a trigger opens it there or adds to it, a reminder
adds to it, `ack` acknowledges and recovery resolves it. Limits, as PagerDuty documents them:
a summary holds 1024 characters, a dedup key 255, an event 512 KiB.
"""

import json
from dataclasses import dataclass, field
from typing import Final

from agentd.config.encodable import encodable
from agentd.config.schema import SinkConfig
from agentd.sinks import text
from agentd.sinks.escaping import clipped
from agentd.sinks.http import Http
from agentd.sinks.message import Message, Resources
from agentd.sinks.posting import post
from agentd.sinks.secret_files import first_line

EVENTS_URL: Final = "https://events.pagerduty.com/v2/enqueue"
SUMMARY_LENGTH_MAX: Final = 1024
KEY_LENGTH_MAX: Final = 255
_CHANGES: Final = {"acknowledge": "acknowledge", "resolve": "resolve"}


@dataclass(slots=True)
class PagerDuty:
    """One service."""

    config: SinkConfig
    resources: Resources
    http: Http = field(default_factory=Http)

    def deliver(self, message: Message) -> None:
        routing_key = first_line(self.resources, self.config.routing_key_file)
        body = json.dumps(encodable(payload(message, routing_key))).encode()
        post(self.http, self.config.url or EVENTS_URL, body, {}, secret=routing_key)


def payload(message: Message, routing_key: str) -> dict[str, object]:
    """Return what is posted for a message."""
    shown: dict[str, object] = {
        "routing_key": routing_key,
        "event_action": _CHANGES.get(message.kind, "trigger"),
        "dedup_key": message.dedup_key[:KEY_LENGTH_MAX],
    }
    if message.kind in _CHANGES:
        return shown
    details = text.details(message)
    summary = ": ".join([text.headline(message), *details[:1]])
    event: dict[str, object] = {
        "summary": clipped(summary, SUMMARY_LENGTH_MAX),
        "source": message.host,
        "severity": message.severity,
        "component": message.agent or "agentd",
        "class": message.event.get("reason") or message.event.get("event") or message.kind,
        "custom_details": {
            "details": details,
            "next": text.next_step(message),
            "incident": message.incident,
            "event": message.event,
        },
    }
    if message.event.get("time"):
        event["timestamp"] = message.event["time"]
    return {**shown, "payload": event, "client": "agentd"}
