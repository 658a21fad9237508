"""External agents: not started by us, recognised by a token from a file."""

import os
import stat
from collections.abc import Iterable, Mapping
from typing import Final

from agentd.config.agent import AgentConfig
from agentd.daemon.log import log
from agentd.daemon.registry import Incarnation, Registry

TOKEN_BYTES_MAX: Final = 4_096
TOKEN_LENGTH_MIN: Final = 16


def register(registry: Registry, agents: Mapping[str, AgentConfig]) -> None:
    """Let the external agents of a config speak, and no others; a bad token file is logged."""
    for name, config in agents.items():
        known = registry.get(name, 0)
        if not config.external or not config.token_file:
            if known is not None:
                registry.remove(name, 0)
            continue
        try:
            token = read_token(config.token_file)
        except (OSError, ValueError) as error:
            log.error("token.unusable", agent=name, error=error, file=config.token_file)
            continue
        if known is None or known.token != token:
            registry.add(Incarnation(agent=name, ordinal=0, id="", token=token))
    for gone in _gone(registry, agents):
        registry.remove(gone, 0)


def _gone(registry: Registry, agents: Mapping[str, AgentConfig]) -> Iterable[str]:
    return [one.agent for one in registry if one.external and one.agent not in agents]


def read_token(path: str) -> str:
    """Read a token. OSError: it can't be read; ValueError: it must not be used, and why."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("not a plain file")
        if found.st_mode & stat.S_IWOTH:
            raise ValueError("everybody can write it")
        token = os.read(fd, TOKEN_BYTES_MAX).decode("utf-8").strip()
    finally:
        os.close(fd)
    if len(token) < TOKEN_LENGTH_MIN:
        raise ValueError(f"a token has at least {TOKEN_LENGTH_MIN} characters")
    return token
