from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.config.load import load
from agentd.config.loaded import Loaded

Read = Callable[..., Loaded]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a main file and files of agents, by their names, and load them."""

    def write_and_load(main: str = "", **agents: str) -> Loaded:
        (tmp_path / "agents.d").mkdir(exist_ok=True)
        (tmp_path / "agentd.toml").write_text(main, encoding="utf-8")
        for name, text in agents.items():
            (tmp_path / "agents.d" / f"{name}.toml").write_text(text, encoding="utf-8")
        return load(tmp_path / "agentd.toml")

    return write_and_load
