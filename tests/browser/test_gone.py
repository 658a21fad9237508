"""The daemon, or the dashboard, goes away under an open page: it says so, and comes back."""

import signal

from playwright.sync_api import Browser, expect

from tests.browser.browsing import Dashboard, Visit
from tests.daemon.harness import Daemon

GREY = "() => document.body.hasAttribute('data-stale')"
LIVE = "() => !document.body.hasAttribute('data-stale')"


def test_l11_a_daemon_that_was_killed_is_never_shown_as_well(
    browser: Browser, daemon: Daemon
) -> None:
    """Killed and restarted under an open page: grey in between, and then what is true then."""
    daemon.beater("worker", "task=ticket-918")
    daemon.start()
    daemon.until("worker", lambda shown: shown["heartbeats"])
    serving = Dashboard(daemon)
    try:
        visit = Visit(browser, serving)
        visit.live()
        page = visit.page
        expect(page.get_by_role("heading", level=1)).to_have_text("The one agent is fine.")
        pid = daemon.status("worker")["pid"]
        daemon.crash()
        visit.wait(GREY)
        expect(page.get_by_role("alert")).to_contain_text("agentd does not answer. Last seen ")
        expect(page.get_by_role("heading", level=1)).to_have_text("Nothing is known right now.")
        assert page.title().startswith("? last seen ")
        grey = page.evaluate("getComputedStyle(document.querySelector('main')).filter")
        assert grey == "grayscale(1)"
        # Whoever comes now is told the same, by a page that waits.
        other = visit.context.new_page()
        other.goto(serving.url)
        expect(other.get_by_role("heading", level=1)).to_have_text("agentd does not answer")

        daemon.start()
        visit.wait(LIVE)
        expect(page.get_by_role("heading", level=1)).to_have_text("The one agent is fine.")
        assert daemon.status("worker")["pid"] == pid  # adopted, and shown as it is
        daemon.ask("kill", select=["worker"])
        visit.until("worker", "state", "killed")
        expect(other.locator(visit.row("worker"))).to_have_count(1)
        visit.close()
    finally:
        serving.end()


def test_a_dashboard_that_hangs_or_is_gone_is_noticed(browser: Browser, daemon: Daemon) -> None:
    """A connection that is open and silent is no proof of life."""
    daemon.beater("worker", "task=ticket-918")
    daemon.start()
    daemon.until("worker", lambda shown: shown["heartbeats"])
    serving = Dashboard(daemon)
    visit = Visit(browser, serving)
    visit.live()
    try:
        serving.process.send_signal(signal.SIGSTOP)
        visit.wait(GREY)
        expect(visit.page.get_by_role("alert")).to_contain_text("Last seen ")
        serving.process.send_signal(signal.SIGCONT)
        visit.wait(LIVE)
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("The one agent is fine.")
    finally:
        serving.process.send_signal(signal.SIGCONT)
        serving.end()
    visit.wait(GREY)
    expect(visit.page.get_by_role("alert")).to_contain_text("The dashboard does not answer.")
    visit.close()
