"""`-H`: what is a host, what is said to it, and how all that can go wrong with it is told.

ssh is a stub here: a shell script that does what a host may do. The real one is in
tests/programs/test_ssh_hosts.py.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentd.cli.main import COMMANDS
from agentd.cli.remote.run import HERE_ONLY
from tests.cli.screens import Terminal
from tests.cli.screens import agentctl as program
from tests.cli.stub import agent, event, status

Ctl = Callable[..., tuple[int, str, str]]
Spawned = Callable[..., "subprocess.CompletedProcess[str]"]

# The words of a host: its last argument is the line for its shell, the one before its name.
STUB = """#!/bin/sh
for word; do host=$line; line=$word; done
echo "$@" >>{log}
case $host in
{cases}
esac
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Path]:
    """Put a stub in the place of ssh that does for each host what a line of shell says."""

    def make(hosts: dict[str, str]) -> Path:
        log = tmp_path / "asked"
        cases = "\n".join(f"{name}) {line} ;;" for name, line in hosts.items())
        program = tmp_path / "ssh"
        program.write_text(STUB.format(log=log, cases=cases))
        program.chmod(0o755)
        monkeypatch.setenv("AGENTD_SSH", str(program))
        return log

    return make


def until_gone(group: str) -> None:
    """Wait until nothing of a process group runs any more; what nobody reaped is gone."""
    until = time.monotonic() + 30
    while left := [
        path
        for path in Path("/proc").glob("[0-9]*/stat")
        if (fields := fields_of(path)) and fields[0] != "Z" and fields[2] == group.strip()
    ]:
        assert time.monotonic() < until, left
        time.sleep(0.02)


def fields_of(path: Path) -> list[str]:
    """The state of a process, its parent, its group; nothing of one that has just gone."""
    with contextlib.suppress(OSError):
        return path.read_text().rpartition(")")[2].split()
    return []


def says(document: object) -> str:
    return f"echo {shlex.quote(json.dumps(document))}"


WELL = says(status(agent("worker")))


@pytest.mark.parametrize(
    "words",
    ["", "-oProxyCommand=touch x", "a,-F/etc/x", "a b", "a;reboot", "$(reboot)", "`x`", "a\nb",
     "a'b", "@none", "nats:-x", "nats:a.b", "nats:*", "a" * 300, "ä"],
)  # fmt: skip
def test_what_could_be_anything_but_a_host_is_refused(
    words: str, ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    log = ssh({"*": WELL})
    code, out, err = ctl("-H", f"m1,{words}", "status")
    assert (code, out, log.exists()) == (2, "", False)
    assert err.startswith("agentctl: ")


@pytest.mark.parametrize(
    ("given_words", "said"),
    [
        ("status", ["status"]),
        ("ls", ["status"]),
        ("status --all worker -q --color never", ["status", "--all", "--", "worker"]),
        ("kill worker --reason -x", ["kill", "--reason=-x", "--", "worker"]),
        ("kill -- -worker", ["kill", "--", "-worker"]),
        ("events --type a --type b --since 10m -n 3 x",
         ["events", "--since=10m", "--type=a", "--type=b", "--lines=3", "--", "x"]),
        ("signal a HUP", ["signal", "--", "a", "HUP"]),
        ("alerts test slack", ["alerts", "--", "test", "slack"]),
        ("is-active a b", ["is-active", "--", "a", "b"]),
        ("report --markdown --date today", ["report", "--date=today"]),
        ("logs a --raw --grep x", ["logs", "--grep=x", "--raw", "--", "a"]),
    ],
)  # fmt: skip
def test_a_command_is_said_again_by_the_long_names_of_its_options(
    given_words: str, said: list[str], ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    log = ssh({"*": "exit 255"})
    ctl("-H", "m1", "--timeout", "9", *given_words.split())
    line = shlex.split(log.read_text())
    place = line.index("agentctl")
    assert line[place - 2 : place + 2] == ["--", "m1", "agentctl", "--json"]
    assert line[place + 2].startswith("--timeout=")
    assert line[place + 3 :] == said


def test_a_table_has_a_row_for_every_host_the_dead_ones_too(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    ssh({"m1": WELL, "m2": "echo 'ssh: connect to host m2: No route to host' >&2; exit 255"})
    code, out, err = ctl("-H", "m1,m2", "status")
    head, one, two, footer = out.splitlines()
    assert head.startswith("HOST  AGENT")
    assert one.split()[:3] == ["m1", "worker", "running"]
    assert two.startswith("m2    error ")
    assert two.endswith("ssh: connect to host m2: No route to host")
    assert footer == "1 healthy; 1 of 2 hosts did not answer"
    assert (code, err) == (7, "")


def test_json_is_a_list_of_documents_and_errors_by_host(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    ssh({"m1": WELL, "m2": "exit 255"})
    code, out, err = ctl("-H", "m2,m1", "--json", "status")
    two, one = json.loads(out)
    assert one["host"] == "m1"
    assert one["agents"][0]["name"] == "worker"
    assert two == {"host": "m2", "error": {"code": "not_reachable", "hint": "",
                   "message": "ssh could not connect, and does not say why"}}  # fmt: skip
    assert (code, err) == (7, "")


@pytest.mark.parametrize(
    ("line", "exit_code", "told"),
    [
        ("exit 255", 7, "could not connect"),
        ("echo 'ada@m1: Permission denied (publickey).' >&2; exit 255", 7, "without a password"),
        ("echo 'Host key verification failed.' >&2; exit 255", 7, "connect once by hand"),
        ("echo 'sh: 1: agentctl: not found' >&2; exit 127", 1, "AGENTD_REMOTE"),
        ("echo hello", 1, "what answered is not agentctl: hello"),
        ("printf '\\033]0;owned\\007'", 1, r"\x1b]0;owned\x07"),
        ("echo '[1,2]'", 1, "not agentctl: [1,2]"),
        ("echo '{\"agents\": 3}'", 0, "can't show"),
        ("true", 1, "what answered is not agentctl: nothing"),
        ("kill -9 $$", 1, "what answered is not agentctl: nothing"),
        ("printf 'agentctl: no agent matches \"x\"\\n  hint: look\\n' >&2; exit 5", 5, "(look)"),
        ("echo 'agentctl: may not' >&2; exit 4", 4, "may not"),
        ("head -c 70000000 /dev/zero", 1, "more than 64 MiB"),
        ("head -c 3000000 /dev/zero >&2; exit 255", 7, "\\x00"),
    ],
)  # fmt: skip
def test_whatever_a_host_does_is_its_own_row(
    line: str, exit_code: int, told: str, ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    ssh({"m1": line, "m2": WELL})
    code, out, err = ctl("-H", "m1,m2", "status")
    assert code == exit_code
    assert told in out
    assert "m2    worker" in out
    assert err == ""
    assert "\x1b" not in out


def test_a_shell_that_greets_does_not_keep_the_answer_from_being_read(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    ssh({"m1": f"echo Welcome; {WELL}"})
    assert ctl("-H", "m1", "status")[0] == 0


def test_a_host_that_hangs_is_a_row_in_time_and_nothing_of_it_is_left(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path], tmp_path: Path
) -> None:
    ssh({"m1": WELL, "m2": f"echo $$ >{tmp_path}/pid; sleep 600 & wait"})
    begun = time.monotonic()
    code, out, _err = ctl("-H", "m1,m2", "--timeout", "5", "status")
    assert time.monotonic() - begun < 30  # not 600
    assert "m1    worker" in out
    assert "no answer within" in out
    assert code == 124
    until_gone((tmp_path / "pid").read_text())


def test_slow_hosts_are_asked_at_the_same_time(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path], tmp_path: Path
) -> None:
    """Each waits for all the others to have been asked: one after the other would never end."""
    names = [f"m{number}" for number in range(8)]
    wait = " && ".join(f"[ -e {tmp_path}/{name} ]" for name in names)
    ssh({"*": f">{tmp_path}/$host; until {wait}; do sleep 0.02; done; {WELL}"})
    code, out, _err = ctl("-H", ",".join(names), "--timeout", "60", "status")
    assert (code, out.count("worker")) == (0, 8)


def test_who_still_holds_the_errors_of_a_shared_connection_is_not_waited_for(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    ssh({"m1": f"sleep 30 >/dev/null & {WELL}"})
    begun = time.monotonic()
    assert ctl("-H", "m1", "status")[0] == 0
    assert time.monotonic() - begun < 25


def test_a_check_of_several_hosts_is_critical_if_one_is(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    ill = says(status(agent("ill", health="unreachable")))
    ssh({"m1": WELL, "m2": f"{ill}; exit 2", "m3": "exit 255"})
    assert ctl("-H", "m1,m3", "status", "--check")[0] == 3
    code, out, err = ctl("-H", "m1,m2,m3", "status", "--check")
    assert code == 2
    assert "m2: agentd CRITICAL: ill unreachable" in out
    assert "agentctl: m3: " in err


def test_what_a_write_came_to_is_told_by_host(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    done = says({"agents": [{"name": "a", "state": "stopped", "message": "killed; stays down"}]})
    ssh({"m1": done, "m2": f"{done}; echo 'agentctl: \"b\" is held' >&2; exit 1"})
    code, out, err = ctl("-H", "m1,m2", "kill", "a")
    assert out.splitlines() == [f"{host}: a: stopped (killed; stays down)" for host in ("m1", "m2")]
    assert (code, err) == (1, 'agentctl: m2: "b" is held\n')
    assert ctl("-q", "-H", "m1", "kill", "a")[:2] == (0, "")


def test_events_of_all_hosts_stand_as_they_came_about(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    early, late = (f"2026-11-21T08:0{minute}:00.000Z" for minute in (1, 5))
    ssh({"m1": says({"events": [event(1, time=early), event(2, time=late)]}),
         "m2": says({"events": [event(9, time="2026-11-21T08:03:00.000Z")]})})  # fmt: skip
    out = ctl("-H", "m1,m2", "events")[1]
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["m1", "m2", "m1"]


def test_followed_lines_say_where_they_are_from_and_a_host_that_is_lost_is_told(
    ssh: Callable[[dict[str, str]], Path], spawned: Spawned
) -> None:
    ssh({"m1": f"{says(event(1))}; {says(event(2))}", "m2": f"{says(event(7))}; exit 255",
         "m3": "echo garbage; sleep 60"})  # fmt: skip
    done = spawned("-H", "m1,m2,m3", "events", "-f", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(one["host"], one.get("id")) for one in lines if "error" not in one} == {
        ("m1", 1), ("m1", 2), ("m2", 7)}  # fmt: skip
    assert {one["host"] for one in lines if "error" in one} == {"m2", "m3"}
    assert done.returncode == 7
    words = spawned("-H", "m1,m2", "events", "-f")
    assert "m1  " in words.stdout
    assert "agentctl: m2: " in words.stderr


@pytest.mark.parametrize("more", [(), ("-f",)], ids=["once", "followed"])
def test_raw_lines_of_a_host_are_as_they_were_written(
    more: tuple[str, ...], ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    line = {"agent": "a", "line": "\x1b[31mred"}
    ssh({"*": says(line if more else {"logs": [{"agent": "a", "lines": [line["line"]]}]})})
    assert "\x1b[31mred" in ctl("-H", "m1", "logs", "a", "--raw", *more)[1]
    assert "\\x1b[31mred" in ctl("-H", "m1", "logs", "a", *more)[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("words", [("status",), ("logs", "x", "-f")], ids=["status", "logs -f"])
def test_a_signal_ends_the_programs_that_run(
    number: signal.Signals, words: tuple[str, ...], tmp_path: Path,
    ssh: Callable[[dict[str, str]], Path],
) -> None:  # fmt: skip
    told = f"echo $$ >{tmp_path}/pid.$host; mv {tmp_path}/pid.$host {tmp_path}/$host"
    ssh({"*": f"{told}; sleep 600"})
    with subprocess.Popen(
        [sys.executable, "-m", "agentd.cli", "-H", "m1,m2", *words],
        env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        until = time.monotonic() + 60
        while not all((tmp_path / name).exists() for name in ("m1", "m2")):
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(60) == (130 if number == signal.SIGINT else 128 + number)
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    for name in ("m1", "m2"):
        until_gone((tmp_path / name).read_text())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        *((name, "for this machine only") for name in sorted(HERE_ONLY & set(COMMANDS))),
        ("events --trace", "one machine"),
        ("ack 3", "name one"),
        ("incident 3", "name one"),
        ("events --after 3", "name one"),
        ("stop", "missing argument"),
        ("events --since yesterday-ish", "neither"),
    ],
)
def test_what_makes_no_sense_on_other_hosts_is_refused_before_one_is_asked(
    words: str, told: str, ctl: Ctl, ssh: Callable[[dict[str, str]], Path],
) -> None:  # fmt: skip
    log = ssh({"*": WELL})
    needed = {"completion": ["bash"], "fleet": ["status"]}
    given_words = [*words.split(), *needed.get(words, [])]
    code, out, err = ctl("-H", "m1,m2", *given_words)
    assert (code, out, log.exists()) == (2, "", False)
    assert told in err


def test_top_of_several_hosts_is_a_table_in_a_pipe_and_refused_on_a_terminal(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path]
) -> None:
    ssh({"*": WELL})
    code, out, _err = ctl("-H", "m1,m2", "top", "--sort", "name")
    assert code == 0
    assert out.startswith("HOST  AGENT")
    env = {**os.environ, "TERM": "xterm"}
    with Terminal(program("-H", "m1,m2", "top"), env) as terminal:
        assert terminal.ended() == 2
        assert b"top shows one host" in terminal.written


def test_hosts_are_listed_in_the_users_configuration(
    ctl: Ctl, ssh: Callable[[dict[str, str]], Path], tmp_path: Path, monkeypatch: Any,  # noqa: ANN401 - pytest's
) -> None:  # fmt: skip
    log = ssh({"*": WELL})
    config = tmp_path / "agentd.toml"
    config.write_text('[fleet.hosts]\nm1 = "alpha"\nm2 = "ada@beta"\n')
    monkeypatch.setenv("AGENTD_CONFIG", str(config))
    out = ctl("-H", "@all", "status")[1]
    assert {"m1", "m2"} <= {line.split()[0] for line in out.splitlines()}
    assert "-- ada@beta agentctl" in log.read_text()
    config.write_text('[fleet.hosts]\nm1 = "-oProxyCommand=x"\n')
    code, _out, err = ctl("-H", "@all", "status")
    assert code != 0
    assert "fleet.hosts.m1" in err


def test_no_ssh_is_said_once_for_each_host(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTD_SSH", "/nonexistent/ssh -v")
    code, out, _err = ctl("-H", "m1", "status")
    assert code == 1
    assert "cannot run /nonexistent/ssh" in out
