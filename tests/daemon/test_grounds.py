"""The group that the systemd unit appoints; a plain directory stands for the hierarchy."""

import errno
from dataclasses import dataclass, field
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


@dataclass
class Kernel:
    """What cgroups(7) says of a group with processes and controllers, for one group."""

    base: Path
    arriving: list[str] = field(default_factory=list)
    """Who comes into the group as soon as somebody enables a controller."""

    def write(self, path: Path, text: str, encoding: str) -> None:
        if path.name == "cgroup.procs":
            if "invalid" in (path.parent / "cgroup.type").read_text():
                raise OSError(errno.EOPNOTSUPP, "Operation not supported", str(path))
            path.write_bytes(text.encode(encoding))
            self.people = [pid for pid in self.people if pid != text]
            return
        sign, controller = text[0], text[1:]
        self.people = [*self.people, *self.arriving]
        self.arriving.clear()
        if sign == "+" and controller == "memory" and self.people:
            raise OSError(errno.EBUSY, "Device or resource busy", str(path))
        self.enabled = (self.enabled | {controller}) if sign == "+" else self.enabled - {controller}

    @property
    def people(self) -> list[str]:
        return (self.base / "cgroup.procs").read_text().split()

    @people.setter
    def people(self, pids: list[str]) -> None:
        (self.base / "cgroup.procs").write_bytes("\n".join(pids).encode())

    @property
    def enabled(self) -> set[str]:
        return set((self.base / "cgroup.subtree_control").read_text().split())

    @enabled.setter
    def enabled(self, controllers: set[str]) -> None:
        (self.base / "cgroup.subtree_control").write_bytes(" ".join(sorted(controllers)).encode())
        invalid = bool(self.people) and bool(controllers & {"cpu", "pids"})
        self.holder.mkdir(exist_ok=True)
        (self.holder / "cgroup.type").write_bytes(b"domain invalid" if invalid else b"domain")

    @property
    def holder(self) -> Path:
        return self.base / "holder"


@pytest.fixture
def kernel(base: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(base)
    kernel.enabled = set()

    def write_text(path: Path, text: str, encoding: str) -> None:
        kernel.write(path, text, encoding)

    monkeypatch.setattr(Path, "write_text", write_text)
    return kernel


def test_a_process_that_comes_meanwhile_is_moved_before_anything_is_enabled(
    tmp_path: Path, kernel: Kernel
) -> None:
    kernel.arriving = ["4712"]
    assert grounds.prepared(grounds.Ground(tmp_path, kernel.base)).held
    assert kernel.people == []
    assert kernel.enabled == {"cpu", "memory", "pids"}
    assert (kernel.holder / "cgroup.type").read_text() == "domain"


def test_a_group_whose_leaves_are_unfit_is_mended(tmp_path: Path, kernel: Kernel) -> None:
    kernel.enabled = {"cpu", "pids"}
    assert "invalid" in (kernel.holder / "cgroup.type").read_text()
    grounds.prepared(grounds.Ground(tmp_path, kernel.base))
    assert (kernel.people, kernel.enabled) == ([], {"cpu", "memory", "pids"})


def test_nothing_is_enabled_before_the_units_own_process_is_there(
    tmp_path: Path, kernel: Kernel
) -> None:
    ground = grounds.prepared(grounds.Ground(tmp_path, kernel.base))
    kernel.enabled = set()  # made anew, and still empty
    (kernel.holder / "cgroup.procs").unlink()
    with pytest.raises(OSError, match="isn't there yet"):
        grounds.prepared(ground)
    assert kernel.enabled == set()
    kernel.people = ["4712"]
    assert grounds.prepared(ground).held
    assert kernel.enabled == {"cpu", "memory", "pids"}
