"""`agentd prices`: the table is written by a program of its own, and the package never imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AGENTD = [sys.executable, "-m", "agentd"]


def prices(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AGENTD, "prices", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )


def test_the_table_is_written_where_the_daemon_looks_for_it(tmp_path: Path) -> None:
    pytest.importorskip("genai_prices")
    (tmp_path / "state").mkdir()
    config = tmp_path / "agentd.toml"
    config.write_text('[daemon]\nstate_dir = "state"\n')
    ended = prices("--config", str(config))
    assert ended.returncode == 0, ended.stderr
    path = tmp_path / "state" / "prices.json"
    assert ended.stdout.startswith(f"{path}: ")
    assert "names of models of" in ended.stdout
    assert json.loads(path.read_bytes())["source"].startswith("genai-prices ")


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    hidden = tmp_path / "genai_prices"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('hidden')\n")
    ended = prices("-o", str(tmp_path / "out.json"), PYTHONPATH=str(tmp_path))
    assert ended.returncode == 1
    assert "pip install 'agentd-supervisor[prices]'" in ended.stderr
    assert not (tmp_path / "out.json").exists()


def test_a_place_that_can_t_be_written_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("genai_prices")
    ended = prices("-o", str(tmp_path / "nowhere" / "out.json"))
    assert ended.returncode == 1
    assert "No such file or directory" in ended.stderr
    assert "Traceback" not in ended.stderr
