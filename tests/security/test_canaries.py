"""A canary in every place that holds a secret, and a look at everything that agentd puts out.

Where a canary may be found is said here, place by place; anywhere else it is a leak.
"""

import contextlib
import http.client
import json
import re
import signal
import sqlite3
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentd.http.application import PAGES
from agentd.http.routes import ROUTES
from tests.daemon.harness import WAIT_S, Daemon, environment
from tests.security.planting import (
    AGENTCTL,
    AGENTD,
    CANARIES,
    SAID,
    Planted,
    agentctl,
    carried,
    leaks,
    output_of,
    planted_daemon,
)

# Files of a user's own, where he wrote them down.
WRITTEN = (".toml", ".env", ".secret")
# Columns of the store with words that an agent gets back as it said them: its saved states, and
# among its record the details of its actions.
STATES, RECORDS = ("checkpoints", "state"), ("agents", "durable")
# Of an address's parts, each that there is; {host} is of another machine.
PARTS = {"name": "holder", "id": "1", "kind": "heartbeats", "date": "today"}


@pytest.fixture(scope="module")
def planted() -> Iterator[Planted]:
    """A daemon with a canary in every place, whose agents have told theirs and failed."""
    with planted_daemon() as found:
        assert found.used == set(CANARIES)
        yield found


def test_l7_no_document_and_no_view_shows_a_secret(planted: Planted) -> None:
    daemon = planted.daemon
    daemon.until_true(lambda: daemon.ask("incidents")["incidents"])
    number = str(daemon.ask("incidents")["incidents"][0]["id"])
    commands = [
        *(["status"], ["status", "--json"], ["status", "holder"], ["show", "holder"]),
        *(["show", "keeper", "--json"], ["events", "-n", "1000"], ["events", "--json"]),
        *(["incidents"], ["incident", number], ["incident", number, "--json"], ["daemon"]),
        *(["history"], ["report", "--date", "today"], ["report", "--date", "today", "--json"]),
        *(["report", "--date", "today", "--markdown"], ["alerts"], ["breakers"], ["reload"]),
        *(["logs", "holder"], ["logs", "keeper", "--json"], ["events", "--trace", "keeper"]),
        *(["checkpoints"], ["status", "keeper", "--json"]),
    ]
    found = {" ".join(words): leaks(agentctl(daemon, *words)) for words in commands}
    assert {words: names for words, names in found.items() if names} == {}
    documents = ("status", "show", "events", "incidents", "history", "alerts", "breakers", "daemon")
    for name in documents:
        assert leaks(json.dumps(daemon.ask(name))) == [], name
    assert leaks((daemon.root / "stderr").read_bytes()) == []
    assert leaks(output_of([str(AGENTD), "check", "--config", str(daemon.config)])) == []
    assert leaks("\n".join([*daemon.notified, *daemon.heard()])) == []


def test_l7_an_alert_names_no_secret_but_the_one_that_it_is_sent_with(planted: Planted) -> None:
    received = planted.receiver.received
    addressed = {"url_file": "hook", "url_file of apprise": "many", "routing_key_file": "duty"}

    def of(place: str, text: str | bytes) -> bool:
        return place in leaks(text)

    def arrived() -> set[str]:
        return {
            place
            for place in addressed
            for one in received
            if of(place, one.path) or of(place, one.body)
        }

    planted.daemon.until_true(lambda: arrived() == addressed.keys(), lambda: str(arrived()))
    for one in received:
        assert leaks(one.path, but=("url_file", "url_file of apprise")) == []
        body_may = ("routing_key_file",) if one.path.endswith("/duty") else ()
        assert leaks(one.body, but=body_may) == [], one.path
        assert leaks(str(dict(one.headers))) == []


@contextlib.contextmanager
def following(daemon: Daemon, place: Path, *words: str) -> Iterator[Path]:
    """Run an `agentctl` that follows, until it is told Ctrl-C; what it puts out is in a file."""
    with place.open("wb") as out:
        process = subprocess.Popen(
            [str(AGENTCTL), "--socket", str(daemon.socket), *words],
            stdout=out,
            stderr=out,
            env=environment(),
        )
        try:
            yield place
            process.send_signal(signal.SIGINT)
            process.wait(WAIT_S)
        finally:
            process.kill()
            process.wait()


def test_l7_no_stream_and_no_page_shows_a_secret(planted: Planted, tmp_path: Path) -> None:
    """All that follows what goes on listens while an agent tells its secrets once more."""
    daemon = planted.daemon
    daemon.until_true(lambda: is_served(planted))
    commands = {
        "events": ["events", "-f"],
        "events.json": ["--json", "events", "-f"],
        "logs": ["logs", "-f", "holder"],
        "logs.json": ["--json", "logs", "-f", "holder"],
    }
    with contextlib.ExitStack() as followers:
        outputs = {
            name: followers.enter_context(following(daemon, tmp_path / name, *words))
            for name, words in commands.items()
        }
        stream = followers.enter_context(closing(get(planted, "/api/v1/stream")))
        heard = stream.readline()
        daemon.until_true(lambda: all(path.read_bytes() for path in outputs.values()))
        before = {name: path.stat().st_size for name, path in outputs.items()}
        escalated = len(daemon.events("holder", "agent.escalated"))
        daemon.ask("reset", select=["holder"])
        daemon.until_true(lambda: len(daemon.events("holder", "agent.escalated")) > escalated)

        def news(name: str) -> str:
            return outputs[name].read_bytes()[before[name] :].decode()

        for name in commands:
            told = "escalated" if name.startswith("events") else "starting with ***"
            daemon.until_true(lambda name=name, told=told: told in news(name))
        while b"agent.escalated" not in heard:
            heard += stream.readline()
    found = {name: leaks(path.read_bytes()) for name, path in outputs.items()}
    assert found == {name: [] for name in commands}
    assert leaks(heard) == []


def get(planted: Planted, path: str) -> http.client.HTTPResponse:
    """Ask the dashboard with its token."""
    connection = http.client.HTTPConnection("127.0.0.1", planted.port, timeout=WAIT_S)
    token = CANARIES["token_file of [http]"]
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    return connection.getresponse()


def test_l7_no_page_and_no_address_of_the_api_shows_a_secret(planted: Planted) -> None:
    paths = [path for path, _ in PAGES]
    paths += [each.path for each in ROUTES if each.method == "GET" and "stream" not in each.path]
    paths += ["/agents/{name}/spark/tokens.svg", "/api/v1/history?series=true"]
    planted.daemon.until_true(lambda: is_served(planted))
    found = {}
    for path in paths:
        answer = get(planted, re.sub(r"\{(\w+)\}", lambda part: PARTS[part[1]], path))
        raw = answer.read() + str(answer.headers).encode()
        assert answer.status in (200, 503), (path, raw)  # 503: of an agent that isn't ready
        found[path] = leaks(raw)
    assert found == {path: [] for path in found}


def is_served(planted: Planted) -> bool:
    try:
        return get(planted, "/healthz").status == 200
    except ConnectionError:
        return False


def test_l7_no_process_but_the_agents_own_carries_a_secret(planted: Planted) -> None:
    daemon = planted.daemon
    keeper = daemon.status("keeper")["pid"]
    given = tuple(place for place in SAID if place != "word of a command")
    may = {
        ("environ", keeper): given,
        ("cmdline", keeper): ("word of a command",),
        ("environ", daemon.pid): ("the daemon's environment",),
    }
    found = {}
    for kind in ("cmdline", "environ"):
        for pid, raw in carried(kind).items():
            # Whoever writes a secret into a command has it shown there, while that runs.
            is_sink = kind == "cmdline" and b"\0told\0--token=" in raw
            theirs = ("command sink",) if is_sink else may.get((kind, pid), ())
            found[kind, pid] = leaks(raw, but=theirs)
    assert {place: names for place, names in found.items() if names} == {}


def test_l7_a_daemon_that_is_aborted_leaves_no_core(planted: Planted) -> None:
    daemon = planted.daemon
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    [core] = [line.split() for line in limits.splitlines() if line.startswith("Max core")]
    assert core[4] == "0"
    before = {path.name for path in Path.cwd().iterdir()}
    daemon.signal(signal.SIGABRT)
    assert daemon.process is not None
    assert daemon.process.wait(15) == -signal.SIGABRT
    assert {path.name for path in Path.cwd().iterdir()} == before
    assert leaks((daemon.root / "stderr").read_bytes()) == []


def test_l7_no_file_of_ours_holds_a_secret_but_what_the_agent_wrote_itself(
    planted: Planted,
) -> None:
    daemon = planted.daemon
    assert daemon.process is not None
    assert daemon.process.poll() is not None  # the test before has ended it
    for path in daemon.root.rglob("*"):
        if not path.is_file() or path.name.endswith(WRITTEN):
            continue
        # Its output is kept as it is; its checkpoints and actions it gets back as they were.
        own = path.suffix == ".log" or path.name.startswith("agentd.db")
        assert leaks(path.read_bytes(), but=tuple(SAID) if own else ()) == [], path


def test_l7_no_row_of_the_store_holds_a_secret_but_what_an_agent_is_given_back(
    planted: Planted,
) -> None:
    """Its rows are what every view, alert and report is made of."""
    daemon = planted.daemon
    kept = list(cells(daemon.root / "state" / "agentd.db"))
    assert {place for place, value in kept if leaks(value)} >= {STATES, RECORDS}, "nothing was kept"
    found = [(place, leaks(without_given_back(place, value))) for place, value in kept]
    assert [(place, names) for place, names in found if names] == []
    tables = {table for (table, _), _ in kept}
    assert {"events", "agents", "incidents", "evidence", "alerts", "deliveries"} <= tables


def cells(store: Path) -> Iterator[tuple[tuple[str, str], bytes]]:
    """Every value of every row, by table and column; what is packed, unpacked."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        words = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (table,) in connection.execute(words).fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - our own names
            columns = [name for name, *_ in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    yield (table, column), plain(value)


def plain(value: object) -> bytes:
    if not isinstance(value, bytes):
        return str(value).encode()
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def without_given_back(place: tuple[str, str], value: bytes) -> bytes:
    if place == STATES:
        return b""
    if place != RECORDS:
        return value
    record = json.loads(value)
    for action in record["unfinished"]:
        action.pop("detail")
    return json.dumps(record).encode()
