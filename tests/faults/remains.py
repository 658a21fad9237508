"""INV12: what a daemon leaves behind of runs that are over, dead children and control groups."""

import contextlib
from pathlib import Path

from agentd.daemon import grounds, procfs
from agentd.daemon.cgroups import LEAF_PREFIX
from tests.daemon.harness import alive


def zombies_of(pid: int) -> int:
    """How many dead children the daemon hasn't reaped."""
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            count += sum(not alive(int(one)) for one in (task / "children").read_text().split())
    return count


def orphaned_groups(beside: int) -> list[str]:
    """Control groups in which nobody lives, where `beside`, an agent's process, has its own.

    Empty where agents have none of their own.
    """
    mount, path = grounds.mount_point(), procfs.cgroup_of(beside)
    if mount is None or path is None or LEAF_PREFIX not in path:
        return []
    found = []
    for leaf in (mount / path.lstrip("/")).parent.glob(f"{LEAF_PREFIX}*/"):
        with contextlib.suppress(FileNotFoundError):  # just removed
            if "populated 0" in (leaf / "cgroup.events").read_text():
                found.append(leaf.name)
    return found
