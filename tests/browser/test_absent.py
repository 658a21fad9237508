"""The page of an agent of which the stream tells nothing, and the tab of a page that was grey."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import Visit
from tests.browser.stage import Stage, agent, incident, status

# What looks like knowledge in the row of the page's agent.
CLAIMS = """() => [...document.querySelectorAll("main [data-row]")].flatMap((row) =>
  [row, ...row.querySelectorAll("[data-tone], [data-since], [data-until], .meter")])
  .filter((each) => each.checkVisibility() && each.dataset.slot !== "why" &&
    (each.dataset.tone || each.dataset.since || each.dataset.until || each.matches(".meter")))
  .map((each) => each.outerHTML)"""
GREY = "(part) => getComputedStyle(document.querySelector(part)).filter === 'grayscale(1)'"
BUSY = {"open_incident": 5, "cooldown_s": 30.0, "memory_forecast_s": 900.0}


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    opened = Visit(browser, None)
    yield opened
    opened.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    opened = Stage(status(agent("a", **BUSY), agent("b")), [incident(5, "b")])
    yield opened
    opened.end()


def slot(page: Page, name: str) -> str:
    return page.locator(f'.about [data-slot="{name}"]').first.inner_text()


def icon(page: Page) -> str:
    return page.locator("link[rel=icon]").get_attribute("href") or ""


def until_gone(visit: Visit) -> None:
    why = visit.page.locator('.about [data-slot="why"]')
    expect(why).to_contain_text("a is not there any more: what is shown was true at ")


@pytest.mark.parametrize("is_lost_before", [False, True], ids=["seen to go", "gone unseen"])
def test_the_page_of_an_agent_that_was_removed_says_so_and_takes_it_up_again(
    visit: Visit, stage: Stage, *, is_lost_before: bool
) -> None:
    page = visit.open(f"{stage.url}/agents/a")
    assert page.evaluate(CLAIMS) != []
    if is_lost_before:
        stage.lose()
        expect(page.get_by_role("alert")).to_be_visible()
    stage.show(status(agent("b")))
    until_gone(visit)
    visit.live()
    assert slot(page, "health") == "unknown"
    assert page.evaluate(CLAIMS) == []
    assert page.evaluate(GREY, ".tiles")
    assert page.evaluate(GREY, ".columns")
    assert page.locator("button[data-verb]:visible").count() == 0
    assert page.title() == "? a · agentd"
    assert icon(page) == "/static/unknown.svg"

    stage.show(status(agent("a", health="degraded"), agent("b")))
    expect(page.locator('.about [data-slot="health"]')).to_have_text("degraded")
    assert slot(page, "why") == "silent for longer than it should be"
    assert page.title() == "a · degraded · agentd"
    assert icon(page) == "/static/warn.svg"
    assert not page.evaluate(GREY, ".tiles")
    assert page.locator("button[data-verb=kill]").is_visible()
    # It goes on as a page that has just been opened does.
    fresh = visit.context.new_page()
    fresh.route("**/static/app.js", lambda route: route.abort())
    fresh.goto(page.url)
    told = "[...document.querySelectorAll('main [data-slot]')].map((each) => each.hidden)"
    assert page.evaluate(told) == fresh.evaluate(told)
    stage.show(status(agent("a", task="ticket-919"), agent("b")))
    expect(page.locator('[data-slot="doing"]')).to_have_text("ticket-919 · 17 · web_search")


def test_an_agent_of_our_own_is_never_told_of_and_its_page_does_not_pretend(
    visit: Visit, stage: Stage
) -> None:
    stage.internal = [agent("agentd-http", silence_s=3.0)]
    page = visit.open(f"{stage.url}/agents/agentd-http")
    why = page.locator('.about [data-slot="why"]')
    expect(why).to_contain_text("Nothing live is told of agentd-http: its figures are those of ")
    assert page.evaluate(CLAIMS) == []
    assert page.evaluate(GREY, ".tiles")
    stage.internal = [agent("agentd-http", budgets=[])]
    # What the server writes as a whole is still fetched, and isn't grey.
    expect(page.locator("#budgets")).to_have_count(0)
    assert not page.evaluate(GREY, ".columns")
    expect(why).to_contain_text("Nothing live is told of agentd-http")


@pytest.mark.parametrize("path", ["/", "/agents/b", "/incidents/5"])
def test_the_tab_is_what_it_was_once_the_page_is_live_again(
    visit: Visit, stage: Stage, path: str
) -> None:
    page = visit.open(f"{stage.url}{path}")
    before = page.title(), icon(page)
    assert "unknown" not in before[1]
    stage.lose()
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.title().startswith("? last seen ")
    assert icon(page) == "/static/unknown.svg"
    stage.show(stage.shown, stage.incidents)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert (page.title(), icon(page)) == before
