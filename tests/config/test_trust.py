"""Whoever may put another file in the place of one of ours is not believed, as root."""

import os
from pathlib import Path

import pytest

from agentd.config.load import load

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
NOBODY, DAEMON = 65534, 1


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A config of which everything is root's; the agent `a` runs as nobody, `b` as daemon."""
    place = tmp_path / "etc"
    place.mkdir()
    files = 'environment_files = ["../srv/a.env"]'
    (place / "agentd.toml").write_text(
        f'[agents.a]\ncommand = "x"\nuser = "nobody"\n{files}\n'
        '[agents.b]\ncommand = "x"\nuser = "1"\n'
    )
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/a.env").write_text("KEY=value\n")
    (tmp_path / "srv/a.env").chmod(0o600)
    return place


def names_and_words(etc: Path) -> tuple[set[str], str]:
    loaded = load(etc / "agentd.toml", system=True)
    return set(loaded.config.agents), " ".join(error.message for error in loaded.errors)


def test_an_environment_file_where_only_root_may_write_is_read(etc: Path) -> None:
    assert names_and_words(etc) == ({"a", "b"}, "")


@AS_ROOT
def test_an_agent_may_keep_its_own_environment_file(etc: Path) -> None:
    for path in (etc.parent / "srv", etc.parent / "srv/a.env"):
        os.chown(path, NOBODY, NOBODY)
    assert names_and_words(etc) == ({"a", "b"}, "")


@AS_ROOT
def test_an_agent_cannot_have_us_read_a_secret_of_others_through_a_link(etc: Path) -> None:
    secret = etc.parent / "root.env"
    secret.write_text("ROOT_KEY=hunter22\n")
    secret.chmod(0o600)
    os.chown(etc.parent / "srv", NOBODY, NOBODY)
    (etc.parent / "srv/a.env").unlink()
    (etc.parent / "srv/a.env").symlink_to(secret)
    names, told = names_and_words(etc)
    assert names == {"b"}
    assert "an agent's, and the file isn't the agent's own" in told
    assert "hunter22" not in told


@AS_ROOT
def test_an_environment_file_of_another_agent_is_refused(etc: Path) -> None:
    os.chown(etc.parent / "srv/a.env", DAEMON, DAEMON)
    names, told = names_and_words(etc)
    assert names == {"b"}
    assert "which an agent runs as" in told


@AS_ROOT
@pytest.mark.parametrize("mode", [0o660, 0o606])
def test_an_environment_file_that_others_may_write_is_refused(etc: Path, mode: int) -> None:
    (etc.parent / "srv/a.env").chmod(mode)
    names, told = names_and_words(etc)
    assert names == {"b"}
    assert "may write it" in told


@AS_ROOT
def test_a_config_below_a_directory_of_an_agent_is_refused(etc: Path) -> None:
    deep = etc / "deep"
    deep.mkdir()
    (etc / "agentd.toml").rename(deep / "agentd.toml")
    os.chown(etc, NOBODY, NOBODY)  # he may put another `deep` in its place
    loaded = load(deep / "agentd.toml", system=True)
    assert not loaded.is_usable
    assert any("an agent's" in error.message for error in loaded.errors)
