"""A supervisor with N counting agents, to be killed and started again; and agentd as one.

Each is set up as its own documents recommend it: restarts on, logs to files, and started again
by the command that its systemd unit would run. All processes carry a mark in their environment,
by which they are found again wherever they hide, and by which the bench ends what it has made.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from agentd.client import Client
from bench.killed_keeper import Keeper

ROOT = Path(__file__).resolve().parent.parent
OURS = Path(sys.executable).parent
AGENT = ROOT / "bench" / "killed_agent.py"
MARK = "AGENTD_BENCH_MARK"
ANSWER_S_MAX = 60.0
COMMAND_S_MAX = 60.0
LOOK_S = 0.05


class Fleet:
    """One supervisor and its agents in a scratch directory; all is ended on exit."""

    name: ClassVar[str]

    def __init__(self, agents: int) -> None:
        self.names = [f"a{number:02}" for number in range(agents)]
        self.home = Path(tempfile.mkdtemp(prefix=f"killed-{self.name}-"))
        self.mark = secrets.token_hex(8)
        self.process: subprocess.Popen[bytes] | None = None
        for folder in ("counted", "runs", "logs", "beats"):
            (self.home / folder).mkdir()

    def __enter__(self) -> Self:
        self.configure()
        self.launch()
        self.await_answer()
        self.set_up()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        shutil.rmtree(self.home, ignore_errors=True)

    def end(self) -> None:
        """Kill everything: the supervisor first, or it would start the others again."""
        with contextlib.suppress(OSError):
            self.kill()
        end_all(lambda: list(self.processes()))

    # --- what each does in its own way

    def configure(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        """What its service manager runs."""
        raise NotImplementedError

    def control(self, *words: str) -> list[str]:
        raise NotImplementedError

    def stop(self, name: str) -> bool:
        """As an operator does; whether it was acknowledged."""
        return self.run(self.control("stop", name))

    def start(self, name: str) -> bool:
        return self.run(self.control("start", name))

    def set_up(self) -> None:
        """What is to be done once, after the first start."""

    def supervisor_pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def managed(self) -> dict[str, int]:
        """The process of each agent that the supervisor has: its own children."""
        supervisor = self.supervisor_pid()
        found = self.processes()
        return {name: pid for pid, name in found.items() if name and parent_of(pid) == supervisor}

    def diary(self) -> Path:
        """Where it writes down what it sees, if its agents' ends are in there."""
        return self.home / "supervisor.out"

    def log_of(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    # --- the same for all

    def words(self, number: int) -> list[str]:
        """The command of one agent: every second one is hardened against a broken stdout."""
        temper = "hardened" if number % 2 else "plain"
        return [sys.executable, "-S", str(AGENT), str(self.home), self.names[number], temper]

    def environment(self) -> dict[str, str]:
        return {**os.environ, MARK: self.mark}

    def launch(self) -> None:
        """Start the supervisor as its service manager does."""
        self.launch_as(self.command(), {}, [])

    def launch_as(self, words: list[str], more: dict[str, str], fds: list[int]) -> None:
        """Start these words with further variables, and descriptors under their numbers."""
        log = (self.home / "supervisor.out").open("ab")
        self.process = subprocess.Popen(
            words,
            cwd=self.home,
            env=self.environment() | more,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=fds,
        )
        log.close()

    def kill(self) -> None:
        """SIGKILL to the supervisor alone, and wait for its end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(ANSWER_S_MAX)

    def answers(self) -> bool:
        """Whether its own command line gets an answer."""
        done = subprocess.run(
            self.control("status"), env=self.environment(), capture_output=True, check=False
        )
        return done.returncode in (0, 3)

    def await_answer(self) -> float:
        """Seconds until it answers."""
        begun = time.monotonic()
        while not self.answers():
            if time.monotonic() - begun > ANSWER_S_MAX:
                told = (self.home / "supervisor.out").read_text(errors="replace")[-2000:]
                raise TimeoutError(f"{self.name} doesn't answer: {told}")
            time.sleep(LOOK_S)
        return time.monotonic() - begun

    def run(self, command: list[str]) -> bool:
        """Run one of its commands; whether it went well."""
        try:
            done = subprocess.run(
                command,
                cwd=self.home,
                env=self.environment(),
                capture_output=True,
                check=False,
                timeout=COMMAND_S_MAX,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def said(self, *words: str) -> str:
        """What one of its commands prints."""
        done = subprocess.run(
            self.control(*words),
            cwd=self.home,
            env=self.environment(),
            capture_output=True,
            check=False,
            timeout=COMMAND_S_MAX,
        )
        return done.stdout.decode(errors="replace")

    def processes(self) -> dict[int, str]:
        """Every living process of this bench: the agent's name, or none for the supervisor's."""
        wanted = f"{MARK}={self.mark}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = self._agent_of(entry)
        return found

    def copies(self) -> dict[str, list[int]]:
        """The living processes of each agent."""
        found: dict[str, list[int]] = {name: [] for name in self.names}
        for pid, name in self.processes().items():
            if name and is_alive(pid):
                found[name].append(pid)
        return found

    def runs(self) -> dict[str, tuple[int, str]]:
        """The latest run of each agent as it wrote it down: pid, and incarnation if any."""
        found = {}
        for name in self.names:
            with contextlib.suppress(FileNotFoundError):
                pid, _, incarnation = (self.home / "runs" / name).read_text().partition(" ")
                found[name] = int(pid), incarnation
        return found

    def _agent_of(self, entry: Path) -> str:
        words = (entry / "cmdline").read_bytes().split(b"\0")
        place = words.index(str(AGENT).encode()) if str(AGENT).encode() in words else -1
        return words[place + 2].decode() if place >= 0 else ""


class Agentd(Fleet):
    name = "agentd"

    def __init__(self, agents: int) -> None:
        super().__init__(agents)
        self.keeper = Keeper(self.home / "manager")

    def launch(self) -> None:
        self.launch_as(*self.keeper.handed(self.command()))

    def end(self) -> None:
        super().end()
        self.keeper.close()

    def configure(self) -> None:
        self.socket = self.home / "s"
        lines = [
            "[daemon]",
            f'state_dir = "{self.home}/state"',
            f'log_dir = "{self.home}/logs"',
            'operator_group = ""',
            "[defaults]",
            "heartbeat.required = false",
            # Some agents are killed again and again here, and none is to be given up for it.
            'restart = { cooldown = "1s", failures_max = 1000 }',
            f'environment = {{ {MARK} = "{self.mark}" }}',
        ]
        for number, name in enumerate(self.names):
            lines += [f"[agents.{name}]", f"command = {json.dumps(self.words(number))}"]
        (self.home / "agentd.toml").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        config = str(self.home / "agentd.toml")
        return [str(OURS / "agentd"), "start", "--config", config, "--socket", str(self.socket)]

    def control(self, *words: str) -> list[str]:
        return [str(OURS / "agentctl"), "--socket", str(self.socket), *words]

    def agents(self) -> list[dict[str, Any]]:
        """The agents' part of the status document."""
        with Client(str(self.socket)) as client:
            shown: list[dict[str, Any]] = client.status()["agents"]
        return shown

    def managed(self) -> dict[str, int]:
        return {agent["name"]: agent["pid"] for agent in self.agents() if agent["pid"]}

    def stop(self, name: str) -> bool:
        return self.run(self.control("kill" if is_killed(name) else "stop", name))

    def start(self, name: str) -> bool:
        return self.run(self.control("resume" if is_killed(name) else "start", name))

    def beats(self) -> dict[str, int]:
        """How many heartbeats it has counted of each."""
        return {agent["name"]: agent["heartbeats"] for agent in self.agents()}

    def intents(self) -> dict[str, str]:
        return {agent["name"]: agent["intent"] for agent in self.agents()}

    def ends(self) -> dict[str, dict[str, object]]:
        """What it told of every end: by incarnation, the event."""
        found: dict[str, dict[str, object]] = {}
        after = 0
        with Client(str(self.socket)) as client:
            while True:
                page = client.ask("events", {"after": after, "limit": 2000})["events"]
                for event in page:
                    if event["event"] == "agent.exited":
                        assert event["incarnation"] not in found, f"ended twice: {event}"
                        found[event["incarnation"]] = event
                if len(page) < 2000:
                    return found
                after = page[-1]["id"]


def is_killed(name: str) -> bool:
    """Every fourth agent is stopped by `kill`, which nothing but `resume` undoes."""
    return int(name[1:]) % 4 == 0


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end_all(look: Callable[[], list[int]]) -> None:
    """Kill what `look` finds until it finds nobody that lives."""
    end = time.monotonic() + ANSWER_S_MAX
    while living := [pid for pid in look() if is_alive(pid)]:
        if time.monotonic() > end:
            raise TimeoutError(f"these don't end: {living}")
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
