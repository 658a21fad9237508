"""The sinks that are programs: the command, and apprise; and the files of secrets."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.config.schema import SinkConfig
from agentd.sinks import apprise, apprise_child
from agentd.sinks.message import DeliveryFailed, Message, Program, Resources
from agentd.sinks.registry import sink_of
from agentd.sinks.secret_files import filled_lines, first_line
from tests.sinks.receiver import Mood, Receiver
from tests.sinks.samples import CANARY, TRIGGER, Ended, config, resources, run


def failure(described: SinkConfig, directory: Path, message: Message = TRIGGER) -> str:
    with pytest.raises(DeliveryFailed) as raised:
        sink_of(described, resources(directory)).deliver(message)
    return str(raised.value)


# --- command


def test_a_command_reads_the_document_and_no_shell_is_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = f"tee {out} '; touch {tmp_path}/hacked'"
    with pytest.raises(DeliveryFailed):  # tee can't write into a directory that isn't there
        sink_of(config("command", command=command), resources(tmp_path)).deliver(TRIGGER)
    assert json.loads(out.read_text())["alert_id"] == "a-1"
    assert not (tmp_path / "hacked").exists()


def test_a_command_that_fails_says_how(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no such room >&2; exit 3"]
    told = failure(config("command", command=command), tmp_path)
    assert told == "the command exited with code 3: no such room"


def test_a_command_is_given_a_deadline(tmp_path: Path) -> None:
    asked: list[Program] = []

    def late(program: Program) -> Ended:
        asked.append(program)
        return Ended(ok=False, told="took longer than 30 s")

    sink = sink_of(config("command", command=["x", "y"]), Resources(tmp_path, late))
    with pytest.raises(DeliveryFailed, match=r"^the command took longer than 30 s$"):
        sink.deliver(TRIGGER)
    [program] = asked
    assert (program.argv, program.timeout_ms) == (("x", "y"), 30_000)
    assert json.loads(program.stdin)["kind"] == "trigger"


# --- apprise


@pytest.fixture
def _apprise() -> None:
    pytest.importorskip("apprise")


@pytest.mark.usefixtures("_apprise")
def test_apprise_delivers_by_a_program_of_its_own(receiver: Receiver, tmp_path: Path) -> None:
    url = receiver.at("/in").replace("http://", "json://")
    described = config("apprise", url=url)
    sink_of(described, resources(tmp_path)).deliver(TRIGGER)
    sent = receiver.accepted()[0].json()
    assert sent["title"] == "CRITICAL: orders on web-1: agent.unreachable (TIMEOUT)"
    assert str(sent["message"]).endswith("next: agentctl incident 12")
    assert sent["type"] == "failure"


@pytest.mark.usefixtures("_apprise")
def test_words_of_agents_are_no_html_where_a_service_takes_it(
    receiver: Receiver, tmp_path: Path
) -> None:
    url = receiver.at("/in?format=html").replace("http://", "json://")
    event = {**TRIGGER.event, "message": "<img src=https://evil/>"}
    sink_of(config("apprise", url=url), resources(tmp_path)).deliver(replace(TRIGGER, event=event))
    said = str(receiver.accepted()[0].json()["message"])
    assert "&lt;img" in said
    assert "<img" not in said


@pytest.mark.usefixtures("_apprise")
def test_each_url_of_the_file_is_sent_to_and_those_that_fail_are_named_by_number(
    receiver: Receiver, tmp_path: Path
) -> None:
    good = receiver.at(f"/{CANARY}").replace("http://", "json://")
    (tmp_path / "urls").write_text(
        f"# the night shift\n{good}\n\njson://127.0.0.1:1/{CANARY}\nno-such-service://{CANARY}\n"
    )
    told = failure(config("apprise", url_file="urls"), tmp_path)
    assert told.startswith("apprise exited with code 1: not delivered by URL 2 (JSON), URL 3 (")
    assert CANARY not in told
    assert len(receiver.accepted()) == 1


@pytest.mark.usefixtures("_apprise")
@pytest.mark.parametrize(("kind", "type_"), [("resolve", "success"), ("reminder", "failure")])
def test_good_news_looks_like_it(receiver: Receiver, tmp_path: Path, kind: str, type_: str) -> None:
    url = receiver.at("/in").replace("http://", "json://")
    message = replace(TRIGGER, kind=kind)  # type: ignore[arg-type]
    sink_of(config("apprise", url=url), resources(tmp_path)).deliver(message)
    assert receiver.accepted()[0].json()["type"] == type_


def test_without_the_extra_the_failure_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apprise, "PACKAGE", "no_such_package")
    told = failure(config("apprise", url="json://x"), tmp_path)
    assert "pip install 'agentd-supervisor[apprise]'" in told


def test_l7_the_urls_are_on_stdin_and_not_in_the_command_line(tmp_path: Path) -> None:
    asked: list[Program] = []

    def note(program: Program) -> Ended:
        asked.append(program)
        return Ended(ok=True, told="")

    pytest.importorskip("apprise")
    sink_of(config("apprise", url=f"json://{CANARY}"), Resources(tmp_path, note)).deliver(TRIGGER)
    [program] = asked
    assert CANARY in program.stdin.decode()
    assert CANARY not in repr((program.argv, program.environment))


def test_l7_a_program_that_breaks_tells_the_kind_of_error_alone() -> None:
    ended = run(
        Program((sys.executable, "-m", apprise.PROGRAM), f"{{{CANARY}".encode(), 30_000, PLACES)
    )
    assert not ended.ok
    assert ended.told == "exited with code 2: JSONDecodeError"


PLACES = {"PYTHONPATH": apprise._places()}
# In the place of the library: one that tells its URL to everybody.
TALKATIVE = """
import logging, sys

class Service:
    service_name = "Talk"
    def __init__(self, url):
        self.url = url
    def notify(self, **_):
        print(self.url)
        print(self.url, file=sys.stderr)
        logging.getLogger("apprise").error(self.url)
        return False

class Apprise:
    @staticmethod
    def instantiate(url, suppress_exceptions):
        return Service(url)
"""


def test_l7_what_the_library_says_stays_in_the_program(tmp_path: Path) -> None:
    (tmp_path / "apprise.py").write_text(TALKATIVE)
    asked = {"urls": [f"talk://{CANARY}"], "title": "t", "body": "b", "type": "info"}
    places = {"PYTHONPATH": f"{tmp_path}:{apprise._places()}"}
    words = (sys.executable, "-m", apprise.PROGRAM)
    ended = run(Program(words, json.dumps(asked).encode(), 30_000, places))
    assert ended.told == "exited with code 1: not delivered by URL 1 (Talk)"


def test_the_daemon_never_loads_apprise_itself() -> None:
    code = (
        "import sys, agentd.sinks.registry, agentd.sinks.apprise_child;"
        "sys.exit(bool({'apprise', 'requests', 'http.client', 'ssl'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert apprise_child.__doc__


@pytest.mark.usefixtures("_apprise")
def test_what_apprise_says_of_a_receiver_that_refuses_stays_inside(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.mood = Mood.ERROR
    url = receiver.at(f"/{CANARY}").replace("http://", "json://")
    told = failure(config("apprise", url=url), tmp_path)
    assert told == "apprise exited with code 1: not delivered by URL 1 (JSON)"


# --- files of secrets


def test_a_secret_is_the_first_line_without_white_space(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(f" {CANARY}\t\r\nrest\n")
    assert first_line(resources(tmp_path), "f") == CANARY


def test_a_secret_file_may_be_named_by_a_whole_path(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(CANARY)
    assert first_line(resources(Path("/nowhere")), str(tmp_path / "f")) == CANARY


def test_lines_of_a_file_without_blanks_and_comments(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("# x\n\n a://b \nc://d")
    assert filled_lines(resources(tmp_path), "f") == ["a://b", "c://d"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "its first line is empty"),
        (b"\nsecret\n", "its first line is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * 100_000, "larger than 64 KiB"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_path(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DeliveryFailed, match=told) as raised:
        first_line(resources(tmp_path), "f")
    assert str(tmp_path / "f") in str(raised.value)


@pytest.mark.parametrize("name", [".", "missing", "missing/too", "a\0b"])
def test_what_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(DeliveryFailed, match="cannot be read"):
        first_line(resources(tmp_path), name)


def test_a_file_of_comments_alone_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("# nothing yet\n")
    with pytest.raises(DeliveryFailed, match="one URL a line"):
        filled_lines(resources(tmp_path), "f")
