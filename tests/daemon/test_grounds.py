"""The group that the systemd unit appoints; a plain directory stands for the hierarchy."""

from pathlib import Path

import pytest

from agentd.daemon import grounds

OWN = "/agentd.slice/agentd.service"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return another unit's group, as systemd has just made it, with its one process."""
    base = tmp_path / "agentd.slice" / "agentd-agents.service"
    base.mkdir(parents=True)
    (tmp_path / OWN.lstrip("/")).mkdir()
    (base / "cgroup.controllers").write_text("cpu memory pids\n")
    (base / "cgroup.procs").write_text("4711\n")
    return base


@pytest.mark.parametrize(
    "named", ["../agentd-agents.service", "/agentd.slice/agentd-agents.service"]
)
def test_the_appointed_group_is_made_ready(tmp_path: Path, base: Path, named: str) -> None:
    found = grounds.find("x", root=tmp_path, own=OWN, environment={grounds.APPOINTED: named})
    assert found is not None
    assert found.base == base
    # No process of its own may be left in a group with controllers.
    assert (base / "holder" / "cgroup.procs").read_text() == "4711"
    assert (base / "cgroup.subtree_control").read_text() == "+cpu"  # a plain file keeps the last


@pytest.mark.parametrize("named", ["../no-such.service", "../../../etc", "/", "../.."])
def test_a_name_that_leads_nowhere_or_out_is_passed_over(
    tmp_path: Path, base: Path, named: str
) -> None:
    found = grounds.find("x", root=tmp_path, own=OWN, environment={grounds.APPOINTED: named})
    assert found is None or found.base != base
    assert not (base / "holder").exists()
    assert found is None or tmp_path in found.base.parents


def test_the_group_is_made_ready_again_after_systemd_made_it_anew(
    tmp_path: Path, base: Path
) -> None:
    ground = grounds.Ground(tmp_path, base, ("memory",))
    assert grounds.prepared(ground).base == base
    (base / "cgroup.procs").write_text("4712\n")
    (base / "cgroup.subtree_control").unlink()
    grounds.prepared(ground)
    assert (base / "holder" / "cgroup.procs").read_text() == "4712"
    assert (base / "cgroup.subtree_control").exists()
