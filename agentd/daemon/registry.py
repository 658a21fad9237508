"""Who is alive: the incarnations that may speak, and how each can be recognised.

By its token, by the cgroup it lives in, or by its leader's pid among the ancestors of a
peer. An incarnation is a border: one that has ended is never found again by its token, and
its token stays known, so that whoever still carries it is told apart from a stranger.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

RETIRED_MAX: Final = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Incarnation:
    """One run of an agent; `external` agents have ordinal 0 and neither pid nor cgroup."""

    agent: str
    ordinal: int
    id: str
    token: str = field(repr=False)
    leader_pid: int = 0
    cgroup: str = ""
    """Path in the v2 hierarchy as /proc/PID/cgroup shows it; empty: it has none of its own."""
    uid: int | None = None
    """Whom it runs as; None: anybody may speak with its token."""
    leader_inode: int = 0
    """Inode of the leader's pidfd, where pidfds have inodes of their own (Linux 6.9); else 0."""

    @property
    def external(self) -> bool:
        return self.ordinal == 0


class Registry:
    """All incarnations that live, and digests of tokens of those that do not."""

    def __init__(self) -> None:
        self.cgroup_root = ""
        """All agents' cgroups lie below this path; a peer there is never an operator."""
        self._members: dict[tuple[str, int], Incarnation] = {}
        self._ended: set[tuple[str, int]] = set()
        self._tokens: dict[bytes, Incarnation] = {}
        self._leaders: dict[int, Incarnation] = {}
        self._inodes: dict[int, Incarnation] = {}
        self._cgroups: dict[str, Incarnation] = {}
        self._retired: OrderedDict[bytes, None] = OrderedDict()
        self._on_end: list[Callable[[Incarnation], None]] = []

    def __iter__(self) -> Iterator[Incarnation]:
        return iter(list(self._members.values()))

    def on_end(self, callback: Callable[[Incarnation], None]) -> None:
        """Have `callback` called just before an incarnation ends, while it may still speak."""
        self._on_end.append(callback)

    def add(self, incarnation: Incarnation) -> None:
        """Let it speak. An external agent whose token changed replaces its former self."""
        key = (incarnation.agent, incarnation.ordinal)
        if key in self._members:
            assert incarnation.external, f"{key} lives already"
            self.remove(*key)
        self._members[key] = incarnation
        if incarnation.token:
            digest = token_digest(incarnation.token)
            self._retired.pop(digest, None)
            self._tokens[digest] = incarnation
        if incarnation.leader_pid:
            self._leaders[incarnation.leader_pid] = incarnation
        if incarnation.leader_inode:
            self._inodes[incarnation.leader_inode] = incarnation
        if incarnation.cgroup:
            self._cgroups[incarnation.cgroup] = incarnation

    def end(self, agent: str, ordinal: int) -> None:
        """Its leader is gone: it speaks no more. What is left of its tree is still known.

        Its last lines are taken in first, so tell the core of the end only after this.
        """
        key = (agent, ordinal)
        incarnation = self._members.get(key)
        if incarnation is None or key in self._ended:
            return
        for callback in self._on_end:
            callback(incarnation)
        self._ended.add(key)
        if incarnation.token:
            digest = token_digest(incarnation.token)
            if self._tokens.get(digest) is incarnation:
                del self._tokens[digest]
            self.retire([digest])
        if self._leaders.get(incarnation.leader_pid) is incarnation:
            del self._leaders[incarnation.leader_pid]
        self._inodes.pop(incarnation.leader_inode, None)

    def remove(self, agent: str, ordinal: int) -> None:
        """Nothing of its tree is left."""
        self.end(agent, ordinal)
        incarnation = self._members.pop((agent, ordinal), None)
        self._ended.discard((agent, ordinal))
        if incarnation is not None and self._cgroups.get(incarnation.cgroup) is incarnation:
            del self._cgroups[incarnation.cgroup]

    def retire(self, digests: Iterable[bytes]) -> None:
        """Remember tokens that are no longer good, such as those an earlier daemon issued."""
        for digest in digests:
            self._retired[digest] = None
            self._retired.move_to_end(digest)
        while len(self._retired) > RETIRED_MAX:
            self._retired.popitem(last=False)

    def is_live(self, incarnation: Incarnation) -> bool:
        key = (incarnation.agent, incarnation.ordinal)
        return self._members.get(key) is incarnation and key not in self._ended

    def get(self, agent: str, ordinal: int) -> Incarnation | None:
        return self._members.get((agent, ordinal))

    def by_token(self, token: str) -> Incarnation | None:
        """Return the living incarnation that was given this token."""
        found = self._tokens.get(token_digest(token))
        if found is None or not hmac.compare_digest(encoded(found.token), encoded(token)):
            return None
        return found

    def was_issued(self, token: str) -> bool:
        """Whether the token is, or ever was, one of ours."""
        digest = token_digest(token)
        return digest in self._tokens or digest in self._retired

    def by_leader(self, pid: int) -> Incarnation | None:
        return self._leaders.get(pid)

    def by_leader_inode(self, inode: int) -> Incarnation | None:
        """Return whose leader a pidfd names, even one that has been reaped."""
        return self._inodes.get(inode)

    def by_cgroup(self, path: str) -> Incarnation | None:
        """Return whose cgroup `path` is, or lies below; one that has ended is returned too."""
        while path and path != "/":
            found = self._cgroups.get(path)
            if found is not None:
                return found
            path = path.rpartition("/")[0]
        return None

    def in_agents_cgroup(self, path: str) -> bool:
        """Whether `path` lies where only agents live, known or not."""
        root = self.cgroup_root.rstrip("/")
        return bool(root) and path.startswith(f"{root}/")


def token_digest(token: str) -> bytes:
    """Return what is kept of a token that is no longer good."""
    return hashlib.sha256(encoded(token)).digest()


def encoded(token: str) -> bytes:
    """Return the bytes of a token, whatever is in it."""
    return token.encode("utf-8", "surrogateescape")
