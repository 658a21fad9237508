"""What the types of `[http]` and `[fleet]` can't say, in the user's words."""

import re
import socket
from collections.abc import Iterator
from typing import Final

from agentd.config.agent_checks import Finding
from agentd.config.hosts import is_loopback, listen_address
from agentd.config.names import AGENT_NAME, FLEET_HOST, LABEL
from agentd.config.schema import FleetConfig, HttpConfig

_NATS: Final = re.compile(r"(?:nats|tls|wss?)://[^\s/]+", re.IGNORECASE)
_NOT_OF_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_WEB_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]+\]?")
# A bucket of NATS keeps no time shorter than a second, and a host is seen some times in each;
# below it, what a busy machine takes for a moment would be silence.
TTL_MS_MIN: Final = 1_000
_FILES: Final = ("token_file", "tls_cert", "tls_key")


def check_network(http: HttpConfig, fleet: FleetConfig) -> Iterator[Finding]:
    """Yield everything that is wrong with both tables; paths from the top."""
    for path, message, hint in _http(http):
        yield ("http", *path), message, hint
    for path, message, hint in _fleet(fleet):
        yield ("fleet", *path), message, hint


def _http(http: HttpConfig) -> Iterator[Finding]:
    if bool(http.tls_cert) != bool(http.tls_key):
        key, other = ("tls_key", "tls_cert") if http.tls_cert else ("tls_cert", "tls_key")
        yield (other,), f"needs {key} as well", ""
    for key in _FILES:
        if "\0" in getattr(http, key):
            yield (key,), "holds a NUL character", ""
    if http.operate and not http.token_file:
        message = "whoever may change something has to show a token"
        yield ("operate",), message, "set http.token_file, or leave operate out"
    for index, name in enumerate(http.allowed_hosts):
        if not _WEB_NAME.fullmatch(name):
            message = f"{name!r} is not the name of a host"
            yield ("allowed_hosts", index), message, 'without scheme and port: "agents.example.org"'
    if http.listen:
        yield from _listen(http.listen, has_token=bool(http.token_file))


def _listen(address: str, *, has_token: bool) -> Iterator[Finding]:
    found = listen_address(address)
    if found is None:
        yield ("listen",), f"{address!r} is not an address and a port", 'such as "127.0.0.1:8484"'
    elif not has_token and not is_loopback(found[0]):
        message = "listening beyond this machine needs a token"
        yield ("listen",), message, "set http.token_file, or listen on 127.0.0.1"


def _fleet(fleet: FleetConfig) -> Iterator[Finding]:
    for index, url in enumerate(fleet.nats):
        if not _NATS.match(url):
            yield ("nats", index), f"{url!r} is not a NATS URL", 'such as "tls://HOST:4222"'
    yield from _name(fleet)
    if not AGENT_NAME.fullmatch(fleet.prefix.lower()):
        yield ("prefix",), "one word of letters, digits, - and _", ""
    if fleet.ttl_ms < TTL_MS_MIN:
        yield ("ttl",), f"at least {TTL_MS_MIN // 1000}s", 'such as "10s"'
    for key in ("credentials_file", "tls_ca"):
        if "\0" in getattr(fleet, key):
            yield (key,), "holds a NUL character", ""
    for name, host in fleet.hosts.items():
        if not LABEL.fullmatch(name):
            yield ("hosts", name), "a host's name has letters, digits and . _ - only", ""
        # ssh would take a leading dash for an option of its own.
        if not host or host.startswith("-") or not host.isprintable() or " " in host:
            yield ("hosts", name), f"{host!r} is not a host that ssh could know", ""


def _name(fleet: FleetConfig) -> Iterator[Finding]:
    if fleet.name and not FLEET_HOST.fullmatch(fleet.name):
        message = "a host's name in the fleet has letters, digits, - and _ only, at most 63"
        hint = "a dot would divide the NATS subjects that it is a part of"
        yield ("name",), message, hint if "." in fleet.name else ""
    elif fleet.nats and not FLEET_HOST.fullmatch(own_name(fleet)):
        message = f"{socket.gethostname()!r}, the name of this host, is none for a fleet"
        yield ("nats",), message, 'set fleet.name, such as "machine-1"'


def own_name(fleet: FleetConfig) -> str:
    """Return this host's name in the fleet: as configured, else the system's, dots as `-`."""
    return fleet.name or _NOT_OF_A_NAME.sub("-", socket.gethostname()).strip("-_")[:63]
