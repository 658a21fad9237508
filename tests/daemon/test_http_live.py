"""The dashboard beside real daemons: as a person starts it, and as the daemon keeps it running."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from http.cookiejar import CookieJar
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.daemon.harness import DEFAULTS, PYTHON, WAIT_S, Daemon, alive, environment

TOKEN = "a-token-of-some-length-0123456789"  # noqa: S105 - of these tests alone


class Browser:
    """A session: pages, cookies, and what its pages repeat."""

    def __init__(self, url: str) -> None:
        self.base = url.partition("/sign-in")[0].rstrip("/")
        self._jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))

    def get(self, path: str) -> bytes:
        url = path if path.startswith("http") else self.base + path
        with self._opener.open(url, timeout=WAIT_S) as answer:
            return answer.read()  # type: ignore[no-any-return]

    def json(self, path: str) -> Any:  # noqa: ANN401 - any document
        return json.loads(self.get(path))

    def post(self, path: str, **headers: str) -> Any:  # noqa: ANN401 - any document
        sent = {"Origin": self.base, "Content-Type": "application/json", **headers}
        body = b'{"reason":"spike"}'
        request = urllib.request.Request(self.base + path, body, sent)  # noqa: S310 - ours
        with self._opener.open(request, timeout=WAIT_S) as answer:
            return json.load(answer)

    def stream(self) -> Iterator[tuple[str, Any]]:
        with self._opener.open(f"{self.base}/api/v1/stream", timeout=WAIT_S) as answer:
            event = ""
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "data":
                    yield event, json.loads(value)


@pytest.fixture
def dashboard(daemon: Daemon) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`agentctl dashboard --operate` beside a running daemon, and the link that it prints."""
    daemon.beater("a")
    daemon.start()
    words = [PYTHON, "-m", "agentd.cli", "--socket", str(daemon.socket), "--json", "dashboard"]
    process = subprocess.Popen(
        [*words, "--operate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.wait(WAIT_S)
        process.stdout.close()


Shown = tuple[subprocess.Popen[str], str]


def test_a_person_signs_in_kills_and_it_stays_killed(daemon: Daemon, dashboard: Shown) -> None:
    process, url = dashboard
    browser = Browser(url)
    page = browser.get(url).decode()
    assert '<meta name="csrf"' in page
    csrf = page.split('<meta name="csrf" content="')[1].split('"')[0]
    browser.post("/api/v1/agents/a/kill", **{"X-Agentd-CSRF": csrf})
    shown = daemon.until("a", lambda shown: shown["health"] == "killed")
    assert shown["intent_reason"] == "spike"
    daemon.crash()
    daemon.start()
    assert daemon.status("a")["health"] == "killed"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        Browser(url).get(url)  # the link has been used
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 0


def test_l11_the_port_alone_opens_nothing(dashboard: Shown) -> None:
    _, url = dashboard
    stranger = Browser(url)
    for path in ("/", "/api/v1/status", "/api/v1/logs/a", "/api/v1/stream"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            stranger.get(path)


def test_an_open_page_hears_that_the_daemon_is_gone_and_back(
    daemon: Daemon, dashboard: Shown
) -> None:
    _, url = dashboard
    browser = Browser(url)
    browser.get(url)
    stream = browser.stream()
    told = next(stream)
    assert told[0] == "snapshot"
    seen = told[1]["time"]
    daemon.crash()
    gone = next(data for event, data in stream if event == "daemon")
    assert gone["reachable"] is False
    assert gone["last_seen"] >= seen
    daemon.start()
    heard = [next(stream)]
    while "snapshot" not in {event for event, _ in heard}:
        heard.append(next(stream))
    assert ("daemon", {"reachable": True}) in heard
    begun = next(one["id"] for one in daemon.events(kind="daemon.started")[1:])
    ids = [data["id"] for event, data in heard if event == "event"]
    while begun not in ids:
        event, data = next(stream)
        ids += [data["id"]] if event == "event" else []
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_each_document_is_the_one_of_the_command_line(daemon: Daemon, dashboard: Shown) -> None:
    _, url = dashboard
    browser = Browser(url)
    browser.get(url)
    daemon.until("a", lambda shown: shown["heartbeats"])
    assert {one["name"] for one in browser.json("/api/v1/status")["agents"]} == {"a"}
    assert browser.json("/api/v1/agents/a")["name"] == "a"
    events = browser.json("/api/v1/events?agent=a&limit=500")["events"]
    assert events == daemon.ask("events", select=["a"], limit=500)["events"][: len(events)]
    assert browser.json("/api/v1/history?agent=a&since=1h&series=true")["agents"][0]["series"]
    assert browser.json("/api/v1/incidents")["incidents"] == []
    assert browser.json("/api/v1/report?date=today")["host"]
    assert browser.json("/api/v1/logs/a?tail=1")["lines"] == ["beating as a"]
    for path in ("/agents/a", "/report/today", "/agents/a/spark/heartbeats.svg"):
        assert browser.get(path)
    families = list(text_string_to_metric_families(browser.get("/metrics").decode()))
    assert {"agentd_agent_up", "agentd_agent_restarts", "agentd_agent_latency_seconds"} <= {
        family.name for family in families
    }


@pytest.fixture
def kept(daemon: Daemon) -> tuple[Daemon, int]:
    """A daemon that keeps the server running, and the port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    token = daemon.root / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    http_table = f'[http]\nlisten = "127.0.0.1:{port}"\ntoken_file = "token"\noperate = true\n'
    daemon.configure(extra=DEFAULTS + http_table)
    daemon.beater("a")
    daemon.start()
    return daemon, port


def ask(port: int, method: str, path: str) -> tuple[int, Any]:
    """One request with the token, as soon as somebody listens."""
    end = time.monotonic() + WAIT_S
    while True:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)) as connection:
            try:
                connection.request(method, path, headers={"Authorization": f"Bearer {TOKEN}"})
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())
            except (ConnectionError, http.client.HTTPException):
                assert time.monotonic() < end, "nobody listens"
                time.sleep(0.05)


def test_the_server_that_the_daemon_keeps_is_back_after_it(kept: tuple[Daemon, int]) -> None:
    daemon, port = kept
    assert ask(port, "GET", "/api/v1/status")[0] == 200
    assert ask(port, "POST", "/api/v1/agents/a/pause")[0] == 200
    daemon.until_state("a", "paused")
    first = helper_pid(daemon)
    daemon.crash()
    daemon.until_true(lambda: not alive(first))
    daemon.start()
    assert ask(port, "GET", "/healthz/a") == (
        503,
        {"agent": "a", "ready": False, "reason": "paused"},
    )
    assert helper_pid(daemon) != first
    assert ask(port, "POST", "/api/v1/agents/agentd-http/kill")[0] == 409


def helper_pid(daemon: Daemon) -> int:
    shown = daemon.ask("status", all=True)["agents"]
    found: int = next(one["pid"] for one in shown if one["name"] == "agentd-http")
    return found


def test_a_server_that_cannot_run_as_it_is_set_up_says_why(kept: tuple[Daemon, int]) -> None:
    daemon, port = kept
    ask(port, "GET", "/healthz")
    (daemon.root / "token").write_text("short\n")
    with suppress(ProcessLookupError):
        signal_helper(daemon)

    def told() -> bool:
        logs = daemon.ask("logs", select=["agentd-http"])["logs"]
        return any("a token has at least" in line for line in logs[0]["lines"])

    daemon.until_true(told)


def signal_helper(daemon: Daemon) -> None:
    os.kill(helper_pid(daemon), signal.SIGTERM)
