"""Names and addresses of hosts, as far as they show by themselves."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

_LISTEN: Final = re.compile(
    r"(?:\[(?P<ip>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})"
)
_PORT_MAX: Final = 65_535


def listen_address(text: str) -> tuple[str, int] | None:
    """Return host and port of `127.0.0.1:8484` or `[::1]:8484`; None: it is no such address."""
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"]) > _PORT_MAX:
        return None
    if found["ip"]:
        try:
            ipaddress.IPv6Address(found["ip"])
        except ValueError:
            return None
    return found["ip"] or found["name"], int(found["port"])


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_mistake(url: str) -> str:
    """Return what in particular keeps `url` from being called, as far as that can be said."""
    if any(letter.isspace() for letter in url):
        return "a URL has no space in it"
    try:
        urlsplit(url).port  # noqa: B018 - reading it is the check
    except ValueError as error:
        return "its port is no number up to 65535" if "port" in str(error).lower() else ""
    return ""


def web_host(url: str) -> str | None:
    """Return the host of a URL that can be called over HTTP; None: it is no such URL."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return None  # what is left out here could break out of the line of a request
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return host or None if parts.scheme in {"http", "https"} else None
