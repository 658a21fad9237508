"""What the browser changes on a page, counted: nothing that did not change, however many agents."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.browsing import Visit
from tests.browser.stage import Document, Stage, agent, incident, status

AGENTS = 200
# Whatever changes, apart from times that run on by themselves.
COUNT = """() => {
  window.changed = [];
  new MutationObserver((records) => {
    for (const record of records) {
      const element = record.target.nodeType === 1 ? record.target : record.target.parentElement;
      if (element?.closest("[data-since], [data-until], .meter, #gone, #live")) continue;
      const row = element?.closest("[data-row]")?.dataset.row ?? element?.localName;
      window.changed.push(`${row} ${record.type} ${record.attributeName ?? ""}`);
    }
  }).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
}"""
# Everything that can be read, as it is read, without the times that run.
READ = """() => [...document.querySelectorAll("[data-row]")].map((row) => [
  row.dataset.row, row.closest("[data-group]")?.dataset.group ?? "", row.dataset.tone ?? "",
  [...row.querySelectorAll("button")].filter((each) => !each.hidden)
    .map((each) => each.dataset.verb),
  [...row.querySelectorAll("[data-slot]")]
    .filter((each) => !each.dataset.since && !each.dataset.until)
    .map((each) => [each.dataset.slot, each.textContent, each.hidden, each.dataset.tone ?? "",
      each.getAttribute("href") ?? ""]),
  [...row.querySelectorAll(".meter")].map((each) => [each.dataset.meter, each.dataset.tone ?? "",
    each.hasAttribute("data-empty")]),
])"""

CALL = {"label": "chat", "open_s": 9.0, "left_s": 3.0}
DOWN: dict[str, Any] = {"pid": None, "health": "unreachable", "silence_s": None, "rss_bytes": None}
CRITICAL = incident(5, "b", summary="b leaks memory")
WARNING = incident(6, "c", severity="warning", summary="c failed once")
OF_THE_HOST = incident(7, None, summary="the disk is full")
KILLED = {"intent": "killed", "state": "stopped", "health": "killed", "intent_by": "ada"}
WORLDS: dict[str, tuple[Document, list[Document]]] = {
    "all is well": (status(agent("a"), agent("b"), agent("c")), []),
    "trouble": (
        status(
            agent("a", health="degraded", silence_s=120.0, expected_silence_s=600.0),
            agent("b", open_incident=5, memory_forecast_s=900.0, rss_bytes=500_000_000),
            agent("c", open_incident=6, state="cooldown", cooldown_s=12.0, failures=2, **DOWN),
            agent("d", state="escalated", reason="EXITED", **DOWN),
        ),
        [CRITICAL, WARNING, OF_THE_HOST],
    ),
    "known": (
        status(
            agent("a", pid=None, intent_reason="cost spike", **KILLED),
            agent("b", open_incident=5, open_call=CALL),
            agent("c", held=True, goal="find <b>it</b>", progress=0.3),
        ),
        [{**CRITICAL, "acknowledged_by": "ada"}],
    ),
    "nobody": (status(), []),
    "a disk that is full": (status(agent("b"), storage="full"), []),
}


@pytest.fixture(scope="module")
def browser_visit(browser: Browser) -> Iterator[Visit]:
    visit = Visit(browser, None)
    yield visit
    assert not visit.dialogs
    visit.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    opened = Stage(*WORLDS["all is well"])
    yield opened
    opened.end()


def test_what_the_stream_tells_reads_as_what_the_server_writes(
    browser_visit: Visit, stage: Stage
) -> None:
    """From any state to any other: a page that followed and a page that is new are the same."""
    page, fresh = browser_visit.page, browser_visit.context.new_page()
    browser_visit.open(stage.url)
    for name in (*WORLDS, *reversed(WORLDS)):
        shown, incidents = WORLDS[name]
        stage.show({**shown, "host": name}, incidents)
        browser_visit.wait("(name) => document.title.endsWith(`· ${name}`)", name)
        fresh.route("**/static/app.js", lambda route: route.abort())
        fresh.goto(stage.url)
        assert sorted(page.evaluate(READ)) == sorted(fresh.evaluate(READ)), name
        assert page.title() == fresh.title()
    fresh.close()


def test_two_hundred_agents_and_one_that_changes_are_one_row(
    browser_visit: Visit, stage: Stage
) -> None:
    agents = [agent(f"agent-{number:03}") for number in range(AGENTS)]
    stage.show(status(*agents))
    page = browser_visit.open(stage.url)
    page.evaluate(COUNT)
    agents[150] = agent("agent-150", task="ticket-919")
    stage.show(status(*agents))
    browser_visit.until("agent-150", "doing", "ticket-919 · 17 · web_search")
    changed = page.evaluate("window.changed")
    assert {line.split()[0] for line in changed} == {"agent-150"}, changed
    assert len(changed) <= 3, changed


def test_news_that_change_nothing_change_nothing(browser_visit: Visit, stage: Stage) -> None:
    agents = [agent(f"agent-{number:03}") for number in range(AGENTS)]
    stage.show(status(*agents))
    page = browser_visit.open(stage.url)
    page.evaluate(COUNT)
    stage.show({**status(*agents), "time": "2026-11-21T08:00:07.000Z"})
    stage.show(status(*agents[:-1]))
    browser_visit.wait("() => document.querySelectorAll('li.row').length === 199")
    changed = page.evaluate("window.changed")
    # The one that went, and the headline that counts them.
    assert {line.split()[0] for line in changed} <= {":page", "ul", "title", "head"}, changed
