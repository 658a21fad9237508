"""`agentctl dashboard --open`: the browser is sent to the link, which nobody else gets to see."""

import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Result

Ctl = Callable[..., Result]

LINK = 'http://127.0.0.1:8484/sign-in?code=a&b="<c>'
ESCAPED = "http://127.0.0.1:8484/sign-in?code=a&amp;b=&quot;&lt;c&gt;"
# What `xdg-open` was started with, and what a browser then reads there.
RECORDING = """#!/bin/sh
echo "$@" > "{root}/words"
stat -c %a "$1" "$(dirname "$1")" > "{root}/modes"
cat "$1" > "{root}/page"
exit {exit_code}
"""


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runtime directory, a PATH without a browser, and a server that tells its link."""
    for name in ("bin", "runtime", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))

    async def serve(_path: str, _listen: str, *, told: Callable[[str], None], **_: object) -> None:
        told(LINK)
        for thread in threading.enumerate():
            if thread.name == "browser":
                thread.join(60)

    monkeypatch.setattr("agentd.http.dashboard.serve", serve)
    return tmp_path / "runtime"


def browser(root: Path, exit_code: int = 0) -> None:
    program = root / "bin" / "xdg-open"
    text = RECORDING.format(root=root, exit_code=exit_code)
    program.write_text(text.replace("\n", "\nPATH=/usr/bin:/bin\n", 1))
    program.chmod(0o755)


def test_l11_the_browser_is_given_a_file_of_ones_own_and_never_the_link(
    ctl: Ctl, runtime: Path
) -> None:
    root = runtime.parent
    browser(root)
    code, out, err = ctl("dashboard", "--open")
    assert (code, out) == (0, f"{LINK}\n")
    assert "no browser" not in err
    words = (root / "words").read_text()
    assert words.startswith(f"{runtime}/")
    assert "code=" not in words
    assert (root / "modes").read_text().split() == ["600", "700"]
    page = (root / "page").read_text()
    assert f'<meta http-equiv="refresh" content="0; url={ESCAPED}">' in page
    assert f'<a href="{ESCAPED}">' in page
    assert not list(runtime.iterdir()), "it is gone when the dashboard has ended"


@pytest.mark.parametrize("wrong", ["", "relative", "/nowhere/at/all"])
def test_without_a_runtime_directory_the_file_is_a_temporary_one(
    ctl: Ctl, runtime: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    root = runtime.parent
    browser(root)
    monkeypatch.setenv("XDG_RUNTIME_DIR", wrong)
    assert ctl("dashboard", "--open")[0] == 0
    assert (root / "words").read_text().startswith(f"{root}/tmp/")
    assert (root / "modes").read_text().split() == ["600", "700"]
    assert not list((root / "tmp").iterdir())


@pytest.mark.parametrize("exit_code", [None, 3], ids=["none", "one that fails"])
def test_a_browser_that_could_not_be_opened_is_said(
    ctl: Ctl, runtime: Path, exit_code: int | None
) -> None:
    if exit_code is not None:
        browser(runtime.parent, exit_code)
    code, out, err = ctl("dashboard", "--open")
    assert (code, out) == (0, f"{LINK}\n")
    assert err.endswith("agentctl: no browser could be opened here\n")


def test_a_file_that_cannot_be_made_ends_no_dashboard(
    ctl: Ctl, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = runtime.parent
    browser(root)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(root / "nowhere"))
    code, out, err = ctl("dashboard", "--open")
    assert (code, out) == (0, f"{LINK}\n")
    assert "agentctl: no browser could be opened here" in err
    assert not (root / "words").exists()


def test_without_being_asked_no_browser_is_opened(ctl: Ctl, runtime: Path) -> None:
    browser(runtime.parent)
    assert ctl("dashboard")[:2] == (0, f"{LINK}\n")
    assert not (runtime.parent / "words").exists()
    assert stat.S_ISDIR(runtime.stat().st_mode)
