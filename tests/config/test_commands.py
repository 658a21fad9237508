import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.cli.commands_agentd import check
from agentd.config.errors import ConfigError
from agentd.config.load import load
from agentd.config.loaded import Loaded
from agentd.config.schema import Config

BROKEN = '[agents.a]\ncommand = ["x"]\nrestart.cooldwn = "5m"\n[agents.b]\nnice = 99\n'


def agentd(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentd", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environ},
    )


def test_check_prints_every_error_and_exits_1(tmp_path: Path) -> None:
    path = tmp_path / "agentd.toml"
    path.write_text(BROKEN)
    found = agentd("check", "--config", str(path))
    assert found.returncode == 1
    assert f"agentd: {path}:3: agents.a.restart.cooldwn: unknown option" in found.stderr
    assert '  hint: did you mean "cooldown"?' in found.stderr
    assert f"{path}:5: agents.b.nice" in found.stderr
    assert found.stdout == f"{path}: 3 errors; right: 0 agents\n"


def test_check_of_a_good_config_exits_0(tmp_path: Path) -> None:
    path = tmp_path / "agentd.toml"
    path.write_text('[agents.a]\ncommand = "x"\n')
    found = agentd("check", AGENTD_CONFIG=str(path))
    assert (found.returncode, found.stdout) == (0, f"{path}: ok, 1 agent\n")
    assert found.stderr == ""


def test_check_prints_errors_then_warnings_then_notices() -> None:
    loaded = Loaded(
        config=Config(),
        errors=[ConfigError("f", 1, "a", "wrong")],
        warnings=[ConfigError("f", 2, "b", "unwise", "do better")],
        notices=[ConfigError("f", 3, "c", "without effect")],
    )
    assert check.findings(loaded) == [
        "agentd: f:1: a: wrong",
        "agentd: warning: f:2: b: unwise\n  hint: do better",
        "agentd: notice: f:3: c: without effect",
    ]


def test_check_json_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "agentd.toml"
    path.write_text(BROKEN)
    found = agentd("check", "--config", str(path), "--json")
    document = json.loads(found.stdout)
    assert found.returncode == 1
    assert found.stderr == ""
    assert document["ok"] is False
    assert document["errors"][0] == {
        "file": str(path),
        "line": 3,
        "key": "agents.a.restart.cooldwn",
        "message": "unknown option",
        "hint": 'did you mean "cooldown"?',
    }


def test_check_of_a_missing_file_exits_1(tmp_path: Path) -> None:
    found = agentd("check", "--config", str(tmp_path / "no.toml"))
    assert found.returncode == 1
    assert "no such file" in found.stderr


def test_schema_prints_a_json_schema() -> None:
    found = agentd("schema")
    assert found.returncode == 0
    assert json.loads(found.stdout)["properties"].keys() >= {"daemon", "defaults", "agents"}


def test_init_writes_a_config_that_is_right(tmp_path: Path) -> None:
    found = agentd("init", str(tmp_path / "new"))
    assert found.returncode == 0
    loaded = load(tmp_path / "new/agentd.toml")
    assert list(loaded.findings()) == []
    assert loaded.config.agents.keys() == {"example"}
    assert not loaded.config.agents["example"].autostart


@pytest.mark.parametrize("name", ["agentd.toml", "agents.d/example.toml"])
def test_init_never_overwrites(name: str, tmp_path: Path) -> None:
    (tmp_path / "agents.d").mkdir()
    (tmp_path / name).write_text("mine")
    found = agentd("init", str(tmp_path))
    assert found.returncode == 1
    assert f"{tmp_path / name} exists already" in found.stderr
    assert (tmp_path / name).read_text() == "mine"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / name]


def test_loading_a_good_config_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "agentd.toml"
    path.write_text('[agents.a]\ncommand = "x"\n')
    program = (
        "import sys; from pathlib import Path; from agentd.config.load import load;"
        "loaded = load(Path(sys.argv[1])); assert loaded.config.agents;"
        "print(*sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    loaded = set(found.stdout.split())
    assert not loaded & {"tomlkit", "tomli_w", "click", "rich", "asyncio", "sqlite3", "psutil"}
    assert "agentd.config.origins" not in loaded
