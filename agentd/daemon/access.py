"""Who is who on this host, from what the config says: groups and users as numbers."""

import grp
import os
import pwd
from pathlib import Path

from agentd.config.names import INTERNAL
from agentd.config.schema import Config
from agentd.daemon.listener import final_mode
from agentd.daemon.log import log
from agentd.daemon.peers import Access


def access_of(config: Config, socket: Path) -> Access:
    """Look up the groups and users that the config names; an unknown one gives no right."""
    return Access(
        operator_gid=_gid(config.daemon.operator_group),
        viewer_gid=_gid(config.daemon.viewer_group),
        agent_uids=frozenset(
            uid
            for agent in config.agents.values()
            if agent.user and (uid := _uid(agent.user)) is not None
        ),
        socket_path=str(socket),
    )


def mode_of(access: Access) -> int:
    """Return the socket's final mode."""
    return final_mode(
        system=os.geteuid() == 0,
        strangers_connect=bool(access.agent_uids) or access.viewer_gid is not None,
        operator_gid=access.operator_gid,
    )


def isolation_of(config: Config, *, cgroups: bool) -> str:
    """Say in one sentence what keeps agents apart from each other and from us."""
    own = [name for name, agent in config.agents.items() if agent.user]
    held = "a cgroup each" if cgroups else "no cgroup: their trees are found by descent and token"
    if os.geteuid() != 0:
        return f"none: all agents run as the daemon's own user, who can do anything here; {held}"
    others = (one for name, one in config.agents.items() if name not in INTERNAL)
    if len(own) < sum(not agent.external for agent in others):
        return f"none for agents without a `user`: they run as root; {held}"
    return f"by user; {held}"


def _gid(group: str) -> int | None:
    if not group:
        return None
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        log.debug("group.unknown", group=group)
        return None


def _uid(user: str) -> int | None:
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
