"""A daemon with a canary in every place that holds a secret, and who looks for them.

Each is unlike every other, so that a leak names its source.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.daemon.harness import DEFAULTS, PYTHON, Daemon, environment
from tests.fleet.server import free_port
from tests.places import short_root
from tests.sinks.receiver import Receiver

PROGRAM = Path(__file__).parent / "programs" / "indiscreet.py"
AGENTCTL, AGENTD = (Path(sys.executable).with_name(name) for name in ("agentctl", "agentd"))

# What agents are given, and tell whoever listens.
SAID = {
    "environment": "canary-environment-1f2e3d4c",
    "environment file": "canary-envfile-5b6a7988",
    "key by its look": "sk-canary0bylook0aaaabbbbccccdddd",
    "word of a command": "canary-word-7c8d9eaf",
}
NEVER_SAID = {
    "url_file": "canary-urlfile-0a1b2c3d",
    "url": "canary-url-4e5f6071",
    "url_file of apprise": "canary-apprise-b3c4d5e6",
    "secret_file": "canary-hmac-82930415",
    "routing_key_file": "canary-routing-a6b7c8d9",
    "ping_url": "canary-ping-eafb0c1d",
    "token_file": "canary-token-2e3f4051-0123456789",
    "token_file of [http]": "canary-http-1a2b3c4d-0123456789abcdef",
    "credentials_file": "canary-credentials-9a8b7c6d",
    "the daemon's environment": "canary-launcher-62738495",
    "command sink": "canary-command-a6b7c8e0",
}
CANARIES = {**SAID, **NEVER_SAID}
NAMES = ("API_KEY", "MORE_SECRET", "HARMLESS_NAME")


@dataclass
class Planted:
    """The daemon, whom it alerts, and which canaries were written where it reads them."""

    daemon: Daemon
    receiver: Receiver
    port: int
    """Of its dashboard."""
    used: set[str] = field(default_factory=set)

    def canary(self, place: str) -> str:
        self.used.add(place)
        return CANARIES[place]

    def file(self, name: str, text: str) -> str:
        """Write a file of a secret; return its name."""
        path = self.daemon.root / name
        path.write_text(text)
        path.chmod(0o600)
        return name


@contextmanager
def planted_daemon() -> Iterator[Planted]:
    """Start one whose agents have told their canaries and failed."""
    with short_root() as root, Receiver() as receiver:
        daemon = Daemon(root)
        planted = Planted(daemon, receiver, free_port())
        try:
            _configure(planted)
            for agent, lives_s in (("holder", "0.2"), ("keeper", "600")):
                _indiscreet(planted, agent, lives_s)
            daemon.start(env={"LAUNCHERS_API_KEY": planted.canary("the daemon's environment")})
            daemon.until_state("holder", "escalated")
            daemon.until("keeper", lambda shown: shown["task"])
            yield planted
        finally:
            daemon.close()


def _configure(planted: Planted) -> None:
    canary, file = planted.canary, planted.file
    base = planted.receiver.url.rstrip("/")
    hook = file("hook.secret", f"{base}/{canary('url_file')}")
    hmac = file("hmac.secret", canary("secret_file"))
    key = file("r.secret", canary("routing_key_file"))
    services = base.replace("http://", "json://") + f"/{canary('url_file of apprise')}"
    script = 'cat >&2; echo "$0 $1" >&2; exit 1'
    words = json.dumps(["/bin/sh", "-c", script, "told", f"--token={canary('command sink')}"])
    dead = "http://127.0.0.1:9"
    sinks = {
        "hook": f'type = "webhook"\nurl_file = "{hook}"\nsecret_file = "{hmac}"',
        "dead": f'type = "webhook"\nurl = "{dead}/{canary("url")}"',
        "duty": f'type = "pagerduty"\nurl = "{base}/duty"\nrouting_key_file = "{key}"',
        "told": f'type = "command"\ncommand = {words}',
        # Each delivery is a program of its own that takes a second: one alert will do.
        "many": 'type = "apprise"\nevents = ["agent.escalated"]\n'
        f'url_file = "{file("many.secret", services)}"',
    }
    tables = [
        f'[[alerts.sinks]]\nname = "{name}"\n{sink}\nmin_severity = "info"'
        for name, sink in sinks.items()
    ]
    token = file("http.secret", canary("token_file of [http]"))
    user = file("nats.secret", f"me:{canary('credentials_file')}")
    tables += [
        f'[report]\nping_url = "{dead}/{canary("ping_url")}"\nping_every = "1s"',
        f'[http]\nlisten = "127.0.0.1:{planted.port}"\ntoken_file = "{token}"\noperate = true',
        f'[fleet]\nname = "here"\nnats = ["nats://127.0.0.1:9"]\ncredentials_file = "{user}"',
    ]
    planted.daemon.configure(extra="\n".join([DEFAULTS, *tables]))
    outer = file("outer.secret", canary("token_file"))
    agents = planted.daemon.root / "agents.d"
    (agents / "outer.toml").write_text(f'external = true\ntoken_file = "../{outer}"\n')


def _indiscreet(planted: Planted, name: str, lives_s: str) -> None:
    """An agent that tells all it knows, and fails after so long."""
    canary = planted.canary
    planted.file("agents.d/more.env", f"MORE_SECRET={canary('environment file')}\n")
    variables = {
        "API_KEY": canary("environment"),
        "HARMLESS_NAME": canary("key by its look"),
        "LIVES_S": lives_s,
    }
    given = ", ".join(f"{key} = {json.dumps(value)}" for key, value in variables.items())
    text = (
        f"environment = {{ {given} }}\n"
        'environment_files = ["more.env"]\n'
        "[restart]\nfailures_max = 2\ncooldown = '100ms'\n"
        'on_escalate = ["/bin/sh", "-c", "cat; cat >&2; exit 1"]\n'
        "[heartbeat]\nrequired = false"
    )
    word = f"--password={canary('word of a command')}"
    planted.daemon.agent(name, [PYTHON, "-S", str(PROGRAM), word, *NAMES], text)


def leaks(text: str | bytes, *, but: tuple[str, ...] = ()) -> list[str]:
    """Which places' canaries are in a text; `but`: those that belong there.

    The first half of one is a leak, too: words of an agent are cut before they are masked.
    """
    raw = text.encode() if isinstance(text, str) else text
    begun = {name: one[: max(12, (len(one) + 1) // 2)] for name, one in CANARIES.items()}
    return [name for name, half in begun.items() if name not in but and half.encode() in raw]


def agentctl(daemon: Daemon, *words: str) -> str:
    """Everything that one call puts out."""
    return output_of([str(AGENTCTL), "--socket", str(daemon.socket), *words])


def output_of(words: list[str]) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=False, env=environment()
    )
    return done.stdout + done.stderr


def carried(kind: str) -> dict[int, bytes]:
    """The command line or the environment of every process of this machine but our own."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found[int(entry.name)] = (entry / kind).read_bytes()
            except OSError:  # it ended meanwhile
                continue
    return found
