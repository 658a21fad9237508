"""What the types of the main file's other tables can't say, in the user's words."""

import os
import zoneinfo
from collections.abc import Iterator
from typing import Final

from agentd.config.agent_checks import Finding
from agentd.config.errors import KeyPath
from agentd.config.hosts import url_mistake, web_host
from agentd.config.names import LABEL
from agentd.config.network_checks import check_network
from agentd.config.schema import Config
from agentd.config.sink_checks import check_sinks
from agentd.config.suggest import Suggestions

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
    yield from check_network(config.http, config.fleet)


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


def _addresses(config: Config) -> Iterator[Finding]:
    if config.report.ping_url and web_host(config.report.ping_url) is None:
        message = url_mistake(config.report.ping_url)
        yield (
            ("report", "ping_url"),
            message or "not a URL that begins with https:// or http://",
            "",
        )
