"""One browser, one daemon and one dashboard for the tests of a file; a fresh visit for each."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.browsing import Dashboard, Visit, chromium
from tests.daemon.harness import Daemon, daemon
from tests.places import short_root

__all__ = ["daemon"]

# A name that would be an element, if anybody believed it; and one that would run.
TASK = "<img src=x onerror=alert(1)>"
STEP = '"><script>alert(2)</script>'
SHOUTER = r"""
import sys, time
for code in ("\x1b[2J\x1b]0;owned\x07", "\x1b[31mred\x1b[0m", "\u202ereversed", "<b>bold</b>"):
    print(code, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Closed with the file: its loop would be in the way of other files' asynchronous tests.
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def fleet() -> Iterator[Daemon]:
    """A daemon with a few agents: three that beat, one that shouts, one that fails."""
    with short_root() as root:
        under_test = Daemon(root)
        under_test.beater("worker", "task=ticket-918", "step=17", text='tags = ["shop"]')
        under_test.beater("victim", "task=ticket-919")
        under_test.beater("other", "task=ticket-920")
        under_test.beater("trickster", f"task={TASK}", f"step={STEP}")
        under_test.agent("shouter", ["python3", "-c", SHOUTER], "[heartbeat]\nrequired = false")
        try:
            under_test.start()
            for name in ("worker", "victim", "other", "trickster"):
                under_test.until(name, lambda shown: shown["heartbeats"])
            yield under_test
        finally:
            under_test.close()


@pytest.fixture(scope="module")
def dashboard(fleet: Daemon) -> Iterator[Dashboard]:
    serving = Dashboard(fleet)
    yield serving
    serving.end()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, dashboard: Dashboard) -> object:
    """Cookies of somebody who has followed the link, which signs in but once."""
    visit = Visit(browser, dashboard)
    state = visit.context.storage_state()
    visit.close()
    return state


@pytest.fixture
def visit(browser: Browser, signed_in: object) -> Iterator[Visit]:
    """A person at the dashboard, whose browser must have had nothing to complain of."""
    opened = Visit(browser, None, storage_state=signed_in)
    yield opened
    assert not opened.dialogs
    assert not opened.errors
    opened.close()
