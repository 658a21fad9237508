"""Who is at the other end of a connection, and what it may do: decided once, at accept.

The role comes from the kernel's word (credentials, groups, cgroup, ancestry, the environment
it was started with), never from what a line says. Later it can only sink. On any doubt a
peer gets less: a process that hides where it comes from is not an operator.
"""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from agentd.daemon import procfs
from agentd.daemon.registry import Incarnation, Registry

SO_PEERGROUPS: Final = 59
SO_PEERPIDFD: Final = 77  # Linux 6.5

_CREDENTIALS: Final = struct.Struct("iII")
_GROUPS_MAX: Final = 65_536  # NGROUPS_MAX
# Deeper than any honest process tree; a peer below that hides, or the tree changes too fast.
_ANCESTORS_MAX: Final = 512
_WALKS: Final = 3


class Role(StrEnum):
    """What a connection may do."""

    NONE = "none"
    AGENT = "agent"
    VIEWER = "viewer"
    OPERATOR = "operator"


RANK: Final = {Role.NONE: 0, Role.AGENT: 1, Role.VIEWER: 2, Role.OPERATOR: 3}


class Proc(Protocol):
    """What is read of /proc; None means: gone, or not for us."""

    def stat_of(self, pid: int, /) -> procfs.Stat | None: ...

    def cgroup_of(self, pid: int, /) -> str | None: ...

    def environ(self, pid: int, /) -> dict[bytes, bytes] | None: ...


@dataclass(frozen=True, slots=True)
class Access:
    """Who is who on this host; made anew when the config changes."""

    daemon_uid: int = field(default_factory=os.geteuid)
    daemon_pid: int = field(default_factory=os.getpid)
    """Peers that descend from it are agents or helpers, and never operators."""
    operator_gid: int | None = None
    viewer_gid: int | None = None
    agent_uids: frozenset[int] = frozenset()
    """The users that agents are configured to run as."""
    socket_path: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who connected, as the kernel recorded it then; not who writes."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer with its role, the agent it was recognised as, and why."""

    pid: int
    uid: int
    gid: int
    role: Role
    incarnation: Incarnation | None = None
    why: str = ""
    internal: str = ""
    """The internal agent that this is the channel of; empty: it came through the socket."""

    @property
    def who(self) -> str:
        return f"uid {self.uid}, pid {self.pid}"


def credentials_of(sock: socket.socket) -> Credentials:
    """Ask the kernel who connected. OSError: the socket is gone."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Credentials(pid, uid, gid, _groups_of(sock) | {gid})


def _groups_of(sock: socket.socket) -> frozenset[int]:
    for count in (256, _GROUPS_MAX):
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, count * 4)
        except OSError:  # ERANGE: more than fit; ENOPROTOOPT, ENODATA: unknown, so none
            continue
        return frozenset(struct.unpack(f"{len(raw) // 4}I", raw))
    return frozenset()


class Anchor:
    """Tells whether a pid still names the process that connected."""

    def __init__(self, sock: socket.socket, pid: int, proc: Proc) -> None:
        self._pid = pid
        self._proc = proc
        self._start_time: int | None = None
        self._pidfd: int | None = None
        try:
            self._pidfd = sock.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
        except OSError:  # an older kernel, or a peer that is gone: its start time must do
            stat = proc.stat_of(pid)
            self._start_time = stat.start_time if stat else None

    @property
    def inode(self) -> int:
        """The inode of its pidfd, which names one process for good; 0: unknown."""
        return 0 if self._pidfd is None else os.fstat(self._pidfd).st_ino

    def holds(self) -> bool:
        """Whether the peer exists still, dead or alive, under the pid it connected with."""
        if self._pidfd is None:
            stat = self._proc.stat_of(self._pid)
            return stat is not None and stat.start_time == self._start_time
        for line in (procfs.read(f"/proc/self/fdinfo/{self._pidfd}") or b"").splitlines():
            if line.startswith(b"Pid:"):
                return int(line[4:]) == self._pid
        return False

    def close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def recognise(sock: socket.socket, access: Access, registry: Registry, proc: Proc = procfs) -> Peer:
    """Decide the role of whoever is at the other end of `sock`. OSError: it is gone."""
    credentials = credentials_of(sock)
    anchor = Anchor(sock, credentials.pid, proc)
    try:
        judged = judge(credentials, access, registry, proc)
        if anchor.holds():
            return judged
        leader = registry.by_leader_inode(anchor.inode)
        if leader is not None:
            # An agent may say its last word and end before we look: its pidfd names it still.
            return replace(_of(credentials, Role.AGENT, "was the agent"), incarnation=leader)
        # What was read of /proc may be another's. The uid is the kernel's word and stands.
        return _of(credentials, Role.NONE, "gone before it could be looked at")
    finally:
        anchor.close()


def judge(
    credentials: Credentials, access: Access, registry: Registry, proc: Proc = procfs
) -> Peer:
    """Decide by the rules of the security model; pure but for what `proc` reads."""
    base = base_role(credentials, access)
    if credentials.pid <= 0:
        return _of(credentials, Role.NONE, "lives in another pid namespace")
    inquiry = _Inquiry(credentials, access, registry, proc)
    try:
        inquiry.look()
    except _UnreadableError as doubt:
        if inquiry.incarnation is None and not inquiry.cap:
            return _of(credentials, Role.NONE, str(doubt))
    if inquiry.incarnation is not None:
        peer = _of(credentials, Role.AGENT, inquiry.why)
        return replace(peer, incarnation=inquiry.incarnation)
    if inquiry.cap:
        return _of(credentials, min(base, Role.AGENT, key=RANK.__getitem__), inquiry.cap)
    if credentials.uid in access.agent_uids and base is not Role.OPERATOR:
        return _of(credentials, Role.AGENT, "runs as a user that agents run as")
    return _of(credentials, base, "")


def belongs(pid: int, incarnation: Incarnation, registry: Registry, proc: Proc = procfs) -> bool:
    """Whether a process is in an incarnation's cgroup, or descends from its leader."""
    cgroup = proc.cgroup_of(pid)
    if cgroup is not None and registry.by_cgroup(cgroup) is incarnation:
        return True
    try:
        ancestry = _ancestry(pid, proc)
    except _UnreadableError:
        return False
    return any(registry.by_leader(stat.pid) is incarnation for stat in ancestry)


def base_role(credentials: Credentials, access: Access) -> Role:
    """Return what uid and groups alone would allow."""
    if credentials.uid in (0, access.daemon_uid):
        return Role.OPERATOR
    if access.operator_gid is not None and access.operator_gid in credentials.groups:
        return Role.OPERATOR
    if access.viewer_gid is not None and access.viewer_gid in credentials.groups:
        return Role.VIEWER
    return Role.NONE


class _UnreadableError(Exception):
    """Where a peer comes from can't be told."""


@dataclass(slots=True)
class _Inquiry:
    """What cgroup, ancestry and environment say of one peer."""

    credentials: Credentials
    access: Access
    registry: Registry
    proc: Proc
    incarnation: Incarnation | None = None
    why: str = ""
    cap: str = ""
    """Why the role is `agent` at most; empty: it isn't."""

    def look(self) -> None:
        """Look until the agent is found; `_UnreadableError` where something is hidden."""
        cgroup = self.proc.cgroup_of(self.credentials.pid)
        if cgroup is not None and self._found_in_cgroup(cgroup):
            return
        ancestry = _ancestry(self.credentials.pid, self.proc)
        if self._found_in_tree(ancestry):
            return
        # Others' environments are not for a daemon without root to read, and that they
        # can't be read must not lower a role.
        uid = self.credentials.uid
        if uid == self.access.daemon_uid or uid in self.access.agent_uids:
            self._look_at_environments(ancestry)
        if cgroup is None:
            raise _UnreadableError("its cgroup can't be read")

    def _found_in_cgroup(self, cgroup: str) -> bool:
        self._is(self.registry.by_cgroup(cgroup), "in the agent's cgroup")
        if self.registry.in_agents_cgroup(cgroup):
            self.cap = "in a cgroup of agents"
        return self.incarnation is not None

    def _found_in_tree(self, ancestry: list[procfs.Stat]) -> bool:
        for stat in ancestry:
            if self._is(self.registry.by_leader(stat.pid), "in the agent's process tree"):
                return True
            if stat.pid == self.access.daemon_pid:
                self.cap = self.cap or "descends from the daemon"
        return False

    def _look_at_environments(self, ancestry: list[procfs.Stat]) -> None:
        """Look for a token of ours in what the peer and its ancestors were started with.

        A child started with an empty environment has none, but its ancestors show theirs.
        """
        for stat in ancestry:
            if stat.pid == self.access.daemon_pid:
                return
            environ = self.proc.environ(stat.pid)
            if environ is not None:
                self._look_at_token(environ)
            elif stat.pid == self.credentials.pid and not stat.dead:
                raise _UnreadableError("its environment can't be read")
            if self.incarnation is not None:
                return

    def _look_at_token(self, environ: dict[bytes, bytes]) -> None:
        token, where = (
            environ.get(name, b"").decode("utf-8", "surrogateescape")
            for name in (b"AGENTD_TOKEN", b"AGENTD_SOCKET")
        )
        if not token:
            # What we run for an agent is told only whose it is. After a crash of ours it hangs on
            # init, and nothing else gives it away.
            if b"AGENTD_AGENT" in environ:
                self.cap = self.cap or "started as a command of the configuration"
            return
        found = self.registry.by_token(token)
        if found is not None and self.credentials.uid in (0, found.uid):
            self._is(found, "started with the agent's token")
            return
        # A token that an earlier daemon issued and this one never heard of names our socket.
        if self.registry.was_issued(token) or (where and where == self.access.socket_path):
            self.cap = self.cap or "started with a token that agentd issued"

    def _is(self, found: Incarnation | None, why: str) -> bool:
        if found is None:
            return False
        self.incarnation, self.why = found, why
        return True


def _ancestry(pid: int, proc: Proc) -> list[procfs.Stat]:
    """Return the peer and its ancestors, the peer first.

    A parent that ends meanwhile hands its children on, so the walk is begun again; a parent
    younger than its child is another process under that pid.
    """
    for _ in range(_WALKS):
        walked = list(_walk(pid, proc))
        if walked and walked[-1].ppid == 0:
            return walked
    raise _UnreadableError("its ancestry can't be read")


def _walk(pid: int, proc: Proc) -> Iterator[procfs.Stat]:
    """Yield a process and its ancestors as far up as they can be followed."""
    born = None
    for _ in range(_ANCESTORS_MAX):
        stat = proc.stat_of(pid)
        if stat is None or (born is not None and stat.start_time > born):
            return
        yield stat
        if stat.ppid == 0:
            return
        pid, born = stat.ppid, stat.start_time


def _of(credentials: Credentials, role: Role, why: str) -> Peer:
    return Peer(credentials.pid, credentials.uid, credentials.gid, role, None, why)
