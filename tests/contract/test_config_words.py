"""What a person reads who got the configuration wrong (CONTRACT 3): what, where, what next."""

from pathlib import Path

from agentd.config.errors import ConfigError
from agentd.config.load import load


def _errors(folder: Path, text: str) -> list[ConfigError]:
    file = folder / "agentd.toml"
    file.write_text(text, encoding="utf-8")
    return load(file).errors


def test_a_contradiction_in_one_table_hides_no_mistake_elsewhere(tmp_path: Path) -> None:
    errors = _errors(
        tmp_path,
        """\
[agents.a]
command = ["x"]
umask = "999"
stop_signal = "SIGFOO"
[agents.a.heartbeat]
interval = "10x"
degraded_after = "10m"
unreachable_after = "1m"
""",
    )
    assert [error.key for error in errors] == [
        "agents.a.umask",
        "agents.a.stop_signal",
        "agents.a.heartbeat.interval",
    ]


def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (error,) = load(tmp_path).errors
    assert (error.file, error.message) == (str(tmp_path), "cannot be read: a directory")


def test_a_missing_file_leads_to_init(tmp_path: Path) -> None:
    (error,) = load(tmp_path / "agentd.toml").errors
    assert error.hint == f"agentd init {tmp_path}"


def test_a_header_in_the_file_of_an_agent_is_told_to_go(tmp_path: Path) -> None:
    (tmp_path / "agents.d").mkdir()
    (tmp_path / "agents.d" / "q.toml").write_text('[agents.q]\ncommand = ["x"]\n')
    error = next(e for e in _errors(tmp_path, "") if e.key == "agents.q.agents")
    assert error.hint == "this file is the agent: its keys stand at the top, without a header"


def test_a_socket_path_that_the_kernel_will_not_take_is_found_by_check(tmp_path: Path) -> None:
    (error,) = _errors(tmp_path, f'[daemon]\nsocket = "/{"x" * 120}"\n')
    assert (error.line, error.key) == (2, "daemon.socket")
    assert "too long for a socket" in error.message


def test_a_value_in_place_of_a_table_is_an_error_and_no_crash(tmp_path: Path) -> None:
    errors = _errors(tmp_path, '[agents.a]\ncommand = ["x"]\nrestart = 0\n')
    assert [error.key for error in errors] == ["agents.a.restart"]
