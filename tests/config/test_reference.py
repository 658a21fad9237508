import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agentd.config import reference
from agentd.config.agent import AgentConfig
from agentd.config.catalogue import tables
from agentd.config.json_schema import json_schema
from agentd.config.load import load
from agentd.config.schema import NO_EFFECT_YET

ROOT = Path(__file__).parents[2]


def test_the_reference_in_the_repository_is_what_the_schema_says() -> None:
    message = "run `make docs`"
    written = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    assert written == reference.markdown(), message
    written = (ROOT / "config.example.toml").read_text(encoding="utf-8")
    assert written == reference.example(), message


def test_the_example_loads_as_it_stands() -> None:
    loaded = load(ROOT / "config.example.toml")
    assert list(loaded.findings()) == []


def test_the_example_loads_with_every_option_set(tmp_path: Path) -> None:
    (tmp_path / "agentd.toml").write_text(reference.uncommented(reference.example()))
    loaded = load(tmp_path / "agentd.toml")
    assert loaded.errors == []
    assert loaded.config.agents.keys() == {"example"}


def test_the_example_shows_every_option_and_its_default(tmp_path: Path) -> None:
    (tmp_path / "agentd.toml").write_text(reference.uncommented(reference.example()))
    loaded = load(tmp_path / "agentd.toml")
    example = loaded.config.agents["example"]
    assert example.restart == AgentConfig().restart
    assert example.heartbeat.unreachable_after_ms == 300_000
    shown = tomllib.loads((tmp_path / "agentd.toml").read_text())["agents"]["example"]
    assert shown.keys() >= {"command", "heartbeat", "budget", "logs", "token_file"}


def test_every_option_is_documented_once() -> None:
    for table in tables():
        assert table.text, table.header
        for option in table.options:
            assert option.text.endswith("."), (table.header, option.name)
    headers = [table.header for table in tables()]
    assert len(headers) == len(set(headers))
    assert reference.markdown().count("| `failures_max` |") == 1


def test_options_without_effect_are_marked() -> None:
    marked = {
        f"{table.header}.{option.name}"
        for table in tables()
        for option in table.options
        if option.is_without_effect
    }
    assert marked or not NO_EFFECT_YET
    assert not {"[agents.NAME].command", "[agents.NAME.restart].cooldown"} & marked
    assert reference.markdown().count("*No effect yet.*") == len(marked)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ('[agents.a]\ncommand = ["x"]\nmemory.limit = "512M"\n', True),
        ('[defaults]\nrestart.cooldown = "1h30m"\n', True),
        ('[defaults]\nrestart.cooldown = "soon"\n', False),
        ('[defaults]\nrestart.cooldwn = "5m"\n', False),
        ("[agents.A]\n", False),
        ("[agents.a]\nnice = 20\n", False),
        ('[report]\nat = "25:00"\n', False),
    ],
)
def test_the_schema_judges_as_loading_does(text: str, is_valid: bool) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(tomllib.loads(text)) is is_valid


def test_the_schema_has_defaults_and_texts() -> None:
    definitions: dict[str, Any] = json_schema()["$defs"]
    cooldown = definitions["RestartConfig"]["properties"]["cooldown"]
    assert cooldown["default"] == "5m"
    assert cooldown["description"].startswith("At least this long")
    every = tomllib.loads(reference.uncommented(reference.example()))
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(every)) == []
