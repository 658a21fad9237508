"""agentctl as a person uses it, each command once, through a real daemon."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from tests.daemon.harness import Daemon
from tests.places import short_root
from tests.programs.places import AGENTCTL, BIN

DONE, FAILED, USAGE, NOT, UNKNOWN, NO_SUCH, AWAY, LATE = 0, 1, 2, 3, 4, 5, 7, 124


@pytest.fixture(scope="module")
def fleet() -> Iterator[Daemon]:
    with short_root() as root:
        daemon = Daemon(root)
        daemon.beater("worker", "task=ticket-918", "step=17", "tool=web_search",
                      text='tags = ["shop"]\ndescription = "answers tickets"')  # fmt: skip
        daemon.sleeper("idler")
        daemon.agent(
            "broken", ["sh", "-c", "echo no price; exit 3"],
            'restart.failures_max = 1\nheartbeat.required = false\nenvironment = {KEY = "secret"}',
        )  # fmt: skip
        daemon.start()
        daemon.until("worker", lambda shown: shown["health"] == "healthy")
        daemon.until_state("broken", "escalated")
        try:
            yield daemon
        finally:
            daemon.close()


def environment(daemon: Daemon, **more: str) -> dict[str, str]:
    kept = {key: word for key, word in os.environ.items() if not key.startswith("AGENTD_")}
    path = f"{BIN}:{kept.get('PATH', '')}"
    return {**kept, "AGENTD_SOCKET": str(daemon.socket), "PATH": path, **more}


def run(daemon: Daemon, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [AGENTCTL, *words],
        env=environment(daemon, **more),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
    )


# In this order, as a morning's work: a command line, its exit code, and a pattern that what it
# says must match.
MORNING = [
    ("ping", DONE, r"agentd answers"),
    ("version", DONE, r"agentctl \d.*\nagentd +\d"),
    ("status", DONE, r"AGENT +STATE +HEALTH +PID .*\n(.*\n)*2 healthy, 1 unreachable"),
    ("ls worker", DONE, r"worker: running, healthy(.*\n)*.*tool web_search"),
    ("status broken", NOT, r"broken: escalated, unreachable(.*\n)*.*EXITED, exit code 3"),
    ("status nobody", UNKNOWN, r'no agent matches "nobody"\n  hint: '),
    ("status --check", 2, r"^agentd CRITICAL: broken escalated \(incident 1, EXITED\)\n$"),
    ("status --check worker", DONE, r"agentd OK: 1 healthy"),
    ("is-active worker", DONE, r"running"),
    ("is-active broken", NOT, r"^escalated\n$"),
    ("is-active nobody", UNKNOWN, r"nobody"),
    ("is-healthy worker", DONE, r"healthy"),
    ("is-failed broken", DONE, r"escalated, unreachable"),
    ("is-failed worker", NOT, r"^running, healthy\n$"),
    ("show worker", DONE, r"command = \[.*# .*worker\.toml:1"),
    ("show broken", DONE, r'environment\.KEY = "\(6 characters\)"'),
    ("logs broken -n 1", DONE, r"^no price\n$"),
    ("logs all --grep price --since 1h", DONE, r"broken \| no price"),
    ("logs worker --grep (", USAGE, r"^agentctl: not a regular expression"),
    ("events broken --type agent.escalated", DONE, r"critical +broken +agent\.escalated"),
    ("events -n 0", DONE, r"no events"),
    ("events --type agent.* -n 1", DONE, r"agent\."),
    ("events --type agent.exitted", USAGE, r'exitted.\n  hint: did you mean "agent.exited"'),
    ("events -f --type nonsense", USAGE, r"'nonsense'\n  hint: such as agent.exited"),
    ("daemon", DONE, r"storage +ok"),
    ("reload --dry-run", DONE, r"unchanged: broken, idler, worker\nnothing was done"),
    ("reload", DONE, r"unchanged: broken, idler, worker"),
    ("signal idler SIGCONT", DONE, r"idler: running \(SIGCONT sent\)"),
    ("signal idler SIGNONSENSE", USAGE, r"SIGNONSENSE"),
    ("pause worker --reason lunch", DONE, r"^worker: paused\n$"),
    ("start worker", FAILED, r'"worker" is paused \(by .*lunch.*\n  hint: agentctl resume worker'),
    ("resume worker", DONE, r"^worker: running"),
    ("hold worker", DONE, r"held"),
    ("unhold worker", DONE, r"no longer held"),
    ("kill idler --reason enough", DONE, r"^idler: stopped \(killed; stays down\)\n$"),
    ("restart idler", FAILED, r"hint: agentctl resume idler"),
    ("resume idler", DONE, r"new execution"),
    ("stop idler", DONE, r"^idler: stopped\n$"),
    ("start idler --fresh", DONE, r"^idler: running"),
    ("restart tag:shop", DONE, r"^worker: running"),
    ("reset broken", DONE, r"failures forgotten"),
    ("stop b*", DONE, r"^broken: stopped"),
    ("stop x*", NO_SUCH, r'no agent matches "x\*"'),
    ("stop", USAGE, r"hint: agentctl stop --help"),
    ("wait worker --for healthy", DONE, r"worker: running"),
    ("wait worker --for stopped --timeout 0.3", LATE, r"not stopped in time"),
    ("wait broken --for ready", FAILED, r'"broken" is stopped'),
    ("top", DONE, r"AGENT +STATE +HEALTH +CPU%"),
    ("completion bash", DONE, r"_agentctl_completion"),
    ("-q hold worker", DONE, r"^$"),
    ("unhold worker -q", DONE, r"^$"),
    ("frobnicate", USAGE, r"unknown command"),
    ("stauts", USAGE, r'did you mean "status"'),
    ("status --frob", USAGE, r"'--frob'\n  hint: "),
    ("-s /nonexistent/sock ping", AWAY, r"no such file or directory\n  hint: is it running"),
]  # fmt: skip


def test_a_morning_with_agentctl(fleet: Daemon) -> None:
    wrong = []
    for line, code, pattern in MORNING:
        done = run(fleet, *line.split())
        said = done.stdout + done.stderr
        # An error says who speaks, and is for people: no traceback.
        is_told_well = not done.stderr or done.stderr.startswith("agentctl: ")
        is_plain = not {"\x1b", "Traceback"} & set(re.findall(r"\x1b|Traceback", said))
        if done.returncode != code or not re.search(pattern, said) or not is_told_well & is_plain:
            wrong.append(f"agentctl {line}: exit {done.returncode}, not {code}?\n{said}")
    assert not wrong, "\n".join(wrong)


READS = (
    "ping", "version", "status", "status worker", "events", "logs worker", "show", "daemon",
    "top", "reload --dry-run", "is-active worker", "is-healthy worker", "is-failed worker",
    "wait worker", "status --check", "hold worker", "unhold worker", "reset worker",
)  # fmt: skip


@pytest.mark.parametrize("line", READS)
def test_json_is_exactly_one_document(fleet: Daemon, line: str) -> None:
    for words in (["--json", *line.split()], [*line.split(), "--json"]):
        done = run(fleet, *words)
        assert isinstance(json.loads(done.stdout), dict), done.stderr
        assert done.stdout.count("\n") == 1


def test_a_pipe_that_is_closed_early_is_no_error(fleet: Daemon) -> None:
    line = f"{AGENTCTL} events -n 1000 | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], env=environment(fleet), capture_output=True,
                          text=True, timeout=30, check=True)  # fmt: skip
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("logs -f worker", b"beating as worker"),
        ("events -f --json", b'{"id": '),
        ("status --watch", b"AGENT"),
    ],
)
def test_following_ends_cleanly_with_ctrl_c(fleet: Daemon, line: str, first: bytes) -> None:
    follower = subprocess.Popen([AGENTCTL, *line.split()], env=environment(fleet),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert follower.stdout is not None
    os.set_blocking(follower.stdout.fileno(), False)
    read_until(follower.stdout.fileno(), lambda seen: first in seen)
    follower.send_signal(signal.SIGINT)
    _, complaint = follower.communicate(timeout=15)
    assert (follower.returncode, complaint) == (130, b"")


def test_top_shows_the_agents_and_q_leaves(fleet: Daemon) -> None:
    with Terminal(fleet, "top", TERM="xterm-256color") as terminal:
        seen = terminal.until(lambda text: b"worker" in text and b"healthy" in text)
        assert b"CPU%" in seen
        terminal.type(b"q")
        assert terminal.ended() == 0


@pytest.mark.parametrize(
    ("more", "colours"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False),
     ({"TERM": "dumb"}, False)],
)  # fmt: skip
def test_colours_are_for_terminals_that_want_them(
    fleet: Daemon, more: dict[str, str], *, colours: bool
) -> None:
    with Terminal(fleet, "status", **{"NO_COLOR": "", **more}) as terminal:
        seen = terminal.until(lambda text: re.search(rb"\d healthy", text))
        assert (b"\x1b[" in seen) is colours
        assert terminal.ended() == 0


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("line", ["status", "status worker", "events -n 5", "top --once"])
def test_nothing_is_wider_than_the_terminal(fleet: Daemon, line: str, columns: int) -> None:
    more = {"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": str(columns)}
    with Terminal(fleet, *line.split(), **more) as terminal:
        text = terminal.rest().decode()
    assert "worker" in text or "events" in line
    assert max(map(len, text.replace("\r", "").splitlines())) <= columns, text


def test_the_completion_script_loads_and_completes(fleet: Daemon) -> None:
    script = (
        "source <(agentctl completion bash) && complete -p agentctl"
        ' && COMP_WORDS=(agentctl kill "wor") COMP_CWORD=2 && _agentctl_completion agentctl'
        ' && echo "reply: ${COMPREPLY[*]}"'
    )
    done = subprocess.run(["bash", "-c", script], env=environment(fleet), capture_output=True,
                          text=True, timeout=30, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "reply: worker" in done.stdout


def test_shutdown_stops_the_agents_and_the_daemon_and_waits(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.start()
    daemon.until_state("one", "running")
    done = run(daemon, "shutdown", "--reason", "night")
    assert (done.returncode, done.stdout) == (DONE, "agentd has stopped\n")
    assert daemon.process is not None
    assert daemon.process.wait(5) == 0
    assert daemon.survivors() == []
    assert run(daemon, "status").returncode == AWAY


class Terminal:
    """agentctl on a terminal of its own."""

    def __init__(self, daemon: Daemon, *words: str, **more: str) -> None:
        self._screen, inner = pty.openpty()
        self._process = subprocess.Popen(
            [AGENTCTL, *words], env=environment(daemon, **more),
            stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
        )  # fmt: skip
        os.close(inner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        os.close(self._screen)

    def until(self, wanted: Callable[[bytes], object]) -> bytes:
        return read_until(self._screen, wanted)

    def rest(self) -> bytes:
        """All that it says until it ends."""
        return read_until(self._screen, lambda _seen: False, at_end=True)

    def type(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def ended(self) -> int:
        self.rest()
        return self._process.wait(15)


def read_until(
    fd: int, wanted: Callable[[bytes], object], *, at_end: bool = False, timeout_s: float = 15
) -> bytes:
    """Read until it is as wanted, or with `at_end` to the end; fails when it isn't in time."""
    seen, until = b"", time.monotonic() + timeout_s
    while not wanted(seen):
        if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
            raise AssertionError(f"not shown in time: {seen!r}")
        try:
            part = os.read(fd, 65536)
        except OSError:  # EIO: the last user of the terminal is gone
            part = b""
        if not part:
            assert at_end, f"it ended: {seen!r}"
            break
        seen += part
    return seen
