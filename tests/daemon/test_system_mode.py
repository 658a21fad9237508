"""System mode end to end: a daemon of root's, agents of other users, and strangers outside."""

import grp
import json
import os
import shutil
import site
import stat
import subprocess
from pathlib import Path

import pytest

from tests.daemon.harness import PROGRAMS, Daemon, Document

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may start agents as somebody else"),
]

NOBODY = 65534
# A group that is there and nobody's here.
VIEWERS = "games"

# What an agent finds when it looks where it has no business; told on its stdout.
NOSY = """
import json, os, signal, sys
found = {}
for place in sys.argv[1:]:
    try:
        if os.path.isdir(place):
            os.listdir(place)
        else:
            open(place, "rb").read()
        found[place] = "read"
    except OSError as error:
        found[place] = type(error).__name__
print(json.dumps(found), flush=True)
signal.pause()
"""


@pytest.fixture
def python() -> str:
    """A Python that other users may execute; the one of a virtual environment may be root's."""
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        pytest.skip("there is no Python for other users here")
    return found


def own(daemon: Daemon, name: str, words: list[str], text: str = "", user: str = "nobody") -> None:
    daemon.agent(name, words, f'user = "{user}"\ndirectory = "/"\n{text}')


def program(daemon: Daemon, name: str) -> str:
    """A program where everybody may read it."""
    copy = daemon.root / name
    shutil.copy(PROGRAMS / name, copy)
    copy.chmod(0o755)
    return str(copy)


def outside(
    python: str, daemon: Daemon, *words: str, groups: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """`agentctl` as run by nobody, who is no agent's process."""
    code = Path(__file__).parents[2]
    return subprocess.run(
        [python, "-m", "agentd.cli", "--socket", str(daemon.socket), *words],
        user=NOBODY,
        group=NOBODY,
        extra_groups=groups,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join([str(code), *site.getsitepackages()])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_an_agent_of_another_user_connects_beats_and_notifies(daemon: Daemon, python: str) -> None:
    own(daemon, "beats", [python, "-S", program(daemon, "beater.py")])
    own(daemon, "notifies", [python, "-S", program(daemon, "notifier.py")], 'ready = "notify"')
    daemon.start()
    for name in ("beats", "notifies"):
        shown = daemon.until(name, lambda s: s["health"] == "healthy" and s["heartbeats"] >= 2)
        assert f"\nUid:\t{NOBODY}\t" in Path(f"/proc/{shown['pid']}/status").read_text()
    assert mode(daemon.socket) == "0o666"
    assert mode(daemon.root / "state") == "0o700"
    log = daemon.root / "logs" / "beats.log"
    assert (log.stat().st_uid, mode(log)) == (0, "0o640")
    told = daemon.ask("logs", select=["beats"])["logs"][0]["lines"]
    assert told == ["beating as beats"]


def test_the_socket_is_opened_for_a_user_who_comes_with_a_reload(
    daemon: Daemon, python: str
) -> None:
    shutil.rmtree(daemon.root / "run")  # the daemon makes it
    daemon.sleeper("plain")
    daemon.start()
    daemon.until_state("plain", "running")
    assert mode(daemon.socket) == "0o600"
    refused = outside(python, daemon, "ping")
    assert refused.returncode in (4, 7), refused
    assert "ermission denied" in refused.stderr, refused
    own(daemon, "beats", [python, "-S", program(daemon, "beater.py")])
    assert daemon.ask("reload")["added"] == ["beats"]
    daemon.until("beats", lambda s: s["heartbeats"] >= 2)
    assert mode(daemon.socket) == "0o666"


def test_an_agent_reads_nothing_of_the_daemon_or_of_another_agent(
    daemon: Daemon, python: str
) -> None:
    holds = 'environment = { API_KEY = "canary-77" }'
    own(daemon, "quiet", ["sleep", "600"], f"{holds}\n[heartbeat]\nrequired = false", "daemon")
    daemon.start()
    quiet = daemon.until_state("quiet", "running")
    places = [
        str(daemon.root / "state"),
        str(daemon.root / "state" / "agentd.db"),
        str(daemon.root / "logs" / "quiet.log"),
        f"/proc/{quiet['pid']}/environ",
        f"/proc/{quiet['pid']}/fd",
        f"/proc/{daemon.pid}/environ",
        f"/proc/{daemon.pid}/fd",
        str(daemon.root / "run" / "notify"),
    ]
    own(daemon, "nosy", [python, "-S", "-c", NOSY, *places], "[heartbeat]\nrequired = false")
    daemon.ask("reload")
    daemon.until_true(lambda: _said(daemon))
    found: dict[str, str] = json.loads(_said(daemon)[0])
    assert found == dict.fromkeys(places, "PermissionError")


def _said(daemon: Daemon) -> list[str]:
    daemon.until_state("nosy", "running")
    lines: list[str] = daemon.ask("logs", select=["nosy"])["logs"][0]["lines"]
    return lines


def test_a_stranger_with_agentctl_is_refused_and_exits_4(daemon: Daemon, python: str) -> None:
    own(daemon, "one", ["sleep", "600"], "[heartbeat]\nrequired = false", "daemon")
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    for words in (("status",), ("kill", "one"), ("logs", "one"), ("shutdown",)):
        done = outside(python, daemon, *words)
        assert (done.returncode, done.stdout) == (4, ""), (words, done)
        assert done.stderr.startswith("agentctl: "), done.stderr
    assert daemon.status("one")["pid"] == pid


def test_a_member_of_the_viewer_group_reads_states_but_no_text_and_changes_nothing(
    daemon: Daemon, python: str
) -> None:
    try:
        viewers = grp.getgrnam(VIEWERS).gr_gid
    except KeyError:
        pytest.skip(f"there is no group {VIEWERS} here")
    daemon.configure(f'viewer_group = "{VIEWERS}"')
    holds = 'environment = { API_KEY = "canary-88" }'
    daemon.agent(
        "one", ["sh", "-c", "echo $API_KEY; sleep 600"], f"{holds}\n[heartbeat]\nrequired = false"
    )
    daemon.start()
    pid = daemon.until_state("one", "running")["pid"]
    assert mode(daemon.socket) == "0o666"

    def view(*words: str) -> subprocess.CompletedProcess[str]:
        return outside(python, daemon, *words, groups=(viewers,))

    status: Document = json.loads(view("status", "--json").stdout)
    assert [agent["pid"] for agent in status["agents"]] == [pid]
    for words in (("show", "one"), ("events", "-n", "20"), ("daemon",)):
        done = view(*words)
        assert done.returncode == 0, done
        assert done.stdout
        assert "canary-88" not in done.stdout
    for words in (("logs", "one"), ("stop", "one"), ("reload",), ("shutdown",)):
        assert view(*words).returncode == 4, words
    assert daemon.status("one")["pid"] == pid
    assert outside(python, daemon, "status").returncode == 4


def test_a_viewer_reads_an_incident_without_what_the_agent_wrote(
    daemon: Daemon, python: str
) -> None:
    try:
        viewers = grp.getgrnam(VIEWERS).gr_gid
    except KeyError:
        pytest.skip(f"there is no group {VIEWERS} here")
    daemon.configure(f'viewer_group = "{VIEWERS}"')
    words = ["sh", "-c", "echo a-word-of-its-own; exit 3"]
    daemon.agent("one", words, "restart.failures_max = 1\n[heartbeat]\nrequired = false")
    daemon.start()
    daemon.until_state("one", "escalated")
    asked = {"id": 1}
    daemon.until_true(lambda: daemon.ask("incidents")["incidents"])
    daemon.until_true(lambda: daemon.ask("incidents", **asked)["evidence"].get("log_tail"))
    assert "a-word-of-its-own" in json.dumps(daemon.ask("incidents", **asked)["evidence"])
    for form in (("--json",), ()):
        done = outside(python, daemon, "incident", "1", *form, groups=(viewers,))
        assert done.returncode == 0, done
        assert "EXITED" in done.stdout
        assert "a-word-of-its-own" not in done.stdout
    assert outside(python, daemon, "incidents", groups=(viewers,)).returncode == 0
    assert outside(python, daemon, "ack", "1", groups=(viewers,)).returncode == 4
