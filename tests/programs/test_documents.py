"""What `--json` prints is what the contract promises, from a daemon that has seen some trouble."""

import json
import subprocess
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.daemon.harness import PYTHON, Daemon
from tests.programs import schemas
from tests.programs.places import AGENTCTL, AGENTD, AGENTS
from tests.programs.test_raw_line import BEAT, CALL, LAST

Document = dict[str, Any]


def assert_fits(document: Document, schema: schemas.Schema) -> None:
    """Name every place where a document isn't as promised."""
    found = Draft202012Validator(schema).iter_errors(document)
    assert not [f"{error.json_path}: {error.message}" for error in found]


def asked(daemon: Daemon, *words: str) -> Document:
    done = subprocess.run(
        [AGENTCTL, "--socket", str(daemon.socket), "--json", *words],
        capture_output=True,
        timeout=30,
        check=False,
    )
    document: Document = json.loads(done.stdout)
    return document


def test_status_and_events_of_a_fleet_in_every_condition(daemon: Daemon) -> None:
    lines = [json.dumps(line) for line in (BEAT, LAST, {**CALL, "deadline_s": 60})]
    talker = [PYTHON, "-S", str(AGENTS / "worker.py"), *lines]
    daemon.agent("talker", talker, 'memory.limit = "512M"\ntags = ["shop"]')
    parked = json.dumps({"status": "error", "retry_after_s": 60})
    daemon.agent("parked", [PYTHON, "-S", str(AGENTS / "worker.py"), parked])
    daemon.sleeper("killed")
    daemon.sleeper("paused")
    daemon.sleeper("stopped", "autostart = false")
    daemon.sleeper("waiting", 'depends_on = ["stopped"]')
    daemon.agent("done", ["true"], "heartbeat.required = false")
    daemon.agent("cooling", ["sh", "-c", "exit 3"], 'restart.cooldown = "60s"\n'
                 "heartbeat.required = false")  # fmt: skip
    daemon.agent("crashed", ["sh", "-c", "kill -SEGV $$"], "restart.failures_max = 1\n"
                 "heartbeat.required = false")  # fmt: skip
    daemon.agent("missing", ["/nonexistent"], "restart.failures_max = 1")
    daemon.agent("mute", ["sleep", "600"])  # until its startup times out, nothing is known
    (daemon.root / "agents.d" / "outside.toml").write_text("external = true\n")
    daemon.start()
    for name, state in (("talker", "running"), ("parked", "parked"), ("done", "completed"),
                        ("cooling", "cooldown"), ("crashed", "escalated"),
                        ("missing", "escalated"), ("paused", "running"), ("killed", "running"),
                        ("mute", "starting")):  # fmt: skip
        daemon.until_state(name, state)
    daemon.until("talker", lambda shown: shown["heartbeats"] == 2 and shown["rss_bytes"])
    daemon.ask("kill", select=["killed"], reason="enough")
    daemon.ask("pause", select=["paused"])
    daemon.until_state("killed", "stopped")
    daemon.until_state("paused", "paused")
    document = asked(daemon, "status", "--all")
    assert_fits(document, schemas.STATUS)
    shown = {agent["name"]: agent for agent in document["agents"]}
    assert shown["waiting"]["blocked_by"] == ["stopped"]
    assert shown["missing"]["last_exit"]["reason"] == "SPAWN_FAILED"
    assert shown["crashed"]["last_exit"]["signal"] == 11
    assert sum(document["summary"].values()) == len(document["agents"]) == 12
    events = asked(daemon, "events", "-n", "1000")
    assert_fits(events, schemas.record(events=schemas.several(schemas.EVENT)))
    ids = [event["id"] for event in events["events"]]
    assert ids == list(range(1, len(ids) + 1))


def test_reload_show_and_check(daemon: Daemon) -> None:
    daemon.sleeper("kept")
    daemon.sleeper("changed")
    daemon.sleeper("dropped")
    daemon.start()
    assert_fits(asked(daemon, "show"), schemas.SHOW)
    daemon.sleeper("changed", 'description = "new"', seconds=700)
    daemon.sleeper("fresh")
    (daemon.root / "agents.d" / "dropped.toml").unlink()
    dry = asked(daemon, "reload", "--dry-run")
    assert_fits(dry, schemas.RELOAD)
    [restarted] = dry["restarted"]
    assert (restarted["agent"], set(restarted["keys"])) == ("changed", {"command", "description"})
    assert (dry["dry_run"], dry["added"], dry["removed"]) == (True, ["fresh"], ["dropped"])
    done = asked(daemon, "reload")
    assert_fits(done, schemas.RELOAD)
    assert {**done, "dry_run": True} == dry
    assert done["unchanged"] == ["kept"]


@pytest.mark.parametrize("broken", ["", "[restart]\ncooldwn = '5m'\nstop_timeout = 5\n"])
def test_check_and_a_refused_reload_name_the_same_errors(daemon: Daemon, broken: str) -> None:
    daemon.sleeper("one")
    daemon.start()
    (daemon.root / "agents.d" / "one.toml").write_text(f"command = 'sleep 600'\n{broken}")
    checked = subprocess.run(
        [AGENTD, "check", "--json", "--config", str(daemon.config)],
        capture_output=True,
        timeout=30,
        check=False,
    )
    document = json.loads(checked.stdout)
    assert_fits(document, schemas.CHECK)
    assert (checked.returncode, document["ok"]) == ((1, False) if broken else (0, True))
    plan = asked(daemon, "reload", "--dry-run")
    assert_fits(plan, schemas.RELOAD)
    assert plan["errors"] == document["errors"]
    assert daemon.status("one")["state"] == "running"
