"""What agents say that must not be lost, through a real daemon and a real disk."""

import json
import os
import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.daemon.harness import PROGRAMS, PYTHON, Daemon, Document, Refused
from tests.store.desk import fill

STATE = {"text": 'é "quoted" \\n \U0001f600', "numbers": [1.0, 1e300, -0.0, 2**53], "none": None}


class Voice:
    """A connection that speaks as an agent, by its token."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        pid = daemon.until_state(name, "running")["pid"]
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        environ = dict(word.decode().partition("=")[::2] for word in words)
        self.channel = daemon.connect(15.0)
        self.lines = self.channel.makefile("rb")
        self.tell({"id": "hello", "type": "hello", "token": environ["AGENTD_TOKEN"]})
        assert self.hear()["ok"]

    def tell(self, *lines: Document) -> None:
        self.channel.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def hear(self) -> Document:
        answer: Document = json.loads(self.lines.readline())
        return answer

    def ask(self, kind: str, **fields: object) -> Document:
        self.tell({"id": kind, "type": kind, **fields})
        return self.hear()


def kept(daemon: Daemon, name: str = "a") -> Document:
    found: Document = daemon.ask("checkpoints", select=[name])["agents"][0]
    return found


def test_a_put_and_then_a_get_on_one_connection_sees_the_put(daemon: Daemon) -> None:
    daemon.sleeper("a")
    daemon.start()
    voice = Voice(daemon, "a")
    assert voice.ask("checkpoint.get")["result"] == {"state": None, "unfinished": []}
    large = {**STATE, "large": "x" * ((1 << 20) - 500)}
    voice.tell({"type": "checkpoint.put", "state": [1]}, {"type": "checkpoint.get", "id": 2})
    assert voice.hear()["result"]["state"] == [1]
    put = {"type": "checkpoint.put", "id": 3, "state": STATE}
    voice.tell(put, {"type": "checkpoint.get", "id": 4})
    assert voice.hear() == {"id": 3, "ok": True, "result": {"seq": 2}}
    assert voice.hear()["result"]["state"] == STATE
    assert voice.ask("checkpoint.put", state=large)["ok"]
    assert voice.ask("checkpoint.get")["result"]["state"] == large
    assert [one["seq"] for one in kept(daemon)["checkpoints"]] == [3, 2, 1]
    shown = daemon.ask("checkpoints", select=["a"], state=True, seq=2)["agents"][0]
    assert shown["state"] == STATE
    with pytest.raises(Refused, match="bad_request"):
        daemon.ask("checkpoints", select=["a"], state=True, seq="x")


def test_the_next_incarnation_and_the_operator_see_what_was_in_flight(daemon: Daemon) -> None:
    daemon.sleeper("a", "[restart]\nhold_unfinished = true")
    daemon.start()
    voice = Voice(daemon, "a")
    detail = {"order": 918, "note": "é"}
    assert voice.ask("intent", key="refund:1", action="stripe.refund", detail=detail)["ok"]
    assert voice.ask("intent", key="s", action="search", idempotent=True)["ok"]
    assert voice.ask("done", key="s")["ok"]
    os.kill(daemon.status("a")["pid"], signal.SIGKILL)
    shown = daemon.until("a", lambda s: s["held"])
    assert shown["unfinished_actions"] == 1
    assert "refund:1" in shown["held_why"]
    [action] = kept(daemon)["unfinished"]
    assert (action["key"], action["cut_off"], action["detail"]) == ("refund:1", True, detail)
    told = daemon.events("a", "action.unfinished")
    assert [one["severity"] for one in told] == ["critical"]
    daemon.crash()
    daemon.start()
    assert daemon.status("a")["held"], "a human has not looked yet"
    daemon.ask("unhold", select=["a"])
    [action] = Voice(daemon, "a").ask("checkpoint.get")["result"]["unfinished"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", action.pop("at"))
    assert action == {"key": "refund:1", "action": "stripe.refund", "idempotent": False}


def test_inv10_a_damaged_state_is_passed_over_and_said(daemon: Daemon) -> None:
    daemon.sleeper("a")
    daemon.start()
    voice = Voice(daemon, "a")
    for number in (1, 2):
        assert voice.ask("checkpoint.put", state=number)["ok"]
    daemon.crash()
    with closing(sqlite3.connect(daemon.root / "state" / "agentd.db")) as store:
        store.execute("UPDATE checkpoints SET state = '3' WHERE seq = 2")
        store.commit()
    daemon.start()
    assert Voice(daemon, "a").ask("checkpoint.get")["result"]["state"] == 1
    daemon.until_true(lambda: len(daemon.events("a", "agent.checkpoint")) == 2)
    told = daemon.events("a", "agent.checkpoint")[-1]
    assert (told["severity"], told["data"]) == ("critical", {"damaged": [2]})


def committer(daemon: Daemon, *words: str, timeout: str = "10s") -> None:
    daemon.agent(
        "a",
        [PYTHON, "-S", str(PROGRAMS / "committer.py"), *words],
        f'[pause]\nmode = "checkpoint"\ncheckpoint_timeout = "{timeout}"',
    )


def count_of(shown: Document) -> int:
    return int(str(shown["task"]).removeprefix("count "))


def test_pause_by_checkpoint_ends_the_process_and_resume_goes_on_from_its_state(
    daemon: Daemon,
) -> None:
    committer(daemon)
    daemon.start()
    before = daemon.until("a", lambda s: s["task"] and count_of(s) > 3)
    daemon.ask("pause", select=["a"])
    paused = daemon.until_state("a", "paused")
    assert (paused["pid"], paused["reason"], paused["failures"]) == (None, "USER_PAUSED", 0)
    [current] = [one for one in kept(daemon)["checkpoints"] if one["current"]]
    assert current["execution"] == before["execution"]
    daemon.crash()
    daemon.start()
    assert daemon.status("a")["state"] == "paused"
    daemon.ask("resume", select=["a"])
    after = daemon.until("a", lambda s: s["state"] == "running" and s["task"])
    assert count_of(after) > count_of(before)
    assert after["execution"] == before["execution"]
    assert after["failures"] == 0


def test_a_daemon_that_is_killed_while_an_agent_commits_goes_on_with_the_pause(
    daemon: Daemon,
) -> None:
    committer(daemon, "slow=1")
    daemon.start()
    daemon.until("a", lambda s: s["task"] and count_of(s) > 3)
    daemon.ask("pause", select=["a"])
    daemon.crash()
    daemon.start()
    paused = daemon.until_state("a", "paused")
    assert (paused["pid"], paused["reason"]) == (None, "USER_PAUSED")
    assert kept(daemon)["checkpoints"]
    assert daemon.survivors() == []


def test_one_that_does_not_hear_is_stopped_all_the_same(daemon: Daemon) -> None:
    committer(daemon, "deaf=1", timeout="300ms")
    daemon.start()
    daemon.until("a", lambda s: s["task"])
    daemon.ask("pause", select=["a"])
    paused = daemon.until_state("a", "paused")
    assert (paused["pid"], paused["last_exit"]["signal"]) == (None, signal.SIGTERM)
    told = [one["message"] for one in daemon.events("a", "agent.stopping")]
    assert any("within 300ms" in message and "SIGTERM" in message for message in told)


@pytest.mark.root
def test_h1_while_nothing_can_be_recorded_nothing_is_called_kept(daemon: Daemon) -> None:
    state = daemon.root / "state"
    state.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "none", str(state)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        daemon.sleeper("a")
        daemon.start()
        voice = Voice(daemon, "a")
        assert voice.ask("checkpoint.put", state=0)["ok"]
        filler = fill(state)
        last, answer = 0, Document()
        for number in range(1, 200):
            answer = voice.ask("checkpoint.put", state=number)
            if not answer["ok"]:
                break
            last = number
        assert answer["error"]["code"] == "storage_unavailable"
        refused = voice.ask("intent", key="k", action="a")
        assert refused["error"]["code"] == "storage_unavailable"
        # What was kept before can be read all the same.
        assert voice.ask("checkpoint.get")["result"]["state"] == last
        filler.unlink()
        daemon.until_true(lambda: daemon.ask("status")["daemon"]["storage"] == "ok")
        assert voice.ask("checkpoint.put", state="after")["ok"]
        assert voice.ask("checkpoint.get")["result"]["state"] == "after"
    finally:
        daemon.close()
        subprocess.run(["umount", "-l", str(state)], check=True)


SDK_AGENT = """
import agentd, os, sys, time
count = (agentd.restored() or {"count": 0})["count"]
print("unfinished", [action["key"] for action in agentd.unfinished()], flush=True)
while not agentd.should_stop():
    count += 1
    agentd.heartbeat(task=f"count {count}")
    with agentd.action("deed", key=f"deed:{count}"):
        if os.path.exists(sys.argv[1]):
            os.remove(sys.argv[1])
            os.kill(os.getpid(), 9)
    time.sleep(0.05)
agentd.checkpoint({"count": count})
"""


def test_an_agent_with_the_sdk_commits_when_asked_and_learns_what_was_cut_off(
    daemon: Daemon,
) -> None:
    dies = daemon.root / "dies"
    daemon.agent("a", [PYTHON, "-c", SDK_AGENT, str(dies)], '[pause]\nmode = "checkpoint"')
    daemon.start()
    before = daemon.until("a", lambda s: s["task"] and count_of(s) > 5)
    daemon.ask("pause", select=["a"])
    paused = daemon.until_state("a", "paused")
    assert paused["last_exit"]["code"] == 0
    assert not daemon.events("a", "action.unfinished")
    daemon.ask("resume", select=["a"])
    running = daemon.until("a", lambda s: s["state"] == "running" and s["task"])
    assert count_of(running) > count_of(before)
    dies.write_text("")
    [told] = first(daemon, "action.unfinished")
    key = told["data"]["actions"][0]["key"]
    line = f"unfinished ['{key}']"
    daemon.until_true(lambda: line in daemon.ask("logs", select=["a"])["logs"][0]["lines"])


def first(daemon: Daemon, kind: str) -> list[Document]:
    """Wait for the first event of a kind."""
    daemon.until_true(lambda: daemon.events("a", kind))
    return daemon.events("a", kind)
