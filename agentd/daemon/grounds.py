"""Where in the cgroup v2 hierarchy this daemon may grow trees, if anywhere."""

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


@dataclass(frozen=True, slots=True)
class Ground:
    """A directory of the hierarchy that is ours alone."""

    mount: Path
    """Where the hierarchy is mounted."""
    base: Path
    """Our directory; leaves are made in it."""
    controllers: tuple[str, ...] = ()
    """Those that leaves have."""

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
    have processes of its own.
    """
    holder = ground.base / _HOLDER_LEAF
    holder.mkdir(exist_ok=True)
    for pid in value_of(ground.base / "cgroup.procs").split():
        with suppress(ProcessLookupError):
            (holder / "cgroup.procs").write_text(pid, encoding="ascii")
    _enable(ground.base)
    return Ground(ground.mount, ground.base, _controllers_below(ground.base))


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


def _enable(directory: Path) -> None:
    for controller in _WANTED_CONTROLLERS:
        if controller in value_of(directory / "cgroup.controllers").split():
            with suppress(OSError):  # one that can't be enabled is done without
                (directory / "cgroup.subtree_control").write_text(
                    f"+{controller}", encoding="ascii"
                )


def _controllers_below(base: Path) -> tuple[str, ...]:
    probe = base / ".probe"
    probe.mkdir(exist_ok=True)
    controllers = value_of(probe / "cgroup.controllers").split()
    probe.rmdir()
    return tuple(controllers)
