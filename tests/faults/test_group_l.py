"""Group L: who may do what, proved with real processes of real users."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON, Document, Refused, read_line
from tests.faults.guard import PROGRAMS, Fleet

AGENTCTL = Path(sys.executable).with_name("agentctl")
NOBODY = 65534
CANARY = "canary-9f8e7d6c5b4a"
PLAIN = "[heartbeat]\nrequired = false\n"


def as_nobody(script: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the system's own Python as `nobody`."""
    return subprocess.run(
        ["/usr/bin/env", "python3", "-S", "-c", script],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


CONNECT = """
import json, socket, sys
channel = socket.socket(socket.AF_UNIX)
channel.settimeout(10)
try:
    channel.connect({path!r})
except PermissionError:
    print("EACCES"); sys.exit()
first = b'{{"id":1,"cmd":"status"}}\\n'
second = b'{{"id":2,"cmd":"kill","args":{{"select":["all"]}}}}\\n'
channel.sendall(first + second)  # at once: it is closed after the first
raw = b""
try:
    while part := channel.recv(65536):
        raw += part
except ConnectionResetError:
    pass  # closed with something left unread
print(raw.decode(), end="")
"""


@pytest.mark.root
def test_l1_a_stranger_is_kept_out_by_the_mode_of_the_socket(fleet: Fleet) -> None:
    fleet.start()
    assert oct(fleet.socket.stat().st_mode & 0o777) in ("0o600", "0o660")
    assert as_nobody(CONNECT.format(path=str(fleet.socket))).stdout.strip() == "EACCES"


@pytest.mark.root
def test_l1_a_stranger_who_may_connect_is_forbidden_and_closed(fleet: Fleet) -> None:
    # With an agent that has its own user everybody may connect, and the role decides.
    fleet.sleeper("own", 'user = "daemon"\ndirectory = "/"')
    fleet.start()
    assert oct(fleet.socket.stat().st_mode & 0o777) == "0o666"
    pid = fleet.until_state("own", "running")["pid"]
    done = as_nobody(CONNECT.format(path=str(fleet.socket)))
    assert done.stdout, done
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["error"]["code"] for answer in answers] == ["forbidden"], done
    assert fleet.status("own")["pid"] == pid
    assert fleet.counters()["sockets"]["connections_strangers"] == 1


@pytest.mark.root
def test_l3_a_directory_that_others_can_write_is_refused(fleet: Fleet) -> None:
    (fleet.root / "run").chmod(0o777)
    assert refusal_to_start(fleet, str(fleet.root / "run"))
    (fleet.root / "run").chmod(0o755)
    os.chown(fleet.root / "run", NOBODY, NOBODY)
    assert refusal_to_start(fleet, str(fleet.root / "run"))


def test_l3_a_symlink_in_the_place_of_socket_or_directory_is_refused(fleet: Fleet) -> None:
    target = fleet.root / "precious"
    target.write_text("keep me")
    fleet.socket.symlink_to(target)
    assert refusal_to_start(fleet, str(fleet.socket))
    assert target.read_text() == "keep me"
    fleet.socket.unlink()
    fleet.socket.write_text("somebody else's file")
    assert refusal_to_start(fleet, str(fleet.socket))
    assert fleet.socket.read_text() == "somebody else's file"
    fleet.socket.unlink()
    shutil.rmtree(fleet.root / "run")
    (fleet.root / "elsewhere").mkdir()
    (fleet.root / "run").symlink_to(fleet.root / "elsewhere")
    assert refusal_to_start(fleet, str(fleet.root / "run"))


def refusal_to_start(fleet: Fleet, named: str) -> bool:
    """Whether the daemon refuses to start, exits 1 and names what is in its way."""
    fleet.start(ready=False)
    assert fleet.process is not None
    code = fleet.process.wait(15)
    fleet.process = None
    assert code == 1, fleet.log()
    assert named in fleet.log(), fleet.log()
    return True


def test_l4_a_command_is_a_name_in_a_table_and_nothing_else(fleet: Fleet) -> None:
    fleet.start()
    names = [
        "__class__",
        "__init__",
        "a.b.c",
        "core.step",
        "STATUS",
        "status ",
        "",
        "os.system",
        "../status",
        "status\x00",
        *[f"unknown-{number}" for number in range(200)],
    ]
    refused = 0
    with fleet.connect() as channel:
        for number, name in enumerate(names):
            line = {"id": number, "cmd": name, "args": {"select": ["all"]}}
            channel.sendall(json.dumps(line).encode() + b"\n")
            answer = json.loads(read_line(channel))
            assert answer["error"]["code"] in ("unknown_command", "bad_request", "too_busy"), name
            refused += answer["error"]["code"] == "unknown_command"
    assert refused >= len(names) - 10
    assert fleet.counters()["sockets"]["commands_unknown"] == refused


def test_l6_no_shell_ever_sees_a_command(fleet: Fleet) -> None:
    trace = fleet.root / "trace"
    line = f"echo hi ; touch {trace} && touch {trace} | touch $(touch {trace}) `touch {trace}`"
    (fleet.root / "agents.d" / "words.toml").write_text(
        f"command = {json.dumps(line)}\n[restart]\npolicy = 'never'\n{PLAIN}"
    )
    fleet.start()
    shown = fleet.until("words", lambda s: s["last_exit"] is not None)
    assert shown["last_exit"]["code"] == 0
    assert "; touch" in str(fleet.ask("logs", select=["words"]))
    assert not trace.exists()


def test_l7_a_secret_is_only_in_its_agents_own_environment(fleet: Fleet) -> None:
    (fleet.root / "agents.d" / "more.env").write_text(f"MORE_SECRET=more-{CANARY}\n")
    (fleet.root / "agents.d" / "more.env").chmod(0o600)
    text = (
        f'environment = {{ API_KEY = "{CANARY}" }}\nenvironment_files = ["more.env"]\n'
        "[restart]\ncooldown = '1s'\n"
    )
    fleet.shell("holder", "sleep 0.2; exit 3", text)
    fleet.sleeper("keeper", f'environment = {{ API_KEY = "{CANARY}" }}')
    fleet.start()
    fleet.until_state("holder", "escalated")
    pid = fleet.until_state("keeper", "running")["pid"]
    assert CANARY.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    documents: list[object] = [
        fleet.ask("status"),
        fleet.ask("show"),
        fleet.ask("daemon"),
        fleet.journal(),
        fleet.ask("reload", dry_run=True),
        fleet.log(),
        subprocess.run(
            ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True
        ).stdout,
        agentctl(fleet, "show", "holder").stdout,
    ]
    for number, document in enumerate(documents):
        assert CANARY not in str(document), number
    fleet.crash()
    for path in [*fleet.root.rglob("*")]:
        if path.is_file() and path.suffix not in (".toml", ".env"):
            assert CANARY.encode() not in path.read_bytes(), path
    fleet.start()
    assert CANARY.encode() not in Path(f"/proc/{fleet.pid}/environ").read_bytes()


def agentctl(fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(AGENTCTL), "--socket", str(fleet.socket), *words],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.root
def test_l8_an_agent_with_a_user_has_that_users_rights_and_no_more(fleet: Fleet) -> None:
    fleet.sleeper("own", 'user = "nobody"\ndirectory = "/"')
    fleet.start()
    pid = fleet.until_state("own", "running")["pid"]
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert told["Uid"].split() == [str(NOBODY)] * 4
    assert len(set(told["Gid"].split())) == 1
    assert told["Gid"].split()[0] != "0"
    assert "0" not in told["Groups"].split()
    for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(told[kind], 16) == 0, kind
    assert told["NoNewPrivs"].strip() == "1"


DISGUISES = ("plain", "empty", "setsid", "orphan")


@pytest.mark.parametrize("disguise", DISGUISES)
def test_l14_no_disguise_makes_an_agent_an_operator(fleet: Fleet, disguise: str) -> None:
    fleet.sleeper("victim")
    said = fleet.root / "said"
    words = [PYTHON, "-S", str(PROGRAMS / "rebel.py"), str(said), disguise]
    fleet.agent("rebel", words, PLAIN)
    fleet.start()
    victim = fleet.until_state("victim", "running")
    fleet.until_true(said.exists)
    answers: list[Document] = json.loads(said.read_text())
    assert len(answers) == 7
    assert {answer["error"]["code"] for answer in answers} == {"forbidden"}, answers
    after = fleet.status("victim")
    assert (after["pid"], after["intent"], after["held"]) == (victim["pid"], "up", False)
    assert fleet.status("rebel")["intent"] == "up"


def test_l14_a_killed_sibling_cannot_be_revived_by_agentctl_within_an_agent(fleet: Fleet) -> None:
    fleet.sleeper("victim")
    said = fleet.root / "said"
    said.mkdir()
    drop = f"env -i PATH=/usr/bin:/bin {AGENTCTL} --socket {fleet.socket}"
    script = (
        f"sleep 1; {drop} resume victim 2>{said}/1.err; echo $? >{said}/1;"
        f"setsid {drop} start victim 2>{said}/2.err; echo $? >{said}/2;"
        f"{AGENTCTL} kill rebel 2>{said}/3.err; echo $? >{said}/3; sleep 600"
    )
    fleet.shell("rebel", script)
    fleet.start()
    fleet.until_state("victim", "running")
    fleet.ask("kill", select=["victim"], reason="by a person")
    fleet.until_true(lambda: (said / "3").exists() and (said / "3").read_text())
    for number in "123":
        told = (said / f"{number}.err").read_text()
        assert (said / number).read_text().strip() == "4", told
        assert re.search("may not|forbidden", told), told
    shown = fleet.status("victim")
    assert (shown["intent"], shown["pid"]) == ("killed", None)
    assert fleet.status("rebel")["intent"] == "up"
    assert {event["agent"] for event in fleet.events(kind="security.refused")} == {"rebel"}


def test_l14_a_helper_that_the_daemon_starts_is_no_operator_either(fleet: Fleet) -> None:
    said = fleet.root / "said"
    fleet.sleeper("victim")
    script = f"{AGENTCTL} --socket {fleet.socket} kill victim >{said} 2>&1; echo $? >>{said}"
    text = f"[restart]\nfailures_max = 1\non_escalate = {json.dumps(['/bin/sh', '-c', script])}\n"
    fleet.shell("fails", "exit 1", text)
    fleet.start()
    pid = fleet.until_state("victim", "running")["pid"]
    fleet.until_true(lambda: said.exists() and said.read_text().endswith("4\n"), fleet.log)
    assert (fleet.status("victim")["pid"], fleet.status("victim")["intent"]) == (pid, "up")


def test_the_operator_outside_is_still_heard(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.start()
    fleet.until_state("one", "running")
    done = agentctl(fleet, "kill", "one", "--reason", "enough")
    assert done.returncode == 0, done.stderr
    assert fleet.status("one")["intent"] == "killed"
    with pytest.raises(Refused, match="killed"):
        fleet.ask("start", select=["one"])
