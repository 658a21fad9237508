"""Breakers of a real daemon: two agents, one dependency, and what people see of it."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.daemon.harness import DEFAULTS, PYTHON, Daemon, Document
from tests.daemon.puppets import Line, Puppet

QUIET = "[heartbeat]\nrequired = false\n[restart]\ncooldown = '60s'\n"
BREAKER = '[breakers.api]\nfailures = 3\nreset = "700ms"\n'


@pytest.fixture
def pair(daemon: Daemon) -> Iterator[tuple[Puppet, Puppet]]:
    """Two agents that use one dependency."""
    daemon.configure(extra=DEFAULTS + BREAKER)
    one, other = Puppet(daemon, "one", QUIET), Puppet(daemon, "other", QUIET)
    daemon.start()
    yield one.appear(), other.appear()
    one.close()
    other.close()


def report(puppet: Puppet, *, ok: bool = False) -> None:
    puppet.ask({"type": "breaker", "name": "api", "ok": ok, "error": None if ok else "503"})


def may(puppet: Puppet) -> Line:
    return puppet.ask({"type": "breaker.ask", "name": "api"})


def shown(daemon: Daemon) -> Document:
    [breaker] = daemon.ask("breakers")["breakers"]
    found: Document = breaker
    return found


def opened(daemon: Daemon, pair: tuple[Puppet, Puppet]) -> None:
    one, other = pair
    report(one)
    report(other)
    report(other)
    daemon.until_true(lambda: daemon.events(kind="breaker.opened"))


def test_it_opens_for_both_and_lets_one_trial_through(
    daemon: Daemon, pair: tuple[Puppet, Puppet]
) -> None:
    one, other = pair
    assert may(one) == {"state": "closed", "allow": True, "retry_allowed": True, "retry_in_s": 0}
    opened(daemon, pair)
    for puppet in pair:
        told = puppet.control("breaker")
        assert (told["name"], told["state"], told["reason"]) == ("api", "open", "DEPENDENCY_DOWN")
        assert told["retry_in_s"] == 0.7
    said = may(one)
    assert (said["state"], said["allow"]) == ("open", False)
    assert 0 < said["retry_in_s"] <= 0.7
    assert shown(daemon)["state"] == "open"
    assert (shown(daemon)["agents"], shown(daemon)["last_error"]) == (["one", "other"], "503")
    daemon.until_true(lambda: daemon.events(kind="breaker.half_open"))
    assert may(one)["allow"] is True
    assert may(other)["allow"] is False
    report(one, ok=True)
    daemon.until_true(lambda: daemon.events(kind="breaker.closed"))
    assert may(other)["allow"] is True
    states = ["open", "half_open", "closed"]
    assert [other.control("breaker")["state"] for _ in states[1:]] == states[1:]


def test_agents_that_fail_of_it_name_it_and_are_one_piece_of_news(
    daemon: Daemon, pair: tuple[Puppet, Puppet]
) -> None:
    opened(daemon, pair)
    for name, puppet in zip(("one", "other"), pair, strict=True):
        puppet.say({"exit": 1})
        last = daemon.until(name, lambda s: s["last_exit"])["last_exit"]
        assert last["reason"] == "DEPENDENCY_DOWN"
        assert "api (breaker" in last["evidence"]
    [event] = daemon.events(kind="breaker.opened")
    assert (event["agent"], event["severity"]) == (None, "warning")
    assert event["data"]["agents"] == ["one", "other"]


def test_people_see_it_and_a_reload_changes_it(daemon: Daemon, pair: tuple[Puppet, Puppet]) -> None:
    opened(daemon, pair)
    ctl = [PYTHON, "-m", "agentd.cli", "--socket", str(daemon.socket), "breakers"]
    text = subprocess.run(ctl, capture_output=True, text=True, check=True).stdout
    assert "api" in text
    assert "one, other" in text
    document = subprocess.run([*ctl, "--json"], capture_output=True, text=True, check=True).stdout
    [breaker] = json.loads(document)["breakers"]
    assert (breaker["name"], breaker["failures"], breaker["configured"]) == ("api", 3, True)
    daemon.configure(extra=DEFAULTS + BREAKER.replace("failures = 3", "failures = 1"))
    daemon.ask("reload")
    daemon.until_true(lambda: daemon.events(kind="breaker.half_open"))
    report(pair[0], ok=True)
    report(pair[0])
    daemon.until_true(lambda: len(daemon.events(kind="breaker.opened")) == 2)


def test_a_breaker_is_not_refused_any_more(daemon: Daemon) -> None:
    daemon.configure(extra=DEFAULTS + BREAKER)
    daemon.start()
    assert "breakers" not in " ".join(daemon.ask("status")["daemon"].get("no_effect_yet") or [])
