"""What the types of the main file's other tables can't say, in the user's words."""

import os
import re
import zoneinfo
from collections.abc import Iterator
from typing import Final

from agentd.config.agent_checks import Finding
from agentd.config.errors import KeyPath
from agentd.config.hosts import is_loopback, url_mistake, web_host
from agentd.config.names import AGENT_NAME, LABEL
from agentd.config.schema import Config
from agentd.config.sink_checks import check_sinks
from agentd.config.suggest import Suggestions

_NATS: Final = re.compile(r"(?:nats|tls|wss?)://[^\s/]+", re.IGNORECASE)
_LISTEN: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]*):(?P<port>[0-9]{1,5})")
_PORT_MAX: Final = 65_535
_MODEL_LENGTH_MAX: Final = 200
# More calls than that tell a service no more; it may count them as an attack.
PING_EVERY_MS_MIN: Final = 1_000
# The kernel takes 107; the daemon keeps some for a suffix.
SOCKET_BYTES_MAX: Final = 100


def check_settings(config: Config, suggest: Suggestions) -> Iterator[Finding]:
    """Yield everything that is wrong outside of the agents; paths from the top."""
    yield from _daemon(config, suggest)
    yield from _durations(config)
    yield from _names(config)
    yield from check_sinks(config.alerts.sinks)
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
        (("fleet", "ttl"), config.fleet.ttl_ms),
    ]
    for name, breaker in config.breakers.items():
        durations.append((("breakers", name, "window"), breaker.window_ms))
        durations.append((("breakers", name, "reset"), breaker.reset_ms))
    for path, duration_ms in durations:
        if duration_ms < 1:
            yield path, "must be longer than nothing", ""
    if config.report.ping_every_ms < PING_EVERY_MS_MIN:
        yield ("report", "ping_every"), f"at least {PING_EVERY_MS_MIN // 1000}s", 'such as "5m"'


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


def _addresses(config: Config) -> Iterator[Finding]:
    if config.report.ping_url and web_host(config.report.ping_url) is None:
        message = url_mistake(config.report.ping_url)
        yield (
            ("report", "ping_url"),
            message or "not a URL that begins with https:// or http://",
            "",
        )
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
    elif not has_token and not is_loopback(found["host"].strip("[]")):
        message = "listening beyond this machine needs a token"
        yield ("http", "listen"), message, "set http.token_file, or listen on 127.0.0.1"
