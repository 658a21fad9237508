from pathlib import Path

import pytest

from agentd.config.environment_files import BadLineError, read_variables
from tests.config.conftest import Read


def test_variables_are_read_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.env"
    path.write_text(
        "# comment\n\nA=1\nexport B = two words \nC=\"quoted # $X\"\r\nD='x'\nE=\nA=a=b\n"
    )
    assert read_variables(path) == {
        "A": ("a=b", 8),
        "B": ("two words", 4),
        "C": ("quoted # $X", 5),
        "D": ("x", 6),
        "E": ("", 7),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("secret-canary", "not of the form KEY=value"),
        ("1A=secret-canary", "not of the form KEY=value"),
        ("=secret-canary", "not of the form KEY=value"),
        ("A-B=secret-canary", "not of the form KEY=value"),
        ('A="secret-canary', "A: a quote is never closed"),
        ("A='", "A: a quote is never closed"),
        ("A=secret-canary\0", "A: holds a NUL character"),
        ("NOTIFY_SOCKET=secret-canary", "NOTIFY_SOCKET: set by agentd itself"),
    ],
)
def test_a_bad_line_is_told_without_its_value(line: str, message: str, read: Read) -> None:
    loaded = read("", good='command = "x"\n')
    directory = loaded.files[0].parent
    (directory / "a.env").write_text(f"OK=1\n{line}\n")
    loaded = read('[agents.a]\ncommand = "x"\nenvironment_files = ["a.env"]\n')
    (error,) = loaded.errors
    assert (error.file, error.line) == (str(directory / "a.env"), 2)
    assert error.key == "agents.a.environment_files[0]"
    assert message in error.message
    assert "canary" not in error.text()
    assert loaded.config.agents.keys() == {"good"}


def test_what_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.env"
    path.write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(BadLineError, match="not UTF-8") as raised:
        read_variables(path)
    assert raised.value.line == 2
