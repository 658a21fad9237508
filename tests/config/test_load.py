import os
import time
from pathlib import Path

import pytest

from agentd.config import no_effect, sources
from agentd.config.argv import argv
from agentd.config.load import load
from tests.config.conftest import Read

A = 'command = ["x"]\n'


def test_defaults_are_folded_in_and_tables_merged(read: Read) -> None:
    loaded = read(
        '[defaults]\nnice = 5\nenvironment = { A = "1", B = "1" }\ntags = ["d"]\n'
        '[defaults.restart]\ncooldown = "1m"\nfailures_max = 7\n',
        a=f'{A}environment = {{ B = "2" }}\ntags = ["own"]\n[restart]\ncooldown = "2m"\n',
    )
    agent = loaded.config.agents["a"]
    assert loaded.errors == []
    assert agent.nice == 5
    assert agent.environment == {"A": "1", "B": "2"}
    assert agent.tags == ["own"]
    assert (agent.restart.cooldown_ms, agent.restart.failures_max) == (120_000, 7)


def test_paths_start_from_the_file_that_names_them(read: Read, tmp_path: Path) -> None:
    (tmp_path / "shared.env").write_text("A=shared\nB=shared\n")
    (tmp_path / "agents.d").mkdir()
    (tmp_path / "agents.d" / "own.env").write_text("B=own\n")
    loaded = read(
        '[defaults]\nenvironment_files = ["shared.env"]\n',
        a=A,
        b=f'{A}environment_files = ["own.env"]\ndirectory = "work"\n',
    )
    assert loaded.errors == []
    assert loaded.environments == {"a": {"A": "shared", "B": "shared"}, "b": {"B": "own"}}
    assert loaded.config.agents["a"].directory == str(tmp_path / "agents.d")
    assert loaded.config.agents["b"].directory == str(tmp_path / "agents.d/work")


def test_the_environment_wins_over_its_files(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=file\nB=file\n")
    loaded = read(f'[agents.a]\n{A}environment = {{ B = "here" }}\nenvironment_files = ["a.env"]\n')
    assert loaded.environments["a"] == {"A": "file", "B": "here"}
    assert loaded.config.agents["a"].environment == {"B": "here"}


def test_j1_an_empty_file_is_an_empty_config_without_errors(read: Read) -> None:
    loaded = read("")
    assert loaded.errors == []
    assert loaded.config.agents == {}


def test_j3_one_bad_agent_among_twenty_leaves_nineteen(read: Read, tmp_path: Path) -> None:
    files = {f"agent-{index}": A for index in range(20)}
    loaded = read("", **{**files, "agent-7": f"{A}nice = 99\n"})
    assert len(loaded.config.agents) == 19
    assert loaded.broken == {"agent-7"}
    assert loaded.is_usable
    (error,) = loaded.errors
    assert (error.file, error.line, error.key) == (
        *(str(tmp_path / "agents.d/agent-7.toml"), 2),
        "agents.agent-7.nice",
    )


def test_j4_every_error_of_every_file_is_told_at_once(read: Read) -> None:
    loaded = read(
        '[daemon]\nline_rat = 3\ntimezone = "Nowhere"\n[agents.a]\ncommand = 3\n'
        'depends_on = ["c"]\n[agents.a.restart]\nbackoff = nan\nfailures_max = true\n'
        'cooldown = "-1s"\n',
        b='command = "x"\nstop_signl = "SIGTERM"\numask = "9"\n',
        c="command = [\n",
    )
    assert [(error.key, error.line) for error in loaded.errors] == [
        ("daemon.line_rat", 2),
        ("daemon.timezone", 3),
        ("agents.a.command", 5),
        ("agents.a.restart.backoff", 8),
        ("agents.a.restart.failures_max", 9),
        ("agents.a.restart.cooldown", 10),
        ("agents.b.stop_signl", 2),
        ("agents.b.umask", 3),
        ("agents.c", 1),
    ]
    assert not loaded.is_usable


def test_a_bad_default_is_told_once_and_left_out(read: Read) -> None:
    files = {f"agent-{index}": A for index in range(5)}
    loaded = read('[defaults]\nnice = 3\nstop_signal = "TERM"\n', **files)
    assert len(loaded.errors) == 1
    assert {agent.nice for agent in loaded.config.agents.values()} == {3}
    assert not loaded.is_usable


def test_an_agent_defined_twice_is_no_agent(read: Read, tmp_path: Path) -> None:
    loaded = read(f"[agents.a]\n{A}", a=A, b=A)
    (error,) = loaded.errors
    assert "defined twice" in error.message
    assert str(tmp_path / "agentd.toml") in error.message
    assert error.file == str(tmp_path / "agents.d/a.toml")
    assert loaded.config.agents.keys() == {"b"}


def test_a_dependency_on_a_broken_agent_or_another_host_is_known(read: Read) -> None:
    loaded = read("", a=f'{A}depends_on = ["b", "machine-3/b"]\n', b="nice = 99\n")
    assert loaded.config.agents.keys() == {"a"}
    assert {error.key.partition(".d")[0] for error in loaded.errors} == {
        "agents.b.nice",
        "agents.b.command",
    }


def test_a_circle_names_its_agents_and_spares_the_others(read: Read) -> None:
    loaded = read(
        "",
        a=f'{A}depends_on = ["b"]\n',
        b=f'{A}depends_on = ["c"]\n',
        c=f'{A}depends_on = ["a"]\n',
        d=f'{A}depends_on = ["a"]\n',
    )
    assert loaded.broken == {"a", "b", "c"}
    assert all("a → b → c → a" in error.message for error in loaded.errors)
    assert len(loaded.errors) == 3


def test_an_external_agent_needs_no_command(read: Read) -> None:
    loaded = read('[defaults]\nuser = "nobody"\n[agents.a]\nexternal = true\ntoken_file = "t"\n')
    assert loaded.errors == []
    assert loaded.config.agents["a"].external


def test_only_toml_files_are_read(read: Read, tmp_path: Path) -> None:
    directory = tmp_path / "agents.d"
    directory.mkdir()
    for name in ("a.toml~", "b.toml.tmp", ".c.toml", "README"):
        (directory / name).write_text("nonsense")
    loaded = read("", good=A)
    assert loaded.errors == []
    assert loaded.config.agents.keys() == {"good"}


def test_a_named_pipe_is_refused_and_not_waited_for(read: Read, tmp_path: Path) -> None:
    (tmp_path / "agents.d").mkdir()
    os.mkfifo(tmp_path / "agents.d" / "pipe.toml")
    loaded = read("", good=A)
    assert [error.message for error in loaded.errors] == ["cannot be read: not a regular file"]
    assert loaded.config.agents.keys() == {"good"}


def test_a_file_beyond_the_bound_is_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{A}description = '{'x' * 100}'\n"
    monkeypatch.setattr(sources, "FILE_BYTES_MAX", len(text))
    assert read("", a=text).errors == []
    (error,) = read("", a=f"{text}#").errors
    assert "larger than" in error.message


def test_what_has_no_effect_yet_is_said(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(no_effect, "NO_EFFECT_YET", ("agents.*.budget", "alerts", "daemon.watch"))
    loaded = read("[alerts]\n", a=f"{A}[budget]\nusd_per_day = 5\n")
    assert loaded.errors == []
    assert [(notice.key, notice.line) for notice in loaded.notices] == [
        ("alerts", 1),
        ("agents.a.budget", 2),
    ]


def test_a_file_full_of_mistakes_is_told_within_bounds(read: Read) -> None:
    loaded = read("".join(f"option-{index} = 1\n" for index in range(3_000)))
    assert len(loaded.errors) == 1_001
    assert loaded.errors[-1].message == "and 2000 more errors"


def test_j8_the_work_grows_with_the_agents_and_not_with_their_square(
    tmp_path: Path,
) -> None:
    """Twenty times the agents, each naming another: some twenty times the time."""

    def seconds(agents: int) -> float:
        path = tmp_path / f"{agents}.toml"
        path.write_text(
            "".join(
                f'[agents.agent-{index}]\ncommand = ["x"]\n'
                f'depends_on = ["agent-{index + 1}", "missing-{index}"]\n'
                for index in range(agents)
            )
        )
        before = time.process_time()
        loaded = load(path)
        spent = time.process_time() - before
        assert len(loaded.broken) == agents
        return spent

    seconds(10)  # what is imported on the way
    assert seconds(5_000) < 60 * (seconds(250) + 0.01)


def test_j8_a_chain_of_five_thousand_is_no_deep_recursion(tmp_path: Path) -> None:
    names = [f"agent-{index}" for index in range(5_000)]
    text = "".join(
        f'[agents.{name}]\ncommand = ["x"]\ndepends_on = ["{following}"]\n'
        for name, following in zip(names, [*names[1:], names[0]], strict=True)
    )
    (tmp_path / "agentd.toml").write_text(text)
    loaded = load(tmp_path / "agentd.toml")
    assert "waits for itself: agent-0 → agent-1" in loaded.errors[0].message
    assert len(loaded.broken) == 5_000


def test_a_command_is_split_as_a_shell_would_and_nothing_more() -> None:
    assert argv("python 'a b.py' ; rm x $HOME") == ["python", "a b.py", ";", "rm", "x", "$HOME"]
    assert argv(["a b", "c"]) == ["a b", "c"]
    assert argv("") == []


@pytest.mark.parametrize(
    ("name", "mode", "uid", "message"),
    [
        ("agents.d/a.toml", 0o100660, 0, "its group may write it"),
        ("agents.d/a.toml", 0o100646, 0, "everybody may write it"),
        ("agents.d/a.toml", 0o100640, 65534, "which an agent runs as"),
        ("agents.d", 0o40775, 0, "its group may write it"),
        ("agentd.toml", 0o100660, 0, "its group may write it"),
        (".", 0o40777, 0, "everybody may write it"),
    ],
)
def test_as_root_what_others_can_write_is_refused(
    name: str, mode: int, uid: int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "agents.d").mkdir()
    (tmp_path / "agentd.toml").write_text('[agents.main]\ncommand = "x"\nuser = "nobody"\n')
    (tmp_path / "agents.d/a.toml").write_text(A)
    wrong = tmp_path / name

    def status_of(path: Path) -> os.stat_result:
        found = (mode, uid) if path == wrong else (0o100640, 0)
        return os.stat_result((found[0], 0, 0, 1, found[1], 0, 0, 0, 0, 0))

    loaded = load(tmp_path / "agentd.toml", system=True, status_of=status_of)
    (error,) = loaded.errors
    assert error.file == str(wrong)
    assert message in error.message
    kept = {"main"} if name.startswith("agents.d") else set()
    assert loaded.config.agents.keys() == kept
    assert loaded.is_usable == bool(kept)
    trusted = load(tmp_path / "agentd.toml", system=False, status_of=status_of)
    assert trusted.errors == []


@pytest.mark.parametrize("user", ["nobody", "65534"])
def test_as_root_a_file_of_an_agents_user_is_refused_by_name_or_number(
    user: str, tmp_path: Path
) -> None:
    (tmp_path / "agentd.toml").write_text(f'[agents.main]\ncommand = "x"\nuser = "{user}"\n')

    def status_of(_: Path) -> os.stat_result:
        return os.stat_result((0o100640, 0, 0, 1, 65534, 0, 0, 0, 0, 0))

    loaded = load(tmp_path / "agentd.toml", system=True, status_of=status_of)
    assert "which an agent runs as" in loaded.errors[0].message
    assert not loaded.is_usable


def test_a_directory_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    read: Read, tmp_path: Path
) -> None:
    """Or all its agents would be taken for removed, and ended at the next start."""
    (tmp_path / "agents").write_text("a file, where a directory was")
    loaded = read('[daemon]\nagents_dir = "agents"\n')
    assert not loaded.is_usable
    [error] = loaded.errors
    assert "cannot be listed" in error.message


@pytest.mark.parametrize("number", sorted(sources.READ_SHORTAGES))
def test_p8_of_a_file_that_the_host_is_too_short_to_read_nothing_is_known(
    number: int, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not a wrong file: its agent must not be left alone, nor the others go on without."""
    opened = os.open

    def short(path: str | Path, *rest: int) -> int:
        if str(path).endswith("b.toml"):
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", short)
    with pytest.raises(OSError, match=r"b\.toml"):
        read("", a=A, b=A)
