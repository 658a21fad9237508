"""What agents, tags and breakers may be called."""

import re
from typing import Final

AGENT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
LABEL_LENGTH_MAX: Final = 63
LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
FLEET_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""A host's name in a fleet: a word of NATS subjects, which a dot would divide."""
HOST_AGENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}/[a-z0-9][a-z0-9_-]{0,62}")

HTTP_AGENT: Final = "agentd-http"
FLEET_AGENT: Final = "agentd-fleet"
INTERNAL: Final = frozenset({HTTP_AGENT, FLEET_AGENT})
"""Agents that are agentd's own: shown, and meant by a selector, only where they are asked for."""
SWITCHES: Final = {HTTP_AGENT: ("http", "listen"), FLEET_AGENT: ("fleet", "nats")}
"""The option that asks for each of them."""

_TAKEN: Final = {
    "all": "the selector of every agent",
    HTTP_AGENT: "the name of an internal agent",
    FLEET_AGENT: "the name of an internal agent",
}
NAME_RULE: Final = (
    "lower-case letters, digits, - and _, the first a letter or digit, at most 63 in all"
)


def agent_name_mistake(name: str) -> tuple[str, str] | None:
    """Return (message, hint) if no agent can be called so, else None."""
    if name in _TAKEN:
        return f'"{name}" is {_TAKEN[name]}', "choose another name"
    if AGENT_NAME.fullmatch(name):
        return None
    lowered = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:63]
    return (
        f"an agent's name is made of {NAME_RULE}",
        f'for example "{lowered}"' if AGENT_NAME.fullmatch(lowered) else "",
    )
