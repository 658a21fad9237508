"""agentd, supervisord and circus behind one face, each with N programs called `sleep`."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar, Self

import procs

ROOT = Path(__file__).resolve().parent.parent
OURS = Path(sys.executable).parent
THEIRS = Path(os.environ.get("BENCH_VENV", ROOT / ".bench-venv")) / "bin"
RPC_FACTORY = "supervisor.rpcinterface:make_main_rpcinterface"
SLEEP = shutil.which("sleep") or "/bin/sleep"


class Daemon:
    """One supervisor in a scratch directory, started on entry, ended on exit."""

    name: ClassVar[str]

    def __init__(self, agents: int, *, autostart: bool = True, extra: str = "") -> None:
        self.agents = agents
        self.autostart = autostart
        self.extra = extra
        self.home = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-"))

    def __enter__(self) -> Self:
        self.configure()
        log = (self.home / "daemon.log").open("wb")
        self.process = subprocess.Popen(
            self.command(), cwd=self.home, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            procs.until(self.answers, 60, 0.05)
            if self.autostart:
                procs.until(lambda: self.alive() == self.agents, 120, 0.02)
        except TimeoutError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def pids(self) -> list[int]:
        """The daemon and the helpers that it needs for its work."""
        helpers = [
            pid
            for pid in procs.children_or_none(self.process.pid)
            if procs.command_of(pid) not in ("sleep", "sh", "agentd-gate")
        ]
        return [self.process.pid, *helpers]

    def alive(self) -> int:
        return len(procs.running([self.process.pid], "sleep"))

    def answers(self) -> bool:
        return subprocess.run(self.status(), capture_output=True, check=False).returncode in (0, 3)

    def run(self, command: list[str]) -> None:
        subprocess.run(command, cwd=self.home, capture_output=True, check=False, timeout=120)

    def configure(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def status(self) -> list[str]:
        raise NotImplementedError

    def start_all(self) -> list[str]:
        raise NotImplementedError

    def stop_all(self) -> list[str]:
        raise NotImplementedError


class Agentd(Daemon):
    name = "agentd"

    def configure(self) -> None:
        lines = [
            "[daemon]",
            f'state_dir = "{self.home}/state"',
            f'log_dir = "{self.home}/logs"',
            'operator_group = ""',
            self.extra,
            "[defaults]",
            "heartbeat.required = false",
            'memory.limit = "1G"',
            f"autostart = {str(self.autostart).lower()}",
        ]
        for number in range(self.agents):
            lines += [f"[agents.a{number}]", f'command = ["{SLEEP}", "100000"]']
        (self.home / "agentd.toml").write_text("\n".join(lines) + "\n")
        self.socket = self.home / "agentd.sock"

    def command(self) -> list[str]:
        config = str(self.home / "agentd.toml")
        return [str(OURS / "agentd"), "start", "--config", config, "--socket", str(self.socket)]

    def ctl(self, *words: str) -> list[str]:
        return [str(OURS / "agentctl"), "--socket", str(self.socket), *words]

    def status(self) -> list[str]:
        return self.ctl("status", "--json")

    def start_all(self) -> list[str]:
        return self.ctl("start", "all")

    def stop_all(self) -> list[str]:
        return self.ctl("stop", "all")


class Supervisord(Daemon):
    name = "supervisord"

    def configure(self) -> None:
        lines = [
            "[supervisord]",
            f"logfile={self.home}/s.log",
            f"pidfile={self.home}/s.pid",
            f"childlogdir={self.home}",
            "nodaemon=true",
            "minfds=4096",
            "[unix_http_server]",
            f"file={self.home}/s.sock",
            "[supervisorctl]",
            f"serverurl=unix://{self.home}/s.sock",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            "[eventlistener:memmon]",
            f"command={THEIRS}/memmon -a 1GB",
            "events=TICK_60",
        ]
        for number in range(self.agents):
            lines += [
                f"[program:a{number}]",
                f"command={SLEEP} 100000",
                "startsecs=0",
                f"autostart={str(self.autostart).lower()}",
                "autorestart=true",
            ]
        (self.home / "s.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [str(THEIRS / "supervisord"), "-c", str(self.home / "s.conf")]

    def ctl(self, *words: str) -> list[str]:
        return [str(THEIRS / "supervisorctl"), "-c", str(self.home / "s.conf"), *words]

    def status(self) -> list[str]:
        return self.ctl("status")

    def start_all(self) -> list[str]:
        return self.ctl("start", *(f"a{number}" for number in range(self.agents)))

    def stop_all(self) -> list[str]:
        return self.ctl("stop", *(f"a{number}" for number in range(self.agents)))


class Circus(Daemon):
    name = "circus"

    def configure(self) -> None:
        self.endpoint = f"ipc://{self.home}/c.sock"
        lines = [
            "[circus]",
            f"endpoint = {self.endpoint}",
            f"pubsub_endpoint = ipc://{self.home}/p.sock",
            "statsd = false",
        ]
        for number in range(self.agents):
            lines += [
                f"[watcher:a{number}]",
                f"cmd = {SLEEP}",
                "args = 100000",
                f"autostart = {self.autostart}",
            ]
        (self.home / "c.ini").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [str(THEIRS / "circusd"), str(self.home / "c.ini")]

    def ctl(self, *words: str) -> list[str]:
        return [str(THEIRS / "circusctl"), "--endpoint", self.endpoint, *words]

    def status(self) -> list[str]:
        return self.ctl("status")

    def start_all(self) -> list[str]:
        return self.ctl("start")

    def stop_all(self) -> list[str]:
        return self.ctl("stop")


DAEMONS = (Agentd, Supervisord, Circus)


def fsync_median_s(home: Path, rounds: int = 200) -> float:
    """What a small append and its fdatasync take on the file system of `home`, in this run."""
    took = []
    with (home / "fsync").open("ab", buffering=0) as file:
        for _ in range(rounds):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return sorted(took)[rounds // 2]
