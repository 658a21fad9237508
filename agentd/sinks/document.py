"""The document that programs receive: CONTRACT 6.1, on a webhook and on a command's stdin."""

import json
from typing import Final

from agentd.config.encodable import encodable
from agentd.sinks.message import Message

VERSION: Final = 1


def document(message: Message) -> bytes:
    """Return the message as one JSON document, ASCII only, without an end of line.

    `folded` and `report` are there only where the message tells of them.
    """
    shown: dict[str, object] = {
        "version": VERSION,
        "alert_id": message.alert_id,
        "dedup_key": message.dedup_key,
        "kind": message.kind,
        "severity": message.severity,
        "host": message.host,
        "agent": message.agent,
        "event": message.event,
        "incident": message.incident,
        "next": message.next,
    }
    if message.folded:
        shown["folded"] = message.folded
    if message.report is not None:
        shown["report"] = message.report
    return json.dumps(encodable(shown)).encode()
