"""Find out what became of the processes that an earlier daemon recorded.

A process is adopted only when it is proven to be the recorded one; on doubt it is left alone
and reported. How a process ended is told by a pidfd that outlived the daemon, or by nobody.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from agentd.daemon import limits, pidfds, procfs
from agentd.daemon.pidfds import UNSEEN, Ending, Identity
from agentd.daemon.sweep import LOOKS_MAX, TOKEN_VARIABLE, incarnation_of
from agentd.store.rows import SpawnRow

# What a start leaves in the environment: the incarnation's id, the agent's name, our socket.
_MARKS: Final = (TOKEN_VARIABLE, b"AGENTD_AGENT", b"AGENTD_SOCKET")


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one recorded process."""

    kind: Literal["alive", "gone", "unidentifiable"]
    evidence: str
    identity: Identity | None = None
    """Of a living one."""
    pidfd: int = -1
    """Of a living one; now the caller's."""
    ending: Ending = UNSEEN
    """Of one that is gone; neither code nor signal when nobody saw it."""
    rebooted: bool = False


def find(row: SpawnRow, boot_id: str, kept_pidfd: int | None = None) -> Found:
    """Compare a recorded process with what is there now.

    `kept_pidfd` was opened by the daemon that recorded it and handed over (a re-exec,
    systemd's fd store); it is closed here unless it comes back in the answer.
    """
    if row.boot_id != boot_id:
        _close(kept_pidfd)
        return Found("gone", "the host was rebooted since", rebooted=True)
    if kept_pidfd is not None:
        return _by_pidfd(row, kept_pidfd)
    pidfd = pidfds.open_pidfd(row.pid)
    if pidfd is None:
        return Found("gone", f"pid {row.pid} is gone; nobody saw how it ended")
    found = _identify(row, pidfd)
    if found.pidfd < 0:
        os.close(pidfd)
    return found


def _by_pidfd(row: SpawnRow, pidfd: int) -> Found:
    """A pidfd that was kept names the recorded process, whatever else has its pid by now."""
    ending = _ending(pidfd)
    if ending is None:
        identity = pidfds.identify(row.pid, pidfd)
        if identity is not None and _is_recorded(row, identity):
            return Found("alive", f"pid {row.pid}, by its pidfd", identity, pidfd)
        ending = UNSEEN
    os.close(pidfd)
    return Found("gone", f"pid {row.pid} ended while no daemon watched", ending=ending)


def _is_recorded(row: SpawnRow, identity: Identity) -> bool:
    """Whether this is the recorded process, by what is unique for a boot if there is any.

    A start time is not, and is shown differently in another time namespace.
    """
    if row.pidfd_inode and identity.inode:
        return row.pidfd_inode == identity.inode
    return row.start_time == identity.start_time


def _ending(pidfd: int) -> Ending | None:
    """Return how it ended, `UNSEEN` when it has and nobody knows how; None while it lives."""
    if not pidfds.is_dead(pidfd):
        return None
    try:
        ending = pidfds.peek(pidfd)
    except ChildProcessError:
        return pidfds.ending_of_stranger(pidfd) or UNSEEN
    pidfds.reap(pidfd)
    return ending


def _identify(row: SpawnRow, pidfd: int) -> Found:
    """Judge the process that has the recorded pid now."""
    stat = procfs.stat_of(row.pid)
    inode = pidfds.inode_of(pidfd)
    if stat is None:
        return Found("gone", f"pid {row.pid} is gone; nobody saw how it ended")
    identity = Identity(row.pid, stat.start_time, inode)
    if not _is_recorded(row, identity):
        return Found("gone", f"pid {row.pid} belongs to another process now")
    ending = _ending(pidfd)
    if ending is not None:
        return Found("gone", f"pid {row.pid} is a zombie", ending=ending)
    if row.pidfd_inode and inode:
        return Found("alive", f"pid {row.pid}, same pidfd inode", identity, pidfd)
    # Pid and start time alone are no identity: its group or its token must speak for it.
    if row.cgroup and procfs.cgroup_of(row.pid) == row.cgroup:
        return Found("alive", f"pid {row.pid}, same start time and cgroup", identity, pidfd)
    if incarnation_of(row.pid) == row.incarnation_id:
        return Found("alive", f"pid {row.pid}, same start time and token", identity, pidfd)
    return Found("unidentifiable", f"pid {row.pid} has the start time, but nothing else proves it")


@dataclass(frozen=True, slots=True)
class Stray:
    """A living process that carries the id of an incarnation of ours."""

    pid: int
    start_time: int
    incarnation_id: str
    agent: str
    leads: bool
    """Whether no other process of that incarnation is its ancestor."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at all processes found of ours."""

    strays: list[Stray]
    is_whole: bool
    """False: somebody ended before it was known whose it was, and may have left a child."""


async def scan(incarnation_ids: Collection[str], socket: str = "") -> Scan:
    """Find every living process that was exec'ed with one of these ids in its environment.

    This finds the child of a daemon that died between its fork and the record of its pid. One
    that hides all but the mark of its limits is named, too, and never leads.
    With `socket`, those whose environment names that socket of ours come with them, whatever
    their id: the children of a daemon that could not record anything at all.
    It looks again, up to LOOKS_MAX times, while somebody ends too early.
    """
    for _ in range(LOOKS_MAX):
        found = await _scan_once(incarnation_ids, socket)
        if found.is_whole:
            break
    return found


async def _scan_once(incarnation_ids: Collection[str], socket: str) -> Scan:
    census = await procfs.census()
    owners: dict[int, tuple[str, str]] = {}
    marked: set[int] = set()
    # A session is begun or inherited, never joined: where one in it is a stranger, all are.
    foreign_sids: set[int] = set()
    ended_sids: set[int] = set()
    ids_by_mark = {limits.mark_of(one): one for one in incarnation_ids}
    for stat in census.living():
        seen = procfs.environ(stat.pid)
        environ = seen or {}
        owner, agent, named = (environ.get(name, b"").decode(errors="replace") for name in _MARKS)
        if owner and (owner in incarnation_ids or (socket and named == socket)):
            owners[stat.pid] = owner, agent
        elif not owner:
            mark = procfs.rttime_limit(stat.pid)
            if mark is not None and mark in ids_by_mark:
                owners[stat.pid] = ids_by_mark[mark], ""
                marked.add(stat.pid)
            elif not environ and procfs.has_ended(stat.pid):
                ended_sids.add(stat.sid)
            elif seen != {}:  # without any it may be in the middle of an exec
                foreign_sids.add(stat.sid)
    strays = [
        Stray(
            pid,
            census.stats[pid].start_time,
            owner,
            agent,
            leads=pid not in marked and owners.get(census.stats[pid].ppid, ("", ""))[0] != owner,
        )
        for pid, (owner, agent) in owners.items()
    ]
    return Scan(strays, is_whole=not census.overtaken and ended_sids <= foreign_sids)


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)
