"""Agents of a fleet as they are named: HOST/AGENT."""

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from agentd.cli.lazy import HintedUsageError
from agentd.cli.remote.hosts import Host, fleet_host

_GLOB: Final = frozenset("*?[")
ALL: Final = "all"


def by_host(
    targets: Iterable[str], known: Callable[[], Sequence[str]]
) -> list[tuple[Host, tuple[str, ...]]]:
    """Return each host and what was selected on it, from `m1/worker`, `*/tag:shop`, `all/all`.

    Before the slash stands a host's name, a glob or `all`, behind it what any command takes.
    `known` names the hosts there are, and is asked only for a glob.
    """
    found: dict[str, list[str]] = {}
    for target in targets:
        host, slash, select = target.partition("/")
        if not slash or not host or not select:
            hint = "HOST/AGENT, such as machine-3/order-processor or '*/tag:shop'"
            raise HintedUsageError(f"{target!r} names no agent of a host", hint)
        for name in _matching(host, known):
            found.setdefault(name, []).append(select)
    return [(fleet_host(name), tuple(words)) for name, words in found.items()]


def _matching(host: str, known: Callable[[], Sequence[str]]) -> Sequence[str]:
    if host != ALL and not _GLOB & set(host):
        return [host]
    names = [name for name in known() if host == ALL or fnmatchcase(name, host)]
    if not names:
        raise HintedUsageError(f"no host matches {host!r}", "agentctl fleet status --hosts")
    return names
