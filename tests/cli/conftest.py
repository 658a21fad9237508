import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentd.cli import exits
from agentd.cli.invocation import Invocation
from agentd.cli.main import agentctl
from tests.cli.stub import Answer, Stub

Result = tuple[int, str, str]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may find the daemon of the machine it runs on."""
    for name in list(os.environ):
        if name.startswith("AGENTD_") or name in {"NO_COLOR", "XDG_RUNTIME_DIR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTD_SOCKET", str(tmp_path / "s"))
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[dict[str, Answer]], Stub]]:
    """Start a stub on the socket that the environment names."""
    opened: list[Stub] = []

    def start(answers: dict[str, Answer]) -> Stub:
        opened.append(Stub(tmp_path / "s", answers))
        return opened[-1]

    yield start
    for stub in opened:
        stub.close()


@pytest.fixture
def ctl(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run agentctl in this process: (exit code, stdout, stderr)."""

    def run(*words: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["agentctl", *words])
        code = exits.run(agentctl, "agentctl", Invocation())
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def spawned() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run agentctl as a process of its own, as users do; bounded."""

    def run(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "agentd.cli", *words],
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run
