"""What the types of `[[alerts.sinks]]` can't say, in the user's words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from agentd.config.agent_checks import Finding
from agentd.config.argv import argv
from agentd.config.event_names import EVENT_NAMES
from agentd.config.hosts import is_loopback, url_mistake, web_host
from agentd.config.names import LABEL, LABEL_LENGTH_MAX
from agentd.config.schema import SinkConfig
from agentd.config.suggest import Suggestions

# Each has a thread of its own while it delivers.
SINKS_MAX: Final = 32
_SELECTOR: Final = re.compile(r"(?:tag:[A-Za-z0-9._*?\[\]!-]+|[A-Za-z0-9._*?\[\]!/-]+)")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


@dataclass(frozen=True, slots=True)
class _Keys:
    """What a sink of one type says beside its name and its filters."""

    needed: tuple[str, ...]
    """One of these, and only one."""
    allowed: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        return self.needed + self.allowed


_KEYS: Final[dict[str, _Keys]] = {
    "slack": _Keys(("url", "url_file")),
    "pagerduty": _Keys(("routing_key_file",), ("url",)),
    "webhook": _Keys(("url", "url_file"), ("secret_file",)),
    "command": _Keys(("command",)),
    "apprise": _Keys(("url", "url_file")),
}
_OF_SOME: Final = tuple(dict.fromkeys(key for keys in _KEYS.values() for key in keys.known))


def check_sinks(sinks: Sequence[SinkConfig]) -> Iterator[Finding]:
    """Yield everything that is wrong with the sinks; paths from the top."""
    seen: set[str] = set()
    for index, sink in enumerate(sinks):
        place = ("alerts", "sinks", index)
        for path, message, hint in _sink(sink):
            yield (*place, *path), message, hint
        if sink.name in seen:
            yield (*place, "name"), f'a second sink named "{sink.name}"', ""
        seen.add(sink.name)
    if len(sinks) > SINKS_MAX:
        hint = 'one sink of type "apprise" can send to many services'
        yield ("alerts", "sinks"), f"more than {SINKS_MAX} sinks", hint


def _sink(sink: SinkConfig) -> Iterator[Finding]:
    if len(sink.name) > LABEL_LENGTH_MAX:
        message = f"a sink's name has {LABEL_LENGTH_MAX} characters at most"
        yield ("name",), f"{message}, not {len(sink.name)}", ""
    elif not LABEL.fullmatch(sink.name):
        yield ("name",), "a sink's name has letters, digits and . _ - only", ""
    yield from _keys(sink)
    if sink.url and (mistake := _url_mistake(sink)) is not None:
        yield ("url",), *mistake
    if sink.type == "command" and sink.command:
        yield from _command(sink)
    if not sink.agents:
        yield ("agents",), "an empty list reaches nobody", 'leave it out, or write ["*"], for all'
    for index, pattern in enumerate(sink.agents):
        if not _SELECTOR.fullmatch(pattern):
            message = f"{pattern!r} selects no agent"
            yield ("agents", index), message, 'a name, a glob such as "order-*", or "tag:NAME"'
    for index, pattern in enumerate(sink.events):
        if not any(fnmatchcase(name, pattern) for name in EVENT_NAMES):
            near = Suggestions().hint(pattern, EVENT_NAMES)
            message = f"{pattern!r} matches no event"
            yield ("events", index), message, near or 'an event or a glob, such as "agent.*"'


def _keys(sink: SinkConfig) -> Iterator[Finding]:
    keys = _KEYS[sink.type]
    given = [key for key in keys.needed if getattr(sink, key)]
    if not given:
        yield (), f'a sink of type "{sink.type}" needs {" or ".join(keys.needed)}', ""
    elif len(given) > 1:
        yield (given[0],), f"given as well as {given[1]}", "keep one of the two"
    for key in _OF_SOME:
        if key not in keys.known and getattr(sink, key):
            message = f'means nothing for a sink of type "{sink.type}"'
            yield (key,), message, f"it takes {', '.join(keys.known)}"
    for key in ("url_file", "routing_key_file", "secret_file"):
        if "\0" in getattr(sink, key):
            yield (key,), "holds a NUL character", ""


def _url_mistake(sink: SinkConfig) -> tuple[str, str] | None:
    """Return (what is wrong, what instead) with the URL of a sink; it is never quoted."""
    if sink.type == "apprise":
        if _SCHEME.fullmatch(sink.url):
            return None
        return "not a URL", "as apprise's documentation has it, such as ntfys://TOPIC"
    host = web_host(sink.url)
    if host is None:
        hint = "" if sink.url.isascii() else "write what is not ASCII in it as %XX"
        return url_mistake(sink.url) or "not a URL that begins with https://", hint
    if urlsplit(sink.url).scheme == "http" and not is_loopback(host):
        message = "http:// beyond this machine: everybody on the way could read the alerts"
        return message, "begin it with https://"
    return None


def _command(sink: SinkConfig) -> Iterator[Finding]:
    if "\0" in "".join(sink.command):
        yield ("command",), "holds a NUL character", ""
        return
    try:
        words = argv(sink.command)
    except ValueError as error:
        hint = "close the quote, or write a list of strings"
        yield ("command",), f"can't be split into words: {str(error).lower()}", hint
        return
    if not words or not words[0]:
        yield ("command",), "the name of the program is empty", ""
