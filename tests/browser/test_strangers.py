"""Pages of other origins, and whoever has no token, get nothing done and nothing told."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.browsing import Dashboard, Visit
from tests.daemon.harness import Daemon

POST = """async ([address, mode, type]) => {
  try {
    const reply = await fetch(address, {method: "POST", mode, credentials: "include",
      headers: type ? {"Content-Type": type, ...(type === "application/json" && mode === "cors" ?
        {"X-Agentd-CSRF": "guess"} : {})} : {}, body: '{"reason":"evil"}'});
    return `${reply.type} ${reply.status}`;
  } catch (error) { return String(error); }
}"""
FORM = """([address]) => {
  const form = document.createElement("form");
  form.method = "post"; form.action = address; form.enctype = "text/plain";
  const field = document.createElement("input");
  field.name = '{"reason":"'; field.value = '"}';
  form.append(field); document.body.append(form); form.submit();
}"""


class _Evil(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>evil</title><p>nothing to see"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:  # noqa: ANN401 - as its base has it
        """Say nothing."""


@pytest.fixture(scope="module")
def evil_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Evil)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def person(browser: Browser, signed_in: object) -> Iterator[Visit]:
    """Somebody who is signed in at the dashboard, and has strayed elsewhere."""
    opened = Visit(browser, None, storage_state=signed_in)
    yield opened
    opened.close()


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1"])
def test_l11_a_page_of_another_origin_cannot_kill(
    person: Visit, dashboard: Dashboard, fleet: Daemon, evil_port: int, host: str
) -> None:
    """`evil.test` is another site; 127.0.0.1 with another port is the same one, cookies and all."""
    page = person.page
    page.goto(f"http://{host}:{evil_port}/")
    target = f"{dashboard.url}/api/v1/agents/victim/kill"
    for mode, kind in (
        *(("no-cors", ""), ("no-cors", "text/plain"), ("no-cors", "application/json")),
        *(("cors", "text/plain"), ("cors", "application/json")),
    ):
        told = page.evaluate(POST, [target, mode, kind])
        assert "200" not in told, (mode, kind, told)
    with page.expect_navigation():
        page.evaluate(FORM, [target])
    assert "killed" not in page.content()
    assert fleet.status("victim")["intent"] == "up"
    assert not fleet.events("victim", "agent.killed")


def test_the_same_request_from_our_own_page_is_taken(
    person: Visit, dashboard: Dashboard, fleet: Daemon
) -> None:
    """Else the one above would prove nothing."""
    page = person.open(dashboard.url)
    told = page.evaluate(
        """async (address) => (await fetch(address, {method: "POST", headers: {
          "Content-Type": "application/json",
          "X-Agentd-CSRF": document.querySelector("meta[name=csrf]").content,
        }, body: '{"reason":"mine"}'})).status""",
        f"{dashboard.url}/api/v1/agents/other/pause",
    )
    assert told == 200
    fleet.until_state("other", "paused")
    fleet.ask("resume", select=["other"])


def test_l11_our_own_page_without_the_csrf_header_is_refused(
    person: Visit, dashboard: Dashboard, fleet: Daemon
) -> None:
    page = person.open(dashboard.url)
    told = page.evaluate(
        """async (address) => (await fetch(address, {method: "POST", headers: {
          "Content-Type": "application/json"}, body: '{"reason":"x"}'})).status""",
        f"{dashboard.url}/api/v1/agents/victim/kill",
    )
    assert told == 403
    assert fleet.status("victim")["intent"] == "up"


def test_l11_a_name_that_points_here_is_not_ours(person: Visit, dashboard: Dashboard) -> None:
    """DNS rebinding: a foreign name that resolves to 127.0.0.1 reads nothing."""
    answer = person.page.goto(f"http://evil.test:{dashboard.port}/")
    assert answer is not None
    assert 400 <= answer.status < 500
    assert "worker" not in person.page.content()


def test_l11_without_a_token_there_is_nothing_to_see(
    browser: Browser, dashboard: Dashboard, fleet: Daemon
) -> None:
    stranger = Visit(browser, None)
    answer = stranger.page.goto(dashboard.url)
    assert answer is not None
    assert answer.status == 401
    expect(stranger.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert "worker" not in stranger.page.content()
    stranger.page.get_by_label("Token").fill("not the token")
    stranger.page.get_by_role("button", name="Sign in").click()
    expect(stranger.page.get_by_role("alert").last).to_have_text("That was not the token.")
    # The link that has signed somebody in does so no more.
    stranger.page.goto(dashboard.link)
    expect(stranger.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    told = stranger.page.evaluate(
        "async (address) => (await fetch(address, {method: 'POST', body: '{}'})).status",
        "/api/v1/agents/victim/kill",
    )
    assert told in (401, 403)
    assert fleet.status("victim")["intent"] == "up"
    stranger.close()
