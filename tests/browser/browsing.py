"""A real Chromium, and the dashboard of a real daemon in a process of its own."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    sync_playwright,
)

from tests.daemon.harness import Daemon, environment
from tests.programs.places import AGENTCTL

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Names of a test's own, all of this machine.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]
WAIT_MS = 20_000.0
POLL_MS = 20.0
END_S = 10.0
# Said by the browser itself before any of our code runs.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own; skipped without one, which CI doesn't allow."""
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Dashboard:
    """`agentctl dashboard` on one daemon."""

    def __init__(self, daemon: Daemon, *, operate: bool = True) -> None:
        words = [str(AGENTCTL), "--socket", str(daemon.socket), "dashboard"]
        self.process = subprocess.Popen(
            [*words, *(["--operate"] if operate else [])],
            stdout=subprocess.PIPE,
            stderr=(daemon.root / "dashboard.log").open("ab"),
            text=True,
            env=environment(),
        )
        assert self.process.stdout is not None
        self.link = self.process.stdout.readline().strip()
        assert self.link.startswith("http"), (daemon.root / "dashboard.log").read_text()
        self.port = urlsplit(self.link).port
        self.url = f"http://127.0.0.1:{self.port}"

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(END_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Visit:
    """One person's browser, signed in, and all that went wrong in it."""

    def __init__(self, browser: Browser, dashboard: Dashboard | None, **options: object) -> None:
        self.context: BrowserContext = browser.new_context(**options)  # type: ignore[arg-type]
        self.context.set_default_timeout(WAIT_MS)
        self.context.add_init_script(WATCH)
        self.page: Page = self.context.new_page()
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self.page.on("dialog", self._dialog)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        if dashboard is not None:
            self.page.goto(dashboard.link)

    def _dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, address: str) -> Page:
        """Go to a page, and wait until it is live."""
        self.page.goto(address)
        self.live()
        return self.page

    def live(self) -> None:
        """Wait until the page follows what happens."""
        self.wait("() => document.getElementById('live').textContent === 'live'")

    def wait(self, truth: str, arg: object = None) -> None:
        """Wait until a function of the page says so; its policy forbids to wait in the page."""
        end_s = time.monotonic() + WAIT_MS / 1000
        while not self.page.evaluate(truth, arg):
            assert time.monotonic() < end_s, f"not within {WAIT_MS} ms: {truth} {arg}"
            self.page.wait_for_timeout(POLL_MS)

    def violations(self) -> list[str]:
        """What the content security policy has stopped on the page that is open."""
        found: list[str] = self.page.evaluate("window.violations")
        return found

    def row(self, name: str) -> str:
        """Return the selector of an agent's row."""
        return f'li.row[data-agent="{name}"]'

    def text(self, name: str, slot: str) -> str:
        """Return what stands in a slot of an agent's row."""
        return self.page.locator(f'{self.row(name)} [data-slot="{slot}"]').first.inner_text()

    def until(self, name: str, slot: str, text: str) -> None:
        """Wait until a slot of an agent's row says exactly this."""
        self.wait(
            "([row, slot, text]) => document.querySelector(`${row} [data-slot=${slot}]`)"
            "?.textContent === text",
            [self.row(name), slot, text],
        )

    def close(self) -> None:
        self.context.close()
