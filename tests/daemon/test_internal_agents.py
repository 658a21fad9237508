"""The internal agents in a real daemon: kept running, out of sight, and held to their role."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.harness import DEFAULTS, Daemon, Refused, alive
from tests.daemon.internal_harness import FLEET, HTTP, Channel, mode
from tests.daemon.test_reexec import reexec

OPERATED = f'{HTTP}operate = true\ntoken_file = "token"\n'


def begin(daemon: Daemon, tables: str) -> None:
    """Start it on these tables, with a sleeping agent beside, and await its internal agents."""
    (daemon.root / "token").write_text("0123456789abcdef\n")
    (daemon.root / "token").chmod(0o600)
    daemon.configure(extra=f"{DEFAULTS}\n{tables}")
    daemon.sleeper("plain")
    daemon.start()
    daemon.until_state("plain", "running")
    for name, table in (("agentd-http", "[http]"), ("agentd-fleet", "[fleet]")):
        if table in tables:
            daemon.until_state(name, "running")


@contextlib.contextmanager
def channel_of(daemon: Daemon, name: str = "agentd-http") -> Iterator[Channel]:
    channel = Channel(daemon, name)
    try:
        yield channel
    finally:
        channel.close()


def again(daemon: Daemon, name: str, old_pid: int) -> int:
    """Wait until another process of it runs, and return its pid."""
    shown = daemon.until(
        name, lambda one: one["state"] == "running" and one["pid"] not in (None, old_pid)
    )
    pid: int = shown["pid"]
    return pid


def names(document: dict[str, list[dict[str, str]]]) -> list[str]:
    return [agent["name"] for agent in document["agents"]]


def test_internal_agents_run_out_of_sight(internal: Daemon) -> None:
    begin(internal, HTTP + FLEET)
    shown = internal.ask("status")
    assert names(shown) == ["plain"]
    assert sum(shown["summary"].values()) == 1
    assert shown["daemon"]["agents"] == 1
    everything = internal.ask("status", all=True)
    assert names(everything) == ["plain", "agentd-http", "agentd-fleet"]
    assert names(internal.ask("status", select=["all"])) == ["plain"]
    assert names(internal.ask("status", select=["agentd-http"])) == ["agentd-http"]
    assert internal.status("agentd-http")["step"].startswith("listening on ")
    with pytest.raises(Refused, match="no agent matches"):
        internal.ask("stop", select=["agentd-*"])
    internal.ask("stop", select=["all"])
    internal.until_state("plain", "stopped")
    assert internal.status("agentd-http")["state"] == "running"
    assert [one["name"] for one in internal.ask("history")["agents"]] == ["plain"]
    assert [one["name"] for one in internal.ask("report", date="today")["agents"]] == ["plain"]


def test_an_internal_agent_is_operated_by_its_name(internal: Daemon) -> None:
    begin(internal, HTTP)
    first = internal.status("agentd-http")["pid"]
    internal.ask("restart", select=["agentd-http"])
    second = again(internal, "agentd-http", first)
    internal.ask("stop", select=["agentd-http"])
    internal.until_state("agentd-http", "stopped")
    assert not alive(second)
    internal.ask("start", select=["agentd-http"])
    again(internal, "agentd-http", second)
    lines = internal.ask("logs", select=["agentd-http"])["logs"][0]["lines"]
    assert "it serves" in "".join(lines)
    shown = internal.ask("show", select=["agentd-http"])["agents"]["agentd-http"]
    assert "channel.py" in str(shown["command"]["value"])
    assert shown["command"]["origin"].startswith(f"{internal.config}:")


def test_l14_the_dashboard_without_operate_is_a_viewer_whoever_its_parent_is(
    internal: Daemon,
) -> None:
    begin(internal, HTTP)
    with channel_of(internal) as channel:
        assert names(channel.ask("status")) == ["plain"]
        assert channel.refusal("kill", select=["plain"]) == "forbidden"
        assert channel.refusal("logs", select=["plain"]) == "forbidden"
        assert channel.refusal("shutdown") == "forbidden"
        assert channel.refusal("daemon", action="reexec") == "forbidden"
        assert channel.refusal("events", trace=True) == "forbidden"
    assert internal.status("plain")["intent"] == "up"


def test_the_dashboard_operates_where_the_config_says_so(internal: Daemon) -> None:
    begin(internal, OPERATED)
    with channel_of(internal) as channel:
        channel.ask("kill", select=["plain"], reason="from the page")
    shown = internal.until_state("plain", "stopped")
    assert shown["intent"] == "killed"
    assert shown["intent_by"] == "agentd-http"


def test_l14_nobody_else_gets_a_channel_or_more_than_an_agents_role(internal: Daemon) -> None:
    mode(internal, "agentd-http", "child")
    begin(internal, OPERATED)
    for name in ("plain", "agentd-http"):
        pid = internal.status(name)["pid"]
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert (b"AGENTD_CHANNEL=" in environ) is (name == "agentd-http")
    leader = internal.status("agentd-http")["pid"]
    theirs = _sockets_of(leader)
    assert theirs
    assert not _sockets_of(internal.status("plain")["pid"])
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    assert children
    assert all(not _sockets_of(int(child)) for child in children)
    # On the public socket it is what every descendant of the daemon is.
    token = _variable(leader, "AGENTD_TOKEN")
    with internal.connect() as sock:
        sock.sendall(b'{"type":"hello","id":1,"token":"%s"}\n' % token)
        assert b'"ok":true' in sock.recv(65536)
        with pytest.raises(Refused, match="forbidden"):
            internal.ask_on(sock, "kill", select=["plain"])


def test_an_agents_token_on_the_channel_makes_it_an_agents_for_good(internal: Daemon) -> None:
    begin(internal, OPERATED)
    token = _variable(internal.status("agentd-http")["pid"], "AGENTD_TOKEN").decode()
    with channel_of(internal) as channel:
        channel.write({"type": "hello", "id": "h", "token": token})
        channel.answer("h")
        assert channel.refusal("kill", select=["plain"]) == "forbidden"


def test_requests_and_streams_share_a_channel_and_a_stream_can_be_left(internal: Daemon) -> None:
    begin(internal, OPERATED)
    with channel_of(internal) as channel:
        for number in range(20):  # more than there may be followers at once
            channel.send("events", f"f{number}", follow=True, limit=1)
            assert channel.read()["id"] == f"f{number}"
            assert channel.ask("unfollow", id=f"f{number}") == {"ended": True}
        assert channel.ask("unfollow", id="f3") == {"ended": False}
        channel.send("events", "g", follow=True, limit=1)
        channel.send("events", "h", follow=True, limit=1)
        channel.send("pause", "p", select=["plain"])
        seen: set[str] = set()
        while seen != {"g", "h", "p"}:
            seen.add(channel.read()["id"])


def test_the_end_of_the_daemon_is_the_end_of_its_internal_agents(internal: Daemon) -> None:
    begin(internal, HTTP + FLEET)
    pids = {name: internal.status(name)["pid"] for name in ("agentd-http", "agentd-fleet")}
    plain = internal.status("plain")["pid"]
    internal.crash()
    internal.until_true(lambda: not any(alive(pid) for pid in pids.values()))
    internal.start()
    for name, pid in pids.items():
        again(internal, name, pid)
    assert internal.status("plain")["pid"] == plain
    _assert_no_trouble(internal)
    with channel_of(internal) as channel:
        assert channel.ask("ping")


def test_a_reexec_gives_each_internal_agent_a_new_channel(internal: Daemon) -> None:
    begin(internal, HTTP)
    pid, plain = internal.status("agentd-http")["pid"], internal.status("plain")["pid"]
    reexec(internal)
    again(internal, "agentd-http", pid)
    assert internal.status("plain")["pid"] == plain
    _assert_no_trouble(internal)
    with channel_of(internal) as channel:
        assert channel.ask("ping")


def test_one_that_outlives_its_daemon_is_replaced_and_never_doubled(internal: Daemon) -> None:
    mode(internal, "agentd-http", "deaf")
    begin(internal, HTTP)
    pid = internal.status("agentd-http")["pid"]
    internal.crash()
    assert alive(pid)
    mode(internal, "agentd-http", "")
    internal.start()
    again(internal, "agentd-http", pid)
    assert not alive(pid)
    _assert_no_trouble(internal)


def test_one_that_was_stopped_stays_down_over_a_restart_of_the_daemon(internal: Daemon) -> None:
    begin(internal, HTTP)
    internal.ask("stop", select=["agentd-http"])
    internal.until_state("agentd-http", "stopped")
    internal.crash()
    internal.start()
    internal.until_state("plain", "running")
    shown = internal.status("agentd-http")
    assert (shown["intent"], shown["pid"]) == ("stopped", None)


def test_one_that_is_killed_is_back_with_an_incident(internal: Daemon) -> None:
    begin(internal, HTTP)
    pid = internal.status("agentd-http")["pid"]
    os.kill(pid, signal.SIGKILL)
    again(internal, "agentd-http", pid)
    opened = internal.events("agentd-http", "incident.opened")
    assert len(opened) == 1
    with channel_of(internal) as channel:
        assert channel.ask("ping")


def test_a_reload_of_its_table_restarts_it_alone(internal: Daemon) -> None:
    begin(internal, HTTP + FLEET)
    pids = {name: internal.status(name)["pid"] for name in ("agentd-fleet", "plain")}
    pid = internal.status("agentd-http")["pid"]
    with channel_of(internal) as channel:
        assert channel.refusal("kill", select=["plain"]) == "forbidden"
    internal.configure(extra=f"{DEFAULTS}\n{OPERATED}{FLEET}")
    plan = internal.ask("reload")
    assert [one["agent"] for one in plan["restarted"]] == ["agentd-http"]
    second = again(internal, "agentd-http", pid)
    with channel_of(internal) as channel:
        assert channel.ask("pause", select=["plain"])
    assert pids == {name: internal.status(name)["pid"] for name in pids}
    internal.configure(extra=f"{DEFAULTS}\n{FLEET}")
    assert internal.ask("reload")["removed"] == ["agentd-http"]
    internal.until_true(lambda: "agentd-http" not in names(internal.ask("status", all=True)))
    assert not alive(second)
    with pytest.raises(Refused, match="no agent matches"):
        internal.ask("status", select=["agentd-http"])


def test_less_may_be_done_as_soon_as_the_config_says_so(internal: Daemon) -> None:
    mode(internal, "agentd-http", "stubborn")
    begin(internal, OPERATED)
    with channel_of(internal) as channel:
        assert channel.ask("reset", select=["plain"])
        internal.configure(extra=f"{DEFAULTS}\n{HTTP}")
        internal.ask("reload")
        # The process that was an operator's is still there, and its channel with it.
        assert channel.refusal("kill", select=["plain"]) == "forbidden"
    assert internal.status("plain")["intent"] == "up"


def test_its_crash_loop_is_bounded_and_calls_a_human(internal: Daemon) -> None:
    mode(internal, "agentd-http", "crash")
    internal.configure(extra=f"{DEFAULTS}\n{HTTP}")
    internal.sleeper("plain")
    internal.start()
    shown = internal.until("agentd-http", lambda one: one["failures"] >= 3)
    assert shown["state"] in {"cooldown", "starting"}
    assert "exit code 1" in (shown["evidence"] or "")
    cooldowns = [
        one["data"]["cooldown_ms"] for one in internal.events("agentd-http", "agent.cooldown")
    ]
    assert cooldowns == sorted(cooldowns)
    assert max(cooldowns) <= 60_000
    assert len(internal.events("agentd-http", "incident.opened")) == 1
    lines = internal.ask("logs", select=["agentd-http"])["logs"][0]["lines"]
    assert "it crashes, as it was told to" in "".join(lines)
    assert internal.status("plain")["state"] == "running"


def test_a_missing_extra_is_told_with_the_command_that_installs_it(internal: Daemon) -> None:
    internal.run = internal.run.replace(
        "from agentd.daemon.main",
        "internal._NEEDED['http'] = ('no_such_package',); from agentd.daemon.main",
    )
    internal.configure(extra=f"{DEFAULTS}\n{HTTP}")
    internal.start()
    shown = internal.until("agentd-http", lambda one: one["failures"] >= 1)
    assert shown["evidence"] == "needs no_such_package: pip install 'agentd-supervisor[http]'"
    assert "no_such_package" in internal.log()


def _assert_no_trouble(daemon: Daemon) -> None:
    """No alert and no incident came of an end that was the daemon's own."""
    told = [one for one in daemon.events() if one["severity"] != "info"]
    assert not told, told


def _sockets_of(pid: int) -> list[str]:
    """Return the sockets that a process has open, by their inode."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            link = str(entry.readlink())
            if link.startswith("socket:"):
                found.append(link)
    return found


def _variable(pid: int, name: str) -> bytes:
    raw = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(one.partition(b"=")[2] for one in raw if one.startswith(name.encode() + b"="))
