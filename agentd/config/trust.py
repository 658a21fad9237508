"""Whether files may be believed when the daemon runs as root.

Whoever can write the config decides what runs as root. So in system mode a file or directory
that others can write, or that belongs to the user of an agent, is refused. An environment
file may be its agent's own; but whoever may put another file in its place must not have ours read
what is not his.
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


def mistrust_above(path: Path, agent_uids: Collection[int], status_of: StatusOf = os.stat) -> str:
    """Return why somebody may put another file in the place of `path`; empty: nobody may.

    That is whoever owns a directory above it, or everybody, where it isn't sticky as /tmp is.
    """
    named = Path(os.path.abspath(path))  # noqa: PTH100 - without following links
    for directory in {*named.parents, *Path(os.path.realpath(path)).parents}:
        found = ownership_of(directory, status_of)
        if found is None:
            continue
        if found.uid in agent_uids:
            return f"it lies below {directory} of uid {found.uid}, an agent's"
        if found.mode & stat.S_IWOTH and not found.mode & stat.S_ISVTX:
            return f"everybody may write {directory}"
    return ""


def mistrust_environment(
    path: Path, seen: Ownership, own_uid: int | None, agent_uids: Collection[int]
) -> str:
    """Return why an environment file that was read isn't to be believed; empty: it is.

    `own_uid` is whom its agent runs as.
    """
    found = mistrust(seen, {uid for uid in agent_uids if uid != own_uid})
    if found is not None:
        return found[0]
    above = mistrust_above(path, agent_uids)
    if above and (own_uid is None or seen.uid != own_uid):
        return f"refused: {above}, and the file isn't the agent's own"
    return ""


def uid_of(agent: AgentConfig) -> int | None:
    """Return whom an agent runs as; None: the daemon's own user, or nobody there is."""
    try:
        if agent.user:
            return int(agent.user) if agent.user.isdecimal() else pwd.getpwnam(agent.user).pw_uid
    except (KeyError, ValueError):  # no such user: the spawn will say so
        return None
    return None


def uids_of(agents: Iterable[AgentConfig]) -> frozenset[int]:
    """Return the uids that agents run as, root's left out; unknown users are left out too."""
    found = {uid_of(agent) for agent in agents}
    return frozenset(uid for uid in found if uid)
