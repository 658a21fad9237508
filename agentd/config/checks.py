"""What the types of the main file's other tables can't say, in the user's words."""

import ipaddress
import os
import re
import zoneinfo
from collections.abc import Iterator
from typing import Final

from agentd.config.agent_checks import Finding
from agentd.config.errors import KeyPath
from agentd.config.names import AGENT_NAME, LABEL
from agentd.config.schema import Config, SinkConfig
from agentd.config.suggest import Suggestions

_WEB: Final = re.compile(r"https?://[^\s/]+", re.IGNORECASE)
_NATS: Final = re.compile(r"(?:nats|tls|wss?)://[^\s/]+", re.IGNORECASE)
_SELECTOR: Final = re.compile(r"(?:tag:[A-Za-z0-9._*?\[\]!-]+|[A-Za-z0-9._*?\[\]!/-]+)")
_LISTEN: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]*):(?P<port>[0-9]{1,5})")
_PORT_MAX: Final = 65_535
_MODEL_LENGTH_MAX: Final = 200
# The kernel takes 107; the daemon keeps some for a suffix.
SOCKET_BYTES_MAX: Final = 100

# What a sink of each type must say, any one of each group.
_SINK_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "slack": ("url", "url_file"),
    "pagerduty": ("routing_key_file",),
    "webhook": ("url", "url_file"),
    "command": ("command",),
    "apprise": ("url", "url_file"),
}


def check_settings(config: Config, suggest: Suggestions) -> Iterator[Finding]:
    """Yield everything that is wrong outside of the agents; paths from the top."""
    yield from _daemon(config, suggest)
    yield from _durations(config)
    yield from _names(config)
    for index, sink in enumerate(config.alerts.sinks):
        for path, message, hint in _sink(sink):
            yield ("alerts", "sinks", index, *path), message, hint
    yield from _sink_names(config)
    yield from _addresses(config)


def _daemon(config: Config, suggest: Suggestions) -> Iterator[Finding]:
    daemon = config.daemon
    for key in ("socket", "state_dir", "log_dir", "agents_dir"):
        if "\0" in getattr(daemon, key):
            yield ("daemon", key), "holds a NUL character", ""
    if len(os.fsencode(daemon.socket)) > SOCKET_BYTES_MAX:
        message = f"longer than {SOCKET_BYTES_MAX} bytes, too long for a socket"
        yield ("daemon", "socket"), message, "choose a shorter path"
    if not daemon.agents_dir:
        yield ("daemon", "agents_dir"), "must not be empty", 'the default is "agents.d"'
    if daemon.timezone:
        try:
            zoneinfo.ZoneInfo(daemon.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            hint = suggest.hint(daemon.timezone, zoneinfo.available_timezones())
            message = f"{daemon.timezone!r} is not an IANA time zone"
            yield ("daemon", "timezone"), message, hint or 'such as "Europe/Berlin"'


def _durations(config: Config) -> Iterator[Finding]:
    durations: list[tuple[KeyPath, int]] = [
        (("alerts", "remind_every"), config.alerts.remind_every_ms),
        (("report", "ping_every"), config.report.ping_every_ms),
        (("fleet", "ttl"), config.fleet.ttl_ms),
    ]
    for name, breaker in config.breakers.items():
        durations.append((("breakers", name, "window"), breaker.window_ms))
        durations.append((("breakers", name, "reset"), breaker.reset_ms))
    for path, duration_ms in durations:
        if duration_ms < 1:
            yield path, "must be longer than nothing", ""


def _names(config: Config) -> Iterator[Finding]:
    for name in config.breakers:
        if not LABEL.fullmatch(name):
            yield ("breakers", name), "a breaker's name has letters, digits and . _ - only", ""
    for model in config.prices:
        if not model.strip() or len(model) > _MODEL_LENGTH_MAX or not model.isprintable():
            yield ("prices", model), "not the name of a model", 'such as [prices."gpt-x"]'
    for name, host in config.fleet.hosts.items():
        if not LABEL.fullmatch(name):
            yield ("fleet", "hosts", name), "a host's name has letters, digits and . _ - only", ""
        # ssh would take a leading dash for an option of its own.
        if not host or host.startswith("-") or not host.isprintable() or " " in host:
            yield ("fleet", "hosts", name), f"{host!r} is not a host that ssh could know", ""


def _sink(sink: SinkConfig) -> Iterator[Finding]:
    if not LABEL.fullmatch(sink.name):
        yield ("name",), "a sink's name has letters, digits and . _ - only", ""
    needs = _SINK_NEEDS[sink.type]
    given = [key for key in needs if getattr(sink, key)]
    if not given:
        yield (), f'a sink of type "{sink.type}" needs {" or ".join(needs)}', ""
    elif len(given) > 1:
        yield (given[0],), f"given as well as {given[1]}", "keep one of the two"
    if sink.url and sink.type in {"slack", "webhook"} and not _WEB.match(sink.url):
        yield ("url",), "not a URL that begins with https:// or http://", ""
    for index, pattern in enumerate(sink.agents):
        if not _SELECTOR.fullmatch(pattern):
            message = f"{pattern!r} selects no agent"
            yield ("agents", index), message, 'a name, a glob such as "order-*", or "tag:NAME"'


def _sink_names(config: Config) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, sink in enumerate(config.alerts.sinks):
        if sink.name in seen:
            yield ("alerts", "sinks", index, "name"), f'a second sink named "{sink.name}"', ""
        seen.add(sink.name)


def _addresses(config: Config) -> Iterator[Finding]:
    if config.report.ping_url and not _WEB.match(config.report.ping_url):
        yield ("report", "ping_url"), "not a URL that begins with https:// or http://", ""
    for index, url in enumerate(config.fleet.nats):
        if not _NATS.match(url):
            yield (
                ("fleet", "nats", index),
                f"{url!r} is not a NATS URL",
                'such as "tls://HOST:4222"',
            )
    if config.fleet.name and not LABEL.fullmatch(config.fleet.name):
        yield ("fleet", "name"), "a host's name has letters, digits and . _ - only", ""
    if not AGENT_NAME.fullmatch(config.fleet.prefix.lower()):
        yield ("fleet", "prefix"), "one word of letters, digits, - and _", ""
    http = config.http
    if bool(http.tls_cert) != bool(http.tls_key):
        key, other = ("tls_key", "tls_cert") if http.tls_cert else ("tls_cert", "tls_key")
        yield ("http", other), f"needs {key} as well", ""
    if http.listen:
        yield from _listen(http.listen, has_token=bool(http.token_file))


def _listen(address: str, *, has_token: bool) -> Iterator[Finding]:
    found = _LISTEN.fullmatch(address)
    if found is None or int(found["port"]) > _PORT_MAX:
        message = f"{address!r} is not an address and a port"
        yield ("http", "listen"), message, 'such as "127.0.0.1:8484"'
    elif not has_token and not _is_loopback(found["host"].strip("[]")):
        message = "listening beyond this machine needs a token"
        yield ("http", "listen"), message, "set http.token_file, or listen on 127.0.0.1"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
