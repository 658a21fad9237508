from pathlib import Path

import pytest

from agentd.config.agent import AgentConfig
from agentd.config.diff import Change, Plan, keeping_agents, plan, plan_of
from agentd.config.schema import Config, DaemonConfig
from tests.config.conftest import Read

A = 'command = ["x"]\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (A, Plan(unchanged=("a",))),
        ('command = ["y"]\n', Plan(restarted=(Change("a", ("command",)),))),
        (f'{A}user = "nobody"\n', Plan(restarted=(Change("a", ("user",)),))),
        (f'{A}group = "nogroup"\n', Plan(restarted=(Change("a", ("group",)),))),
        (f'{A}directory = "/"\n', Plan(restarted=(Change("a", ("directory",)),))),
        (f"{A}limits.nofile = 9\n", Plan(restarted=(Change("a", ("limits.nofile",)),))),
        (f'{A}restart.cooldown = "1m"\n', Plan(applied=(Change("a", ("restart.cooldown",)),))),
        (f'{A}memory.limit = "1G"\n', Plan(applied=(Change("a", ("memory.limit",)),))),
        (f'{A}tags = ["t"]\n', Plan(applied=(Change("a", ("tags",)),))),
        (f'{A}umask = "077"\n', Plan(applied=(Change("a", ("umask",)),))),
        (
            f'{A}nice = 3\nenvironment.X = "1"\n',
            Plan(restarted=(Change("a", ("environment.X", "nice")),)),
        ),
    ],
)
def test_only_what_is_executed_restarts(text: str, expected: Plan, read: Read) -> None:
    assert plan_of(read("", a=A), read("", a=text)) == expected


def test_j5_a_changed_environment_restarts_that_agent_only(read: Read) -> None:
    old = read("", a=f'{A}environment.X = "1"\n', b=A)
    new = read("", a=f'{A}environment.X = "2"\n', b=A)
    found = plan_of(old, new)
    assert found.restarted == (Change("a", ("environment.X",)),)
    assert found.unchanged == ("b",)


def test_j5_changed_contents_of_an_environment_file_restart(read: Read, tmp_path: Path) -> None:
    (tmp_path / "agents.d").mkdir()
    (tmp_path / "agents.d/a.env").write_text("SECRET=canary-1\n")
    old = read("", a=f'{A}environment_files = ["a.env"]\n', b=A)
    (tmp_path / "agents.d/a.env").write_text("SECRET=canary-2\n")
    new = read("", a=f'{A}environment_files = ["a.env"]\n', b=A)
    found = plan_of(old, new)
    assert old.config == new.config
    assert found.restarted == (Change("a", ("environment_files",)),)
    assert found.unchanged == ("b",)
    assert "canary" not in repr(found)


def test_j6_a_renamed_agent_is_one_removed_and_one_added(read: Read, tmp_path: Path) -> None:
    old = read("", a=A, b=A)
    (tmp_path / "agents.d/a.toml").rename(tmp_path / "agents.d/c.toml")
    found = plan_of(old, read(""))
    assert (found.added, found.removed, found.unchanged) == (("c",), ("a",), ("b",))


def test_j1_an_emptied_file_keeps_its_agents_unless_asked(read: Read) -> None:
    old = read(f"[agents.a]\n{A}", b=A)
    new = read("", b=f"{A}nice = 3\n")
    assert plan_of(old, new).removed == ("a",)
    kept = keeping_agents(old, new)
    found = plan_of(old, kept)
    assert found.removed == ()
    assert found.applied == (Change("b", ("nice",)),)
    assert kept.environments.keys() == {"a", "b"}


def test_settings_outside_of_agents_are_named() -> None:
    old = Config(agents={"a": AgentConfig(command=["x"])})
    new = Config(daemon=DaemonConfig(line_rate=9, socket="/s"), agents=old.agents)
    found = plan(old, new)
    assert found.settings == ("daemon.socket", "daemon.line_rate")
    assert found.fixed == ("daemon.socket",)
    assert not found.is_empty


def test_the_reload_document_names_agents_and_keys(read: Read) -> None:
    old = read("", a=A, b=A)
    new = read("", a=f"{A}nice = 3\n", b='command = ["y"]\n', c=A)
    document = plan_of(old, new).document(dry_run=True)
    assert document == {
        "dry_run": True,
        "added": ["c"],
        "removed": [],
        "restarted": [{"agent": "b", "keys": ["command"]}],
        "applied": [{"agent": "a", "keys": ["nice"]}],
        "unchanged": [],
        "settings": [],
        "at_next_start": [],
        "errors": [],
    }
