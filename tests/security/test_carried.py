"""Whose environment holds an agent's secrets: its own, and that of its own commands."""

import json

from tests.daemon.harness import WAIT_S, Daemon, read_line
from tests.security.cast import token_of
from tests.security.planting import carried

CANARY, LAUNCHERS = "canary-of-errands-5e6f7a8b", "canary-of-the-launcher-9c0d1e2f"
OTHERS = "canary-of-another-agent-3a4b5c6d"
# Each is known by how long it sleeps; none ends while it is looked at.
SLEEPS = {"on_escalate": 86_401, "validate": 86_402, "judge": 86_403, "sink": 86_404}


def words(errand: str) -> str:
    return json.dumps(["sleep", str(SLEEPS[errand])])


def configure(daemon: Daemon) -> None:
    """One agent for each command of an agent's, all with one secret; an alert's command beside."""
    sink = f'[[alerts.sinks]]\nname = "s"\ntype = "command"\ncommand = {words("sink")}\n'
    daemon.configure(extra=f'{sink}min_severity = "info"\n')
    (daemon.root / "agents.d" / "more.env").write_text(f"MORE_SECRET={CANARY}\n")
    (daemon.root / "agents.d" / "more.env").chmod(0o600)
    variables = f'environment = {{ API_KEY = "{CANARY}" }}\nenvironment_files = ["more.env"]\n'
    quiet = "[heartbeat]\nrequired = false\n"
    fails = ["/bin/sh", "-c", "exit 1"]
    restart = f"{variables}{quiet}[restart]\ncooldown = '100ms'\n"
    daemon.agent("fails", fails, f"{restart}failures_max = 1\non_escalate = {words('on_escalate')}")
    daemon.agent("again", fails, f"{restart}validate = {words('validate')}")
    judge = f"[judge]\ncommand = {words('judge')}\nafter = 1\nevery = 1\n"
    daemon.sleeper("judged", f"{variables}{judge}")
    daemon.sleeper("other", f'environment = {{ API_KEY = "{OTHERS}" }}')


def sleeping(errand: str) -> int | None:
    """The pid of a command of the config, once it runs."""
    line = f"sleep\0{SLEEPS[errand]}\0".encode()
    return next((pid for pid, raw in carried("cmdline").items() if raw == line), None)


def step(daemon: Daemon) -> None:
    """Speak as the agent that has a judge, until that is asked."""
    token = token_of(daemon, "judged")
    with daemon.connect(WAIT_S) as channel:
        for number in range(1, 4):
            line = {"id": number, "type": "step", "step": number, "note": "n", "token": token}
            channel.sendall(json.dumps(line).encode() + b"\n")
            assert json.loads(read_line(channel))["ok"]


def test_l7_an_agents_own_commands_carry_its_secrets_and_nobody_else_does(daemon: Daemon) -> None:
    configure(daemon)
    daemon.start(env={"LAUNCHERS_API_KEY": LAUNCHERS})
    step(daemon)
    errands: dict[str, int | None] = {}

    def all_run() -> bool:
        errands.update((name, sleeping(name)) for name in SLEEPS)
        return None not in errands.values()

    daemon.until_true(all_run, lambda: str(errands))
    agents = {name: daemon.status(name)["pid"] for name in ("judged", "other")}
    environ = carried("environ")
    own = {errands[name] for name in ("on_escalate", "validate", "judge")} | {agents["judged"]}
    assert holders(environ, CANARY) == own
    assert holders(environ, OTHERS) == {agents["other"]}
    # For a moment, whatever the daemon starts is still its own image.
    daemon.until_true(lambda: holders(carried("environ"), LAUNCHERS) == {daemon.pid})
    shown = carried("cmdline")
    for canary in (CANARY, OTHERS, LAUNCHERS):
        assert holders(shown, canary) == set()
    for name, pid in errands.items():
        assert b"AGENTD_TOKEN=" not in environ[pid or 0], f"{name} could speak as an agent"
    others = [raw for pid, raw in environ.items() if pid not in (*own, *agents.values())]
    assert not any(f"AGENTD_SOCKET={daemon.socket}".encode() in raw for raw in others)


def holders(found: dict[int, bytes], canary: str) -> set[int]:
    return {pid for pid, raw in found.items() if canary.encode() in raw}
