"""A canary in every place that holds a secret, and a look at everything that agentd puts out.

Where a canary may be found is said here, place by place; anywhere else it is a leak.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.harness import DEFAULTS, PYTHON, Daemon, environment
from tests.places import short_root
from tests.sinks.receiver import Receiver

PROGRAM = Path(__file__).parent / "programs" / "indiscreet.py"
AGENTCTL, AGENTD = (Path(sys.executable).with_name(name) for name in ("agentctl", "agentd"))

# By the place they are planted in. Each is unlike every other, so that a leak names its source.
SAID = {
    "environment": "canary-environment-1f2e3d4c",
    "environment file": "canary-envfile-5b6a7988",
    "key by its look": "sk-canary0bylook0aaaabbbbccccdddd",
}
NEVER_SAID = {
    "url_file": "canary-urlfile-0a1b2c3d",
    "url": "canary-url-4e5f6071",
    "secret_file": "canary-hmac-82930415",
    "routing_key_file": "canary-routing-a6b7c8d9",
    "ping_url": "canary-ping-eafb0c1d",
    "token_file": "canary-token-2e3f4051-0123456789",
    "the daemon's environment": "canary-launcher-62738495",
    "command sink": "canary-command-a6b7c8e0",
}
CANARIES = {**SAID, **NEVER_SAID}

# Files of a user's own, where he wrote them down.
WRITTEN = (".toml", ".env", ".secret")


Planted = tuple[Daemon, Receiver]


@pytest.fixture(scope="module")
def planted() -> Iterator[Planted]:
    """A daemon with a canary in every place, whose agents have told theirs and failed."""
    with short_root() as root, Receiver() as receiver:
        daemon = Daemon(root)
        try:
            _plant(daemon, receiver)
            daemon.start(env={"LAUNCHERS_API_KEY": NEVER_SAID["the daemon's environment"]})
            daemon.until_state("holder", "escalated")
            daemon.until("keeper", lambda shown: shown["task"])
            yield daemon, receiver
        finally:
            daemon.close()


def _plant(daemon: Daemon, receiver: Receiver) -> None:
    root, base = daemon.root, receiver.url.rstrip("/")
    dead = f"http://127.0.0.1:9/{NEVER_SAID['url']}"
    secrets = {
        "hook": f"{base}/{NEVER_SAID['url_file']}",
        "hmac": NEVER_SAID["secret_file"],
        "r": NEVER_SAID["routing_key_file"],
        "outer": NEVER_SAID["token_file"],
    }
    for name, text in secrets.items():
        (root / f"{name}.secret").write_text(text)
        (root / f"{name}.secret").chmod(0o600)
    sinks = [
        'name = "hook"\ntype = "webhook"\nurl_file = "hook.secret"\nsecret_file = "hmac.secret"',
        f'name = "dead"\ntype = "webhook"\nurl = "{dead}"',
        f'name = "duty"\ntype = "pagerduty"\nurl = "{base}/duty"\nrouting_key_file = "r.secret"',
        'name = "told"\ntype = "command"\ncommand = ["/bin/sh", "-c", "cat >&2; exit 1"]',
    ]
    alerts = "".join(f'[[alerts.sinks]]\n{sink}\nmin_severity = "info"\n' for sink in sinks)
    report = (
        f'[report]\nping_url = "http://127.0.0.1:9/{NEVER_SAID["ping_url"]}"\nping_every = "1s"\n'
    )
    daemon.configure(extra=f"{DEFAULTS}\n{alerts}\n{report}")
    (root / "agents.d" / "more.env").write_text(f"MORE_SECRET={SAID['environment file']}\n")
    (root / "agents.d" / "more.env").chmod(0o600)
    names = ("API_KEY", "MORE_SECRET", "HARMLESS_NAME")
    for agent, lives_s in (("holder", "0.2"), ("keeper", "600")):
        environment = (
            f'environment = {{ API_KEY = "{SAID["environment"]}", LIVES_S = "{lives_s}",'
            f' HARMLESS_NAME = "{SAID["key by its look"]}" }}\nenvironment_files = ["more.env"]'
        )
        failing = (
            "[restart]\nfailures_max = 2\ncooldown = '100ms'\n"
            'on_escalate = ["/bin/sh", "-c", "cat; cat >&2; exit 1"]\n'
        )
        words = [PYTHON, "-S", str(PROGRAM), *names]
        daemon.agent(agent, words, f"{environment}\n{failing}[heartbeat]\nrequired = false")
    (root / "agents.d" / "outer.toml").write_text(
        'external = true\ntoken_file = "../outer.secret"\n'
    )


def leaks(text: str | bytes, *, but: tuple[str, ...] = ()) -> list[str]:
    """Which places' canaries are in a text; `but`: those that belong there."""
    raw = text.encode() if isinstance(text, str) else text
    return [name for name, one in CANARIES.items() if name not in but and one.encode() in raw]


def agentctl(daemon: Daemon, *words: str) -> str:
    done = subprocess.run(
        [str(AGENTCTL), "--socket", str(daemon.socket), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )
    return done.stdout + done.stderr


def test_l7_no_document_and_no_view_shows_a_secret(planted: Planted) -> None:
    daemon, receiver = planted
    daemon.until_true(lambda: len(receiver.received) >= 2)
    daemon.until_true(lambda: daemon.ask("incidents")["incidents"])
    number = str(daemon.ask("incidents")["incidents"][0]["id"])
    commands = [
        *(["status"], ["status", "--json"], ["status", "holder"], ["show", "holder"]),
        *(["show", "keeper", "--json"], ["events", "-n", "1000"], ["events", "--json"]),
        *(["incidents"], ["incident", number], ["incident", number, "--json"], ["daemon"]),
        *(["history"], ["report", "--date", "today"], ["report", "--date", "today", "--json"]),
        *(["report", "--date", "today", "--markdown"], ["alerts"], ["breakers"], ["reload"]),
        *(["logs", "holder"], ["logs", "keeper", "--json"], ["events", "--trace", "keeper"]),
        *(["checkpoints"], ["status", "keeper", "--json"]),
    ]
    found = {" ".join(words): leaks(agentctl(daemon, *words)) for words in commands}
    assert {words: names for words, names in found.items() if names} == {}
    documents = ("status", "show", "events", "incidents", "history", "alerts", "breakers", "daemon")
    for name in documents:
        assert leaks(json.dumps(daemon.ask(name))) == [], name
    assert leaks((daemon.root / "stderr").read_bytes()) == []
    for one in receiver.received:
        assert leaks(one.path, but=("url_file",)) == []
        body_may = ("routing_key_file",) if one.path.endswith("/duty") else ()
        assert leaks(one.body, but=body_may) == [], one.path
        assert leaks(str(dict(one.headers))) == []
    check = subprocess.run(
        [str(AGENTD), "check", "--config", str(daemon.config)],
        capture_output=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert leaks(check.stdout + check.stderr) == []


def test_l7_no_process_but_the_agent_itself_carries_a_secret(
    planted: Planted,
) -> None:
    daemon, _ = planted
    keeper = daemon.status("keeper")["pid"]
    found: dict[str, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        for name in ("cmdline", "environ"):
            may: tuple[str, ...] = ()
            if name == "environ" and int(entry.name) == keeper:
                may = tuple(SAID)
            if name == "environ" and int(entry.name) == daemon.pid:
                may = ("the daemon's environment",)
            try:
                found[f"{entry.name} {name}"] = leaks((entry / name).read_bytes(), but=may)
            except OSError:  # it ended meanwhile
                continue
    assert {place: names for place, names in found.items() if names} == {}


def test_l7_a_daemon_that_is_aborted_leaves_no_core(planted: Planted) -> None:
    daemon, _ = planted
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    [core] = [line.split() for line in limits.splitlines() if line.startswith("Max core")]
    assert core[4] == "0"
    before = {path.name for path in Path.cwd().iterdir()}
    daemon.signal(signal.SIGABRT)
    assert daemon.process is not None
    assert daemon.process.wait(15) == -signal.SIGABRT
    assert {path.name for path in Path.cwd().iterdir()} == before
    assert leaks((daemon.root / "stderr").read_bytes()) == []


def test_l7_no_file_of_ours_holds_a_secret_but_what_the_agent_wrote_itself(
    planted: Planted,
) -> None:
    daemon, _ = planted
    assert daemon.process is not None
    assert daemon.process.poll() is not None  # the test before has ended it
    for path in daemon.root.rglob("*"):
        if not path.is_file() or path.name.endswith(WRITTEN):
            continue
        # Its output is kept as it is; its checkpoints and actions it gets back as they were.
        own = path.suffix == ".log" or path.name.startswith("agentd.db")
        assert leaks(path.read_bytes(), but=tuple(SAID) if own else ()) == [], path
