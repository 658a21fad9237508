"""Which machines `-H` names."""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from agentd.cli.lazy import HintedUsageError
from agentd.config.names import FLEET_HOST

HOSTS_MAX: Final = 1_000
ALL: Final = "@all"
_NATS: Final = "nats:"
# What ssh knows as a host: a name of its configuration, user@host, an address, ssh://host:port.
# No dash at the beginning (an option), no blank, quote, backslash or other word of a shell.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9_\[:][A-Za-z0-9_.@:%/\[\]+~-]{0,254}")


class Host(NamedTuple):
    """One machine: what its rows are called, and how it is reached."""

    label: str
    address: str
    """As ssh knows it, or its name in the fleet."""
    over_nats: bool = False


def hosts_of(words: str, listed: Callable[[], Mapping[str, str]]) -> list[Host]:
    """Return the hosts that `a,b,@all,nats:c` names, each once, in this order.

    `listed` reads `[fleet.hosts]`, name to address, and is called only where `@` asks for it.
    What could be anything but a host is a usage error; nothing is done then on any host.
    """
    found: dict[str, Host] = {}
    for word in (part.strip() for part in words.split(",")):
        if word.startswith("@"):
            for name, address in _named(word, listed()).items():
                found.setdefault(name, _host(name, address))
        else:
            host = _host(word.removeprefix(_NATS), word)
            found.setdefault(host.label, host)
    if len(found) > HOSTS_MAX:
        raise HintedUsageError(f"more than {HOSTS_MAX} hosts", "agentctl -H, in several calls")
    return list(found.values())


def fleet_host(name: str) -> Host:
    """Return the host of the fleet of this name; what can be none is a usage error."""
    if not FLEET_HOST.fullmatch(name):
        raise HintedUsageError(f"{name!r} is not the name of a host", "agentctl fleet status")
    return Host(name, name, over_nats=True)


def _named(word: str, listed: Mapping[str, str]) -> Mapping[str, str]:
    hint = 'in agentd.toml: [fleet.hosts], a line a host: NAME = "HOST"'
    if not listed:
        raise HintedUsageError(f"{word}: no hosts are listed", hint)
    if word == ALL:
        return listed
    if word[1:] not in listed:
        raise HintedUsageError(f"{word}: not among the listed hosts", f"@{', @'.join(listed)}")
    return {word[1:]: listed[word[1:]]}


def _host(label: str, address: str) -> Host:
    if address.startswith(_NATS):
        return fleet_host(address.removeprefix(_NATS))._replace(label=label)
    if not _ADDRESS.fullmatch(address):
        hint = "a name or address as ssh knows it; several with commas between them"
        raise HintedUsageError(f"{address!r} is not a host that ssh could know", hint)
    return Host(label, address)
