"""The second distribution: the SDK and the client alone, for whoever can't have the rest."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.sdk.daemons import FakeDaemon

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree without anything of a package index."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*build, "--no-index", "-w", directory, REPOSITORY / "packaging/sdk"], check=True
    )
    (built,) = directory.glob("*.whl")
    return built


def test_it_holds_the_sdk_and_the_client_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        said = archive.read(metadata).decode()
    of_tree = [
        str(path.relative_to(REPOSITORY))
        for part in ("sdk", "client")
        for path in (REPOSITORY / "agentd" / part).rglob("*.py")
    ]
    extra = ["agentd/__init__.py", "agentd/py.typed", "agentd/sdk/LICENSE"]
    assert sorted(names) == sorted([*of_tree, *extra])
    assert "Name: agentd-supervisor-sdk\n" in said
    assert "Requires-Dist" not in said


def test_it_works_where_nothing_else_is_installed(
    wheel: Path, tmp_path: Path, path: Path, daemon: FakeDaemon
) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    subprocess.run([*install, "--no-deps", wheel], check=True)
    code = (
        "import importlib.util, agentd, agentd.client\n"
        "from agentd import *\n"
        "agentd.heartbeat(task='alone')\n"
        "with agentd.step('s', args='a') as step: step.output('b')\n"
        "print(agentd.checkpoint({'a': 1}), agentd.client.Client('/nowhere').socket)\n"
        "print(importlib.util.find_spec('agentd.config'), importlib.util.find_spec('msgspec'))\n"
        "print(agentd.__file__)\n"
    )
    done = subprocess.run(
        [python, "-I", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"AGENTD_SOCKET": str(path), "AGENTD_TOKEN": "t"},
        cwd=tmp_path,
    )
    saved, absent, where = done.stdout.splitlines()
    assert (saved, absent) == ("True /nowhere", "None None")
    assert where.startswith(str(home))
    assert daemon.wait()[0]["task"] == "alone"
    assert daemon.wait("step")
