"""Without the extra, or started by hand, there is one line that says what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

BLOCKED = "import sys; sys.modules['uvicorn'] = None; "
HELPER = "from agentd.http.__main__ import main; sys.argv = ['x', '--config', 'none.toml']; "


def run(code: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", code]
    known = {"PATH": "/usr/bin:/bin", "AGENTD_SOCKET": str(tmp_path / "s"), **env}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=known)


@pytest.mark.parametrize(
    "code",
    [
        f"{BLOCKED}{HELPER}sys.exit(main())",
        f"{BLOCKED}sys.argv = ['agentctl', 'dashboard']; from agentd.cli.main import main; main()",
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    code: str, tmp_path: Path
) -> None:
    ended = run(code, tmp_path)
    assert ended.returncode == 1
    assert "uvicorn is not installed" in ended.stderr
    assert "pip install 'agentd-supervisor[http]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_helper_without_its_channel_names_what_to_start_instead(tmp_path: Path) -> None:
    ended = run(f"import sys; {HELPER}sys.exit(main())", tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "agentctl dashboard" in ended.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("[]", 7, "no answer from agentd"),
        ("['--listen', '0.0.0.0']", 1, "not an address and a port"),
        ("['--listen', '192.0.2.1:1']", 1, "cannot listen on"),
    ],
)
def test_a_dashboard_that_cannot_be_says_why(
    words: str, code: int, told: str, tmp_path: Path
) -> None:
    line = f"import sys; sys.argv = ['agentctl', 'dashboard', *{words}]; "
    ended = run(f"{line}from agentd.cli.main import main; main()", tmp_path)
    assert ended.returncode == code
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
