"""Where in the cgroup v2 hierarchy this daemon may grow trees, if anywhere."""

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.daemon import procfs
from agentd.daemon.kernelwatch import value_of

# Where our systemd unit says that a group waits for us, from our own group (docs/decisions).
APPOINTED: Final = "AGENTD_CGROUP"
_DAEMON_LEAF: Final = "daemon"
_HOLDER_LEAF: Final = "holder"
_AGENTS: Final = "agents"
_WANTED_CONTROLLERS: Final = ("memory", "pids", "cpu", "io")
# systemd marks what it has delegated, so that root can tell, too.
_DELEGATED_MARKS: Final = ("trusted.delegate", "user.delegate")
_NOT_HELD_YET: Final = "systemd makes its unit anew, whose own process isn't there yet"
# A process may come into a group between the move of the others and the word to its controllers.
_ROUNDS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Ground:
    """A directory of the hierarchy that is ours alone."""

    mount: Path
    """Where the hierarchy is mounted."""
    base: Path
    """Our directory; leaves are made in it."""
    controllers: tuple[str, ...] = ()
    """Those that leaves have."""
    held: bool = False
    """Whether it is another unit's, with a process that holds it."""

    def path_of(self, directory: Path) -> str:
        """Return the path of a directory as /proc/PID/cgroup shows it."""
        return "/" + str(directory.relative_to(self.mount))


def find(
    name: str,
    *,
    root: Path | None = None,
    own: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Ground | None:
    """Return a ground for a daemon that calls itself `name`, made ready; None: no v2 for us.

    `root` is the mount point of a v2 hierarchy and `own` the daemon's path in it, by default
    as found. The group that the unit appoints comes first: it is another unit's, so that a
    restart of ours never meets the agents. Then a delegated subtree (systemd's Delegate=): the
    daemon moves into a leaf of its own there, so that controllers can be enabled. Else root
    takes a directory at the top.
    """
    mount = root if root is not None else mount_point()
    path = own if own is not None else procfs.cgroup_of(os.getpid())
    if mount is None or path is None:
        return None
    try:
        appointed = _appointed(mount, mount / path.lstrip("/"), environment.get(APPOINTED, ""))
        if appointed is not None:
            return prepared(Ground(mount, appointed))
        delegated = _delegated(mount, mount / path.lstrip("/"))
        if delegated is not None:
            return _in_delegated(mount, delegated)
        if os.geteuid() == 0:
            return _prepare(mount, mount / name, mount)
    except OSError:  # read-only, or somebody else's: the sweep does without
        return None
    return None


def mount_point() -> Path | None:
    """Return where cgroup v2 is mounted, alone or beside v1."""
    for line in (procfs.read("/proc/self/mounts") or b"").splitlines():
        words = line.split()
        if words[2] == b"cgroup2":
            return Path(os.fsdecode(words[1].decode("unicode_escape").encode("latin-1")))
    return None


def prepared(ground: Ground) -> Ground:
    """Make an appointed group ready, again if need be: systemd may have made it anew.

    The process that holds the group moves into a leaf, since a group with controllers can't
    have processes of its own. OSError where it isn't ready, and EAGAIN where that process isn't
    there yet: with controllers, the group would keep it out for good.
    """
    holder = ground.base / _HOLDER_LEAF
    holder.mkdir(exist_ok=True)
    _let_leaves_in(ground.base, holder)
    for _ in range(_ROUNDS_MAX):
        held = _hold(ground.base, holder)
        if ground.held and not held:
            raise OSError(errno.EAGAIN, _NOT_HELD_YET, str(ground.base))
        if _enable(ground.base):
            return Ground(ground.mount, ground.base, _controllers_below(ground.base), held)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(ground.base))


def _hold(base: Path, holder: Path) -> bool:
    """Move whoever is in the group itself into the leaf; return whether somebody is there."""
    for pid in value_of(base / "cgroup.procs").split():
        with suppress(ProcessLookupError):
            (holder / "cgroup.procs").write_text(pid, encoding="ascii")
    return bool(value_of(holder / "cgroup.procs"))


def _let_leaves_in(base: Path, leaf: Path) -> None:
    """Take back what makes leaves unfit for processes.

    A group that has a process and one of the controllers of threads (cpu, pids) is a "thread
    root" (cgroups(7)): its leaves are invalid, and who enters one meets EOPNOTSUPP.
    """
    if value_of(leaf / "cgroup.type") == "domain invalid":
        for controller in value_of(base / "cgroup.subtree_control").split():
            (base / "cgroup.subtree_control").write_text(f"-{controller}", encoding="ascii")


def _appointed(mount: Path, own: Path, named: str) -> Path | None:
    """Return the group that our unit appoints, by a path from our own group or from the top."""
    if not named:
        return None
    base = Path(os.path.normpath(mount / named[1:] if named.startswith("/") else own / named))
    return base if mount in base.parents and base.is_dir() else None


def _delegated(mount: Path, own: Path) -> Path | None:
    """Return the top of the subtree given to us: our own group, or the one above our leaf."""
    for candidate in (own, own.parent):
        if candidate != mount and mount in candidate.parents and _is_given(candidate):
            return candidate
    return None


def _is_given(directory: Path) -> bool:
    if os.geteuid() != 0:
        return all(
            os.access(place, os.W_OK)
            for place in (
                directory,
                directory / "cgroup.procs",
                directory / "cgroup.subtree_control",
            )
        )
    for mark in _DELEGATED_MARKS:
        with suppress(OSError):  # no such mark
            if os.getxattr(directory, mark) == b"1":
                return True
    return False


def _in_delegated(mount: Path, top: Path) -> Ground:
    leaf = top / _DAEMON_LEAF
    leaf.mkdir(exist_ok=True)
    for pid in value_of(top / "cgroup.procs").split():
        # Ours, and what a start-up command left: a group with controllers holds no process.
        with suppress(OSError):
            (leaf / "cgroup.procs").write_text(pid, encoding="ascii")
    (leaf / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    return _prepare(mount, top / _AGENTS, top)


def _prepare(mount: Path, base: Path, above: Path) -> Ground:
    """Make the base and enable every controller that can be, down to its leaves."""
    base.mkdir(exist_ok=True)
    for directory in (above, base):
        _enable(directory)
    return Ground(mount, base, _controllers_below(base))


def _enable(directory: Path) -> bool:
    """Enable what can be; False: a process is in the group, and no more was enabled."""
    for controller in _WANTED_CONTROLLERS:
        if controller in value_of(directory / "cgroup.controllers").split():
            try:
                (directory / "cgroup.subtree_control").write_text(
                    f"+{controller}", encoding="ascii"
                )
            except OSError as error:  # one that can't be enabled is done without
                if error.errno == errno.EBUSY:
                    return False
    return True


def _controllers_below(base: Path) -> tuple[str, ...]:
    probe = base / ".probe"
    probe.mkdir(exist_ok=True)
    controllers = value_of(probe / "cgroup.controllers").split()
    probe.rmdir()
    return tuple(controllers)
