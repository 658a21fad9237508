"""A bug of ours that quotes what an agent said: the secret in it is told to nobody.

An exception's text goes to the log, the journal and whoever asked, and none of them may name a
secret, however Python quoted it.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.daemon.harness import WAIT_S, Daemon, Document, read_line
from tests.places import short_root
from tests.security.cast import token_of

STUMBLING = (Path(__file__).parent / "programs" / "stumbling.py").read_text()
MARK, END = "canary-of-a-fault", "end-of-it"
# As it is, and such that each way of quoting changes it.
SECRETS = {
    "plain": f"{MARK}-5a6b7c8d-{END}",
    "quoted": f'{MARK}-"it\'s"\\n-\u00e9-\n9e0f-{END}',
}
VARIABLES = ", ".join(f"{kind}_KEY_SECRET = {json.dumps(SECRETS[kind])}" for kind in SECRETS)
CONFIG = f"environment = {{ {VARIABLES} }}"


@pytest.fixture(scope="module")
def stumbling() -> Iterator[Daemon]:
    with short_root() as root, closing(Daemon(root)) as daemon:
        daemon.run = STUMBLING
        daemon.sleeper("holder", CONFIG)
        yield daemon.start()


def says(daemon: Daemon, *lines: Document) -> list[Document]:
    """Speak as the agent; return the answers."""
    hello = {"type": "hello", "token": token_of(daemon, "holder")}
    answers = []
    with daemon.connect(WAIT_S) as channel:
        for number, line in enumerate((hello, *lines)):
            channel.sendall(json.dumps({"id": number, **line}).encode() + b"\n")
            answers.append(json.loads(read_line(channel)))
    return answers


def logged(daemon: Daemon) -> str:
    """What the daemon wrote to stderr, all of it."""
    return (daemon.root / "stderr").read_text()


@pytest.mark.parametrize("kind", SECRETS)
def test_l7_a_fault_that_quotes_a_secret_is_logged_and_told_without_it(
    stumbling: Daemon, kind: str
) -> None:
    daemon, told = stumbling, SECRETS[kind]
    before = len(logged(daemon))
    for place in ("core", "callback", "thread"):
        says(daemon, {"status": "ok", "task": f"{place} {told}"})
    said = says(daemon, {"status": "ok", "task": f"recall {told}"}, {"type": "checkpoint.get"})
    replies = {"recall": said[-1]}
    for cmd, place in (("status", "command"), ("show", "answer")):
        with daemon.connect(WAIT_S) as channel:
            line = {"id": kind, "cmd": cmd, "args": {"select": [f"{place} {told}"]}}
            channel.sendall(json.dumps(line).encode() + b"\n")
            replies[place] = json.loads(read_line(channel))
    # Nobody answers a line whose judging failed.
    with daemon.connect(WAIT_S) as channel:
        lines = (
            {"type": "hello", "token": token_of(daemon, "holder")},
            {"status": "ok", "task": f"connection {told}"},
        )
        channel.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        daemon.until_true(lambda: "connection.fault" in logged(daemon)[before:])
    daemon.until_true(lambda: logged(daemon)[before:].count("KeyError") >= 7)
    for place, reply in replies.items():
        assert reply["error"]["code"] == "internal", (place, reply)
        assert "***" in reply["error"]["message"], (place, reply)
        assert MARK not in json.dumps(reply), place
    text = logged(daemon)[before:]
    for event in ("daemon.fault", "command.fault", "command.failed", "recall.failed"):
        assert event in text
    # Nor the end of one, where an argument of a callback was cut in its middle.
    assert [line for line in text.splitlines() if MARK in line or END in line] == []
    daemon.until_true(lambda: daemon.events(kind="daemon.fault"))
    for event in daemon.events():
        assert MARK not in json.dumps(event)
    assert "***" in daemon.events(kind="daemon.fault")[-1]["message"]


@pytest.mark.parametrize("kind", ["KeyError", "OSError"])
def test_l7_the_last_words_of_a_daemon_that_a_bug_ends_name_no_secret(
    daemon: Daemon, kind: str
) -> None:
    daemon.run = STUMBLING
    daemon.sleeper("holder", CONFIG)
    daemon.start(ready=False, env={"STUMBLES_AT_START": f"{kind} {' '.join(SECRETS.values())}"})
    assert daemon.process is not None
    assert daemon.process.wait(60) == 1
    assert f"{kind} ***" in logged(daemon)
    assert MARK not in logged(daemon)
