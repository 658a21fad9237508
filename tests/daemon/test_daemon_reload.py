"""Edits of the config: applied with the least harm, or refused whole."""

import json
import re
import signal
from pathlib import Path

import pytest

from tests.daemon.harness import START_S, Daemon, Refused, read_line


def argv_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


def test_j3_one_bad_agent_among_many_does_not_stop_the_others(daemon: Daemon) -> None:
    for number in range(4):
        daemon.sleeper(f"good-{number}")
    daemon.agent("bad", ["sleep", "1"], "[restart]\ncooldwn = '5m'")
    daemon.start()
    for number in range(4):
        daemon.until_state(f"good-{number}", "running")
    assert re.search(r"bad\.toml:\d+: \S*restart\.cooldwn", daemon.log())
    with pytest.raises(Refused) as refused:
        daemon.status("bad")
    assert refused.value.error["code"] == "no_such_agent"


def test_a_broken_main_file_is_refused_with_every_error(daemon: Daemon) -> None:
    daemon.configure(daemon="watchh = true\nline_rate = 'many'")
    daemon.start(ready=False)
    assert daemon.process is not None
    assert daemon.process.wait(15) == 1
    assert "watchh" in daemon.log()
    assert "line_rate" in daemon.log()


def test_j5_only_the_agent_whose_environment_changed_restarts(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.sleeper("two")
    daemon.start()
    before = {name: daemon.until_state(name, "running")["pid"] for name in ("one", "two")}
    daemon.sleeper("one", 'environment = { REGION = "eu" }')
    plan = daemon.ask("reload", dry_run=True)
    assert plan["dry_run"] is True
    assert plan["restarted"] == [{"agent": "one", "keys": ["environment.REGION"]}]
    assert plan["unchanged"] == ["two"]
    assert daemon.status("one")["pid"] == before["one"]
    done = daemon.ask("reload")
    assert (done["dry_run"], done["restarted"]) == (False, plan["restarted"])
    daemon.until("one", lambda s: s["state"] == "running" and s["pid"] not in (None, before["one"]))
    assert daemon.status("two")["pid"] == before["two"]


def test_an_explicit_reload_adds_and_removes(daemon: Daemon) -> None:
    daemon.sleeper("old")
    daemon.start()
    daemon.until_state("old", "running")
    (daemon.root / "agents.d" / "old.toml").unlink()
    daemon.sleeper("new")
    done = daemon.ask("reload")
    assert (done["added"], done["removed"]) == (["new"], ["old"])
    daemon.until_state("new", "running")
    daemon.until_true(lambda: [a["name"] for a in daemon.ask("status")["agents"]] == ["new"])
    assert len(daemon.survivors()) == 1


def test_g2_a_reload_that_was_answered_is_carried_out_by_the_next_daemon(daemon: Daemon) -> None:
    """The restart that it promised stands on disk by then: no file tells of it."""
    daemon.sleeper("one", seconds=600)
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    for seconds in (601, 602, 603):
        daemon.sleeper("one", seconds=seconds)
        assert [one["agent"] for one in daemon.ask("reload")["restarted"]] == ["one"]
        daemon.crash()
        daemon.start()
        shown = daemon.until("one", lambda s, old=pid: s["pid"] not in (None, old))
        pid = shown["pid"]
        assert argv_of(pid) == ["sleep", str(seconds)]


def test_j3_agents_are_not_removed_because_their_directory_cannot_be_listed(
    daemon: Daemon,
) -> None:
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.crash()
    place = daemon.root / "agents.d"
    place.rename(daemon.root / "away")
    place.write_text("a file, where a directory was")
    daemon.start(ready=False)
    assert daemon.process is not None
    assert daemon.process.wait(START_S) == 1
    assert "cannot be listed" in daemon.log()
    place.unlink()
    (daemon.root / "away").rename(place)
    daemon.start()
    assert daemon.until_state("one", "running")["pid"] == pid


def test_a_settings_change_applies_without_a_restart(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.sleeper("one", 'stop_timeout = "9s"')
    assert daemon.ask("reload")["applied"] == [{"agent": "one", "keys": ["stop_timeout"]}]
    assert daemon.status("one")["pid"] == pid


def test_a_new_memory_limit_applies_to_a_process_that_runs(daemon: Daemon) -> None:
    daemon.sleeper("one", '[memory]\nsample = "1h"')
    daemon.start()
    pid = daemon.until("one", lambda s: s["rss_bytes"] is not None)["pid"]
    daemon.sleeper("one", '[memory]\nsample = "1h"\nlimit = "4K"')
    assert daemon.ask("reload")["applied"] == [{"agent": "one", "keys": ["memory.limit"]}]
    restarted = daemon.until("one", lambda s: s["pid"] not in (None, pid))
    assert restarted["last_exit"]["reason"] == "MEMORY_LIMIT"


def test_an_invalid_config_changes_nothing_and_says_why(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    daemon.sleeper("one", "nice = 'very'")
    daemon.sleeper("two")
    refused = daemon.ask("reload")
    assert refused["errors"][0]["key"] == "agents.one.nice"
    assert (refused["added"], refused["restarted"], refused["unchanged"]) == ([], [], ["one"])
    assert [a["name"] for a in daemon.ask("status")["agents"]] == ["one"]
    assert daemon.status("one")["pid"] == pid
    daemon.until_true(lambda: daemon.events(kind="config.rejected"))


def test_sighup_reloads(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    daemon.until_state("one", "running")
    daemon.sleeper("two")
    daemon.heard()
    daemon.signal(signal.SIGHUP)
    daemon.await_notify("READY=1")
    daemon.until_state("two", "running")
    assert any("RELOADING=1" in said for said in daemon.notified)


def test_j1_a_truncated_file_stops_nothing_and_its_new_content_applies(daemon: Daemon) -> None:
    daemon.configure()
    text = daemon.config.read_text().replace("watch = false", "watch = true")
    daemon.config.write_text(text)
    daemon.sleeper("one")
    daemon.start()
    before = daemon.until_state("one", "running")
    path = daemon.root / "agents.d" / "one.toml"
    wanted = path.read_text()
    path.write_text("")
    daemon.config.write_text("")
    daemon.config.write_text(text)
    path.write_text('stop_timeout = "7s"\n' + wanted)
    daemon.until_true(lambda: daemon.events(kind="config.applied"))
    assert daemon.events("one", "agent.reconfigured")
    assert daemon.status("one")["pid"] == before["pid"]
    assert daemon.status("one")["state"] == "running"


def test_j1_the_watch_never_removes_an_agent(daemon: Daemon) -> None:
    text = daemon.config.read_text().replace("watch = false", "watch = true")
    daemon.config.write_text(text)
    daemon.sleeper("one")
    daemon.sleeper("two")
    daemon.start()
    daemon.until_state("one", "running")
    (daemon.root / "agents.d" / "one.toml").unlink()
    daemon.sleeper("two", 'stop_timeout = "7s"')
    daemon.until_true(lambda: daemon.events("two", "agent.reconfigured"))
    assert daemon.status("one")["state"] == "running"


def test_settings_of_the_daemon_apply_live_and_those_that_cannot_are_named(daemon: Daemon) -> None:
    daemon.start()
    with daemon.connect() as first:
        daemon.ask_on(first, "ping")
        daemon.configure('line_rate = 5\nconnections_max = 1\nlog_level = "debug"\n')
        text = daemon.config.read_text().replace(f"{daemon.root}/logs", f"{daemon.root}/others")
        daemon.config.write_text(text)
        dry = daemon.ask_on(first, "reload", dry_run=True)
        assert daemon.ask("ping")
        done = daemon.ask_on(first, "reload")
        assert {**done, "dry_run": True} == dry
        keys = ["daemon.connections_max", "daemon.line_rate", "daemon.log_dir", "daemon.log_level"]
        assert sorted(done["settings"]) == keys
        assert done["at_next_start"] == ["daemon.log_dir"]

        def applied() -> str:
            return str(daemon.ask_on(first, "events", types=["config.applied"])["events"])

        daemon.until_true(lambda: "daemon.log_dir only from the next start" in applied())
        assert "cmd=events" in daemon.log()
        with daemon.connect() as second:
            assert json.loads(read_line(second))["error"]["code"] == "too_busy"
    daemon.configure()
    daemon.until_true(lambda: _reloads(daemon))
    assert not (daemon.root / "others").exists()


def _reloads(daemon: Daemon) -> bool:
    """Reload once the only connection there may be is free again."""
    try:
        return bool(daemon.ask("reload"))
    except (Refused, ConnectionError):
        return False


def test_a_new_line_rate_applies_to_a_connection_that_is_open(daemon: Daemon) -> None:
    daemon.beater("fast", "every=0.005")
    daemon.start()
    daemon.until("fast", lambda s: s["heartbeats"] > 50 and s["dropped_lines"] == 0)
    daemon.configure("line_rate = 5")
    assert daemon.ask("reload")["settings"] == ["daemon.line_rate"]
    daemon.until("fast", lambda s: s["dropped_lines"] > 20)


def test_the_watch_can_be_switched_and_follows_files_that_were_added(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    before = daemon.until_state("one", "running")["pid"]
    variables = daemon.root / "one.env"
    variables.write_text("REGION=eu\n")
    variables.chmod(0o600)
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace("watch = false", "watch = true"))
    daemon.sleeper("one", f'environment_files = ["{variables}"]')
    assert daemon.ask("reload")["settings"] == ["daemon.watch"]
    between = daemon.until("one", lambda s: s["pid"] not in (None, before))["pid"]
    daemon.until_true(lambda: _watches(daemon))
    variables.write_text("REGION=us\n")
    after = daemon.until("one", lambda s: s["pid"] not in (None, between))["pid"]
    daemon.config.write_text(text)
    daemon.until_true(
        lambda: "daemon.watch" in str(daemon.events(kind="config.applied")[0]["data"])
    )
    assert daemon.status("one")["pid"] == after


def _watches(daemon: Daemon) -> bool:
    fds = (daemon.root.parent / f"/proc/{daemon.pid}/fd").iterdir()
    return any("inotify" in str(fd.readlink()) for fd in fds if fd.is_symlink())


def test_a_reload_reads_a_token_file_anew_though_no_option_differs(daemon: Daemon) -> None:
    token = daemon.root / "token"
    token.write_text("the-first-token-of-far")
    token.chmod(0o600)
    path = daemon.root / "agents.d" / "far.toml"
    path.write_text(f'external = true\ntoken_file = "{token}"\n')
    daemon.start()
    token.write_text("another-token-of-far-away")
    assert daemon.ask("reload")["unchanged"] == ["far"]
    beat = {"agent": "far", "token": "another-token-of-far-away", "status": "ok"}
    with daemon.connect() as channel:
        channel.sendall(json.dumps(beat).encode() + b"\n")
        daemon.until("far", lambda s: s["heartbeats"] == 1)
