"""The person's browser, sent to a link that nobody else may see.

What a program is started with stands in /proc, for every user of the machine to read. So the
browser is given a file that only its user can read, and that leads on to the link.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Final

import click

PAGE: Final = """\
<!doctype html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={link}">
<title>agentd</title>
<p><a href="{link}">Open the dashboard</a></p>
"""


@contextmanager
def page_to(link: str) -> Iterator[Path]:
    """Keep a page that leads to `link`, for its user's eyes only, for as long as it is needed.

    A browser that a snap or a container confines may not be able to read it. Raises OSError if
    it can't be written.
    """
    with _private_directory() as directory:
        page = Path(directory, "dashboard.html")
        page.touch(mode=0o600, exist_ok=False)
        page.write_text(PAGE.format(link=escape(link)), encoding="utf-8")
        yield page


def _private_directory() -> "TemporaryDirectory[str]":
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        with suppress(OSError):  # another user's, as after `su`, or gone
            return TemporaryDirectory(prefix="agentd-", dir=runtime)
    return TemporaryDirectory(prefix="agentd-")


def show(page: Path, otherwise: Callable[[], None]) -> None:
    """Open the page in the browser; `otherwise` is called, from a thread, if there is none.

    It returns at once: some browsers last until their window is closed.
    """

    def launch() -> None:
        # Below 0 a signal has ended it, as Ctrl-C does together with the dashboard.
        if click.launch(str(page), wait=True) > 0:
            otherwise()

    Thread(target=launch, daemon=True, name="browser").start()
