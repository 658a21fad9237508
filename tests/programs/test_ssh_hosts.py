"""`agentctl -H` through a real sshd: two "hosts" on the loopback, each with a daemon of its own."""

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.screens import Terminal
from tests.daemon.harness import Daemon
from tests.places import short_root
from tests.programs.places import AGENTCTL, BIN
from tests.programs.sshd import Sshd
from tests.programs.test_agentctl import environment, read_until

NASTY = 'it\'s "$(touch pwned)"; `touch pwned` && touch pwned | * ~ \\ -- ä'


@dataclass(frozen=True)
class Hosts:
    """Two that answer, `m1` and `m2`; `dead` where nobody listens, `mute` where nobody speaks."""

    one: Daemon
    two: Daemon
    root: Path
    env: dict[str, str]

    def run(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [AGENTCTL, *words], env={**self.env, **more}, capture_output=True, text=True,
            timeout=100, check=False, stdin=subprocess.DEVNULL, cwd=self.root,
        )  # fmt: skip


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with short_root() as root:
        daemons = []
        for name in ("one", "two"):
            (root / name).mkdir(mode=0o755)
            daemon = Daemon(root / name)
            daemon.beater("worker", text='tags = ["shop"]')
            daemons.append(daemon)
        one, two = daemons
        one.sleeper("idler")
        two.agent("shouter", ["sh", "-c", r"printf '\033[31mred\n'; exec sleep 600"],
                  "[heartbeat]\nrequired = false")  # fmt: skip
        (root / "ssh").mkdir(mode=0o700)
        mute = socket.create_server(("127.0.0.1", 0))
        try:
            for daemon in daemons:
                daemon.start()
                daemon.until("worker", lambda shown: shown["health"] == "healthy")
            sshd = Sshd(root / "ssh", {"m1": one.socket, "m2": two.socket})
            try:
                with sshd.config.open("a") as config:
                    config.write(sshd.host("dead", 1) + sshd.host("mute", mute.getsockname()[1]))
                (root / "agentd.toml").write_text('[fleet.hosts]\nm1 = "m1"\nm2 = "m2"\n')
                env = environment(one, AGENTD_CONFIG=str(root / "agentd.toml"),
                                  AGENTD_SSH=f"ssh -F {shlex.quote(str(sshd.config))}",
                                  AGENTD_REMOTE=str(AGENTCTL))  # fmt: skip
                env["AGENTD_SOCKET"] = str(root / "nobody")  # nothing here is asked
                yield Hosts(one, two, root, env)
            finally:
                sshd.close()
        finally:
            mute.close()
            for daemon in daemons:
                daemon.close()


def test_all_hosts_are_in_one_table_the_dead_and_the_mute_too(hosts: Hosts) -> None:
    done = hosts.run("-H", "m1,dead,mute,m2", "status")
    rows = {tuple(line.split()[:2]) for line in done.stdout.splitlines()}
    assert {("m1", "worker"), ("m1", "idler"), ("m2", "worker"), ("dead", "error"),
            ("mute", "error")} <= rows  # fmt: skip
    assert "Connection refused" in done.stdout
    assert "timed out" in done.stdout
    assert "2 of 4 hosts did not answer" in done.stdout
    assert (done.returncode, done.stderr) == (7, "")


def test_json_is_a_document_a_host(hosts: Hosts) -> None:
    done = hosts.run("--json", "status", "-H", "@all,dead")
    one, two, dead = json.loads(done.stdout)
    assert [one["host"], two["host"]] == ["m1", "m2"]
    assert len(one["agents"]) == 2
    assert dead["error"]["code"] == "not_reachable"
    assert hosts.run("--json", "is-active", "worker", "-H", "@all").returncode == 0


def test_a_write_is_carried_out_on_each_host_and_waited_for(hosts: Hosts) -> None:
    done = hosts.run("-H", "m1,m2", "kill", "tag:shop", "--reason", NASTY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "m1: worker: stopped (killed; stays down)", "m2: worker: stopped (killed; stays down)",
    ]  # fmt: skip
    for daemon in (hosts.one, hosts.two):
        shown = daemon.until_state("worker", "stopped")
        assert shown["intent"] == "killed"
        assert shown["intent_reason"] == NASTY
    assert not list(hosts.root.rglob("pwned"))
    assert not (Path.home() / "pwned").exists()
    assert hosts.run("-H", "m1,m2", "resume", "worker").returncode == 0


def test_words_that_mean_something_to_a_shell_or_to_agentctl_are_only_selectors(
    hosts: Hosts,
) -> None:
    for word in (NASTY, "--version", "a\nb"):
        done = hosts.run("-H", "m1", "stop", "--", word)
        assert done.returncode in {2, 5}, (word, done)
        assert done.stdout == ""
    assert hosts.one.until_state("worker", "running")["intent"] == "up"
    assert not list(hosts.root.rglob("pwned"))


def test_an_agent_that_only_one_host_has_is_the_others_failure(hosts: Hosts) -> None:
    done = hosts.run("-H", "m1,m2", "restart", "idler", "--no-wait")
    assert done.returncode == 5
    assert done.stdout.startswith("m1: idler: ")
    assert 'agentctl: m2: no agent matches "idler"' in done.stderr


def test_lines_are_shown_as_they_were_written_only_where_that_is_asked_for(hosts: Hosts) -> None:
    hosts.two.until_true(lambda: hosts.two.ask("logs", select=["shouter"])["logs"][0]["lines"])
    assert hosts.run("-H", "m2", "logs", "shouter", "--raw").stdout == "m2: \x1b[31mred\n"
    assert "\x1b" not in hosts.run("-H", "m2", "logs", "shouter").stdout


def test_followed_events_come_from_all_hosts(hosts: Hosts) -> None:
    with subprocess.Popen(
        [AGENTCTL, "-H", "m1,m2", "events", "-f", "--json", "-n", "1"],
        env=hosts.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as follower:  # fmt: skip
        assert follower.stdout is not None
        out = follower.stdout.fileno()
        os.set_blocking(out, False)
        try:
            read_until(out, lambda seen: b'"m1"' in seen and b'"m2"' in seen, timeout_s=60)
            hosts.run("-H", "m2", "hold", "worker", "--reason", "lunch")
            seen = read_until(out, lambda seen: b"agent.held" in seen and b"\n" in seen,
                              timeout_s=60)  # fmt: skip
            (held,) = (json.loads(line) for line in seen.splitlines() if b"agent.held" in line)
            assert (held["host"], held["agent"]) == ("m2", "worker")
        finally:
            follower.terminate()
        assert follower.wait(60) == 143
    hosts.run("-H", "m2", "unhold", "worker")


def test_top_of_another_host_is_on_this_terminal(hosts: Hosts) -> None:
    env = {**hosts.env, "TERM": "xterm-256color"}
    with Terminal([str(AGENTCTL), "-H", "m1", "top"], env) as terminal:
        terminal.until(lambda text: "> " in text and "idler" in text)
        terminal.type(b"q")
        assert terminal.ended() == 0


def test_agentctl_that_is_not_there_is_told_with_what_to_do(hosts: Hosts) -> None:
    done = hosts.run("-H", "m1", "ping", AGENTD_REMOTE="/nonexistent/agentctl")
    assert done.returncode == 1
    assert "AGENTD_REMOTE=/path/to/agentctl" in done.stderr
    assert hosts.run("-H", "m1", "ping", AGENTD_REMOTE=f"env {BIN}/agentctl").returncode == 0
