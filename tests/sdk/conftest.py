"""A daemon to speak to, and an SDK that begins anew for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.sdk import link
from tests.sdk.daemons import FakeDaemon


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the daemon of this test is to be; nobody is there yet."""
    at = tmp_path / "agentd.sock"
    monkeypatch.setenv("AGENTD_SOCKET", str(at))
    monkeypatch.setenv("AGENTD_TOKEN", "the-token")
    link.reset()
    yield at
    monkeypatch.undo()
    link.reset()


@pytest.fixture
def daemon(path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(path) as listening:
        yield listening


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without a daemon."""
    monkeypatch.delenv("AGENTD_SOCKET", raising=False)
    monkeypatch.delenv("AGENTD_TOKEN", raising=False)
    link.reset()
