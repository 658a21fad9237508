"""What `agentctl dashboard --open` gives a browser to open signs its user in."""

from playwright.sync_api import Browser

from agentd.cli.browser import page_to
from tests.browser.browsing import Dashboard, Visit
from tests.daemon.harness import Daemon


def test_the_page_that_is_opened_leads_to_the_dashboard_and_signs_in(
    browser: Browser, fleet: Daemon
) -> None:
    serving = Dashboard(fleet)
    person = Visit(browser, None)
    try:
        with page_to(serving.link) as page:
            person.page.goto(page.as_uri(), wait_until="commit")
            person.page.wait_for_url(f"{serving.url}/")
            person.live()
        assert person.page.get_by_text("worker").first.is_visible()
        assert not person.errors
    finally:
        person.close()
        serving.end()
