"""Whether files may be believed when the daemon runs as root.

Whoever can write the config decides what runs as root. So in system mode a file or directory
that others can write, or that belongs to the user of an agent, is refused.
"""

import os
import pwd
import stat
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from agentd.config.agent import AgentConfig
from agentd.config.sources import Ownership

StatusOf = Callable[[Path], os.stat_result]


def mistrust(ownership: Ownership, agent_uids: Collection[int]) -> tuple[str, str] | None:
    """Return (why, what to do) if a file or directory isn't to be believed, else None."""
    if ownership.mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "everybody" if ownership.mode & stat.S_IWOTH else "its group"
        return f"refused: {who} may write it", "chmod go-w"
    if ownership.uid in agent_uids:
        return f"refused: it belongs to uid {ownership.uid}, which an agent runs as", "chown root"
    return None


def ownership_of(path: Path, status_of: StatusOf = os.stat) -> Ownership | None:
    """Return who may change a path; None where there is none, or it can't be looked at."""
    try:
        status = status_of(path)
    except (OSError, ValueError):
        return None
    return Ownership(uid=status.st_uid, mode=status.st_mode)


def uids_of(agents: Iterable[AgentConfig]) -> frozenset[int]:
    """Return the uids that agents run as, root's left out; unknown users are left out too."""
    found = set()
    for name in {agent.user for agent in agents if agent.user}:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except (KeyError, ValueError):  # no such user: the spawn will say so
            continue
    return frozenset(found - {0})
