"""Whom an agent runs as, from the user and group its config names."""

import errno
import grp
import os
import pwd
from dataclasses import dataclass

from agentd.daemon.programs import Ids, SpawnError


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the kernel and the environment know one."""

    ids: Ids
    name: str
    home: str
    shell: str
    switch: bool
    """Whether the child has to change to it."""


def person(user: str, group: str) -> Person:
    """Return whom `user` and `group` (names or numbers; empty: as the daemon) stand for.

    SpawnError: unknown, or not for a daemon without root to become.
    """
    uid, entry = _user(user)
    gid = _group(group) if group else (entry.pw_gid if user and entry else os.getegid())
    switch = bool(user or group) and (uid, gid) != (os.geteuid(), os.getegid())
    if switch and os.geteuid() != 0:
        who = f"user {user!r}" if user else f"group {group!r}"
        raise SpawnError(errno.EPERM, who, f"agentd runs as uid {os.geteuid()} and stays that")
    if user and entry and os.geteuid() == 0:
        switch = True  # its groups are not ours, even where uid and gid are
        groups = tuple(sorted(os.getgrouplist(entry.pw_name, gid)))
    else:
        groups = (gid,) if switch else tuple(os.getgroups())
    if entry is None:
        return Person(Ids(uid, gid, groups), str(uid), "/", "/bin/sh", switch)
    ids = Ids(uid, gid, groups)
    return Person(ids, entry.pw_name, entry.pw_dir or "/", entry.pw_shell or "/bin/sh", switch)


def _user(user: str) -> tuple[int, pwd.struct_passwd | None]:
    try:
        if not user:
            return os.geteuid(), pwd.getpwuid(os.geteuid())
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        if not user or user.isdecimal():  # a number without a name is still somebody
            return int(user or os.geteuid()), None
        raise SpawnError(errno.EINVAL, f"user {user!r}", "there is no such user") from None
    return entry.pw_uid, entry


def _group(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise SpawnError(errno.EINVAL, f"group {group!r}", "there is no such group") from None
