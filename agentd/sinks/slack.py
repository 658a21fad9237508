"""The sink `slack`: an incoming webhook, which takes a text and blocks.

`text` is what a notification on a telephone shows. Everything is mrkdwn, in which `&`, `<` and
`>` are escaped: no agent can mention a channel, hide a link behind words, or (no unfurling)
make Slack fetch an address.

Limits, as Slack documents them: a section holds 3000 characters, a message 50 blocks. What
`text` bounds is within both, however much of it has to be escaped.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from agentd.config.encodable import encodable
from agentd.config.schema import SinkConfig
from agentd.sinks import text
from agentd.sinks.address import address
from agentd.sinks.http import Http
from agentd.sinks.message import Message, Resources
from agentd.sinks.posting import post

SECTION_LENGTH_MAX: Final = 3000
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SIGNS: Final = {"critical": ":red_circle:", "warning": ":large_yellow_circle:"}


@dataclass(slots=True)
class Slack:
    """One channel."""

    config: SinkConfig
    resources: Resources
    http: Http = field(default_factory=Http)

    def deliver(self, message: Message) -> None:
        body = json.dumps(encodable(payload(message))).encode()
        post(self.http, address(self.config, self.resources), body, {})


def payload(message: Message) -> dict[str, object]:
    """Return what is posted for a message."""
    head = _escaped(text.headline(message))
    lines = [f"*{head}*", *(_escaped(line) for line in text.details(message))]
    lines += [_of_report(line) for line in text.report_lines(message)]
    step = text.next_step(message)
    if step:
        lines.append(f"next: `{_escaped(step)}`")
    lines[0] = f"{_sign(message)} {lines[0]}"
    blocks = [
        {"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in _sections(lines)
    ]
    return {
        "text": head,
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _sign(message: Message) -> str:
    if message.kind in {"resolve", "test"} or (message.report or {}).get("ok"):
        return ":large_green_circle:"
    return _SIGNS.get(message.severity, ":white_circle:")


def _escaped(said: str) -> str:
    return "".join(_ENTITIES.get(char, char) for char in said)


def _of_report(line: str) -> str:
    """Return a line of the report; one that begins a part of it in bold."""
    is_heading = line.endswith(":") and not line.startswith(" ")
    return f"*{_escaped(line)}*" if is_heading else _escaped(line)


def _sections(lines: Iterable[str]) -> list[str]:
    """Join lines into as few sections as hold them; a section must not be empty."""
    sections = [""]
    for line in lines:
        joined = f"{sections[-1]}\n{line}" if sections[-1] else line
        if len(joined) <= SECTION_LENGTH_MAX:
            sections[-1] = joined
        else:
            sections.append(line)
    return [section for section in sections if section.strip()]
