"""Whatever stands in a file, loading it ends, and ends without an exception."""

import tempfile
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.agent import AgentConfig
from agentd.config.convert import option_types
from agentd.config.diff import plan_of
from agentd.config.load import load
from agentd.config.loaded import Loaded
from agentd.config.masking import show
from agentd.config.schema import Config

KEYS = st.sampled_from([*option_types(Config), *option_types(AgentConfig), "defaults", "a", "é."])
VALUES = st.recursive(
    st.integers()
    | st.booleans()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.sampled_from(["5m", "512M", "heartbeat", "SIGTERM", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def loaded_from(main: bytes, agent: bytes = b"") -> Loaded:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "agents.d").mkdir()
        (directory / "agentd.toml").write_bytes(main)
        (directory / "agents.d/b.toml").write_bytes(agent)
        loaded = load(directory / "agentd.toml")
        assert all(error.line is None or error.line >= 1 for error in loaded.findings())
        assert all(error.message for error in loaded.findings())
        assert not loaded.broken & loaded.config.agents.keys()
        assert loaded.environments.keys() == loaded.config.agents.keys()
        assert show(loaded)["agents"].keys() == loaded.config.agents.keys()
        assert plan_of(loaded, loaded).is_empty
    return loaded


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_loaded_or_refused_in_words(main: bytes, agent: bytes) -> None:
    assert isinstance(loaded_from(main, agent).errors, list)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_tables_are_loaded_or_refused_in_words(
    main: dict[str, object], agent: dict[str, object]
) -> None:
    loaded = loaded_from(tomli_w.dumps(main).encode(), tomli_w.dumps(agent).encode())
    assert loaded.errors or "b" in loaded.config.agents


@given(st.data())
def test_a_prefix_of_a_config_is_loaded_or_refused_in_words(data: st.DataObject) -> None:
    text = b'[defaults]\nnice = 3\n[agents.a]\ncommand = ["x", "y"]\n[agents.c]\ncommand = "z"\n'
    end = data.draw(st.integers(0, len(text)))
    loaded = loaded_from(text[:end], b'command = "x"\n')
    assert "b" in loaded.config.agents


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "9" * 5_000,
        "[agents.a]\nnice = 0x" + "f" * 5_000,
        "[agents.a]\nlimits.nofile = 0x" + "f" * 5_000,
        "[agents.a]\nbudget.usd_per_day = 0x" + "f" * 5_000,
        "[agents.a]\nmemory.limit = '" + "1" * 100_000 + "'",
        "[agents.a]\nstop_timeout = '" + "1s" * 100_000 + "'",
        "[agents.a]\nenvironment.X = '"
        + "eyJ" * 100_000
        + "'\ncommand = '://"
        + "a:" * 9_999
        + "'",
        ".".join(["a"] * 2_000) + " = 1",
        "[defaults]\n" + ".".join(["a"] * 2_000) + " = 1",
        "a = 1979-13-40",
        'a = "\\ud800"',
        "\ufeffwatch = 1",
        "[agents]\n" + "".join(f'"{chr(index)}" = 1\n' for index in range(0x80, 0x200)),
    ],
    ids=range(14),
)
def test_hostile_files_are_refused_in_bounded_words(text: str) -> None:
    loaded = loaded_from(text.encode())
    assert loaded.errors
    assert all(len(error.text()) < 2_000 for error in loaded.errors)
