"""A judge command asked by a real daemon: what it reads, what becomes of what it prints."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.harness import Daemon, Document
from tests.daemon.puppets import Puppet

HIDDEN = "hunter22-a-secret"
AGENT = """
[environment]
API_KEY = "{secret}"
[heartbeat]
required = false
[judge]
command = ["/bin/sh", "{script}"]
after = 4
every = 2
window = 4
timeout = "{timeout}"
on_drift = "{action}"
"""
DEFAULTS = {"timeout": "10s", "action": "alert", "secret": "none"}


@pytest.fixture
def puppets() -> Iterator[list[Puppet]]:
    made: list[Puppet] = []
    yield made
    for puppet in made:
        puppet.close()


class Bench:
    """One agent with a judge that is a shell script."""

    def __init__(self, daemon: Daemon, puppets: list[Puppet], script: str, **keys: str) -> None:
        self.daemon, self.steps = daemon, 0
        path = daemon.root / "judge.sh"
        path.write_text(script)
        text = AGENT.format(script=path, **{**DEFAULTS, **keys})
        self.puppet = Puppet(daemon, "a", text)
        puppets.append(self.puppet)
        daemon.start()
        self.puppet.appear()

    def step(self, count: int) -> None:
        for _ in range(count):
            self.steps += 1
            line = {"type": "step", "step": self.steps, "tool": f"t{self.steps}"}
            self.puppet.ask({**line, "note": f"page {self.steps}", "out_nfp": str(self.steps)})

    def told(self, kind: str) -> Document:
        """The first event of a kind, once there is one."""
        story = lambda: json.dumps(self.daemon.events("a"))  # noqa: E731 - one line for an error
        self.daemon.until_true(lambda: self.daemon.events("a", kind), story)
        return self.daemon.events("a", kind)[0]


def say(**word: object) -> str:
    return f"cat > /dev/null\necho warning: slow >&2\necho '{json.dumps(word)}'\n"


AGAINST = say(closer=False, confidence=0.97, reason="it rereads one page", cost_usd=0.25)


def test_it_reads_what_the_agent_did_and_the_tail_of_its_log(
    daemon: Daemon, puppets: list[Puppet]
) -> None:
    asked = Path(daemon.root) / "asked.json"
    bench = Bench(daemon, puppets, f"cat > {asked}.part; mv {asked}.part {asked}\necho '{{}}'\n")
    bench.puppet.ask({"goal": "sell", "task": "t-9", "progress": 0.5})
    bench.step(4)
    daemon.until_true(asked.exists)
    shown = json.loads(asked.read_text())
    assert shown.keys() == {"agent", "goal", "task", "progress", "steps", "notes", "log_tail"}
    assert (shown["agent"], shown["goal"], shown["task"]) == ("a", "sell", "t-9")
    assert [step["tool"] for step in shown["steps"]] == ["t1", "t2", "t3", "t4"]
    assert shown["notes"] == ["page 1", "page 2", "page 3", "page 4"]
    assert "speaking through" in " ".join(shown["log_tail"])
    assert "closer" in bench.told("judge.failed")["message"]  # {} is no judgement


def test_its_word_is_acted_on_when_it_is_confirmed_and_its_cost_is_the_agents(
    daemon: Daemon, puppets: list[Puppet]
) -> None:
    bench = Bench(daemon, puppets, AGAINST, action="pause")
    bench.step(4)
    assert "it rereads one page" in bench.told("drift.warning")["message"]
    steer = bench.puppet.control("steer")
    assert (steer["reason"], steer["event"]) == ("DRIFT_DETECTED", "drift.warning")
    bench.step(2)
    assert bench.told("drift.detected")["reason"] == "DRIFT_DETECTED"
    shown = daemon.until_state("a", "paused")
    assert shown["cost_usd"]["run"] == 0.5
    assert shown["reason"] == "DRIFT_DETECTED"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'no key' >&2; exit 3", "exited with code 3: no key"),
        ("exec sleep 60", "took longer than 0.3 s"),
        ("echo closer", "not a judgement"),
        ('echo \'{"closer": "no", "confidence": 1}\'', "closer"),
        ('echo \'{"closer": false, "confidence": 2}\'', "confidence"),
        ("true", "it printed nothing on stdout"),
        ("head -c 70000 /dev/zero | tr '\\0' x", "more than 64 KiB"),
    ],
)
def test_a_judge_that_fails_is_no_verdict(
    daemon: Daemon, puppets: list[Puppet], script: str, told: str
) -> None:
    bench = Bench(daemon, puppets, f"{script}\n", timeout="300ms" if "sleep" in script else "10s")
    bench.step(4)
    assert told in bench.told("judge.failed")["message"]
    assert not daemon.events("a", "drift.warning")
    assert daemon.status("a")["state"] == "running"


@pytest.mark.parametrize("fails", [False, True])
def test_no_secret_gets_past_the_masks_by_way_of_a_judge(
    daemon: Daemon, puppets: list[Puppet], *, fails: bool
) -> None:
    reason = f"it uses {HIDDEN}"
    word = say(closer=False, confidence=0.97, reason=reason)
    script = f"echo '{reason}' >&2; exit 3\n" if fails else word
    bench = Bench(daemon, puppets, script, action="pause", secret=HIDDEN)
    bench.puppet.ask({"goal": f"use {HIDDEN}", "task": HIDDEN})
    bench.step(4)
    if fails:
        assert "it uses ***" in bench.told("judge.failed")["message"]
        shown = daemon.status("a")
    else:
        bench.told("drift.warning")
        bench.step(2)
        shown = daemon.until_state("a", "paused")
        assert shown["evidence"].endswith("it uses ***")
    assert (shown["goal"], shown["task"]) == ("use ***", "***")
    assert HIDDEN not in json.dumps(shown)
    assert HIDDEN not in (daemon.root / "stderr").read_text()


def test_a_judge_does_not_hold_the_daemon_up(daemon: Daemon, puppets: list[Puppet]) -> None:
    bench = Bench(daemon, puppets, "exec sleep 600\n", timeout="10m")
    bench.step(6)
    assert daemon.status("a")["state"] == "running"
    assert daemon.end() == 0
