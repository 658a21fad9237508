"""supervisord, circus and pm2, each as its documents recommend it, beside agentd."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from bench.killed_fleets import ROOT, Agentd, Fleet, is_alive

THEIRS = Path(os.environ.get("BENCH_VENV", ROOT / ".bench-venv")) / "bin"
NODE = Path(os.environ.get("BENCH_NODE", ROOT / ".bench-node")) / "node_modules" / ".bin"


class Supervisord(Fleet):
    name = "supervisord"

    def configure(self) -> None:
        lines = [
            "[supervisord]",
            f"logfile={self.home}/s.log",
            f"pidfile={self.home}/s.pid",
            "nodaemon=true",
            "[unix_http_server]",
            f"file={self.home}/s.sock",
            "[supervisorctl]",
            f"serverurl=unix://{self.home}/s.sock",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        ]
        for number, name in enumerate(self.names):
            lines += [
                f"[program:{name}]",
                f"command={' '.join(self.words(number))}",
                "autostart=true",
                "autorestart=true",
                "redirect_stderr=false",
                f"stdout_logfile={self.log_of(name)}",
                "stdout_logfile_maxbytes=0",
            ]
        (self.home / "s.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [str(THEIRS / "supervisord"), "-c", str(self.home / "s.conf")]

    def control(self, *words: str) -> list[str]:
        return [str(THEIRS / "supervisorctl"), "-c", str(self.home / "s.conf"), *words]

    def diary(self) -> Path:
        return self.home / "s.log"


class Circus(Fleet):
    name = "circus"

    def configure(self) -> None:
        self.endpoint = f"ipc://{self.home}/c.sock"
        lines = [
            "[circus]",
            f"endpoint = {self.endpoint}",
            f"pubsub_endpoint = ipc://{self.home}/p.sock",
            "statsd = false",
            f"logoutput = {self.home}/c.log",
        ]
        for number, name in enumerate(self.names):
            words = self.words(number)
            lines += [
                f"[watcher:{name}]",
                f"cmd = {words[0]}",
                f"args = {' '.join(words[1:])}",
                "copy_env = True",
                "stdout_stream.class = FileStream",
                f"stdout_stream.filename = {self.log_of(name)}",
            ]
        (self.home / "c.ini").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [str(THEIRS / "circusd"), str(self.home / "c.ini")]

    def control(self, *words: str) -> list[str]:
        return [str(THEIRS / "circusctl"), "--endpoint", self.endpoint, *words]

    def diary(self) -> Path:
        return self.home / "c.log"


class Pm2(Fleet):
    """Its daemon detaches itself; what its systemd unit runs is `pm2 resurrect`."""

    name = "pm2"

    def configure(self) -> None:
        apps = [
            {
                "name": name,
                "script": self.words(number)[2],
                "args": self.words(number)[3:],
                "interpreter": sys.executable,
                "interpreter_args": "-S",
                "out_file": str(self.log_of(name)),
                "error_file": str(self.home / "logs" / f"{name}.err"),
                "autorestart": True,
            }
            for number, name in enumerate(self.names)
        ]
        (self.home / "apps.json").write_text(json.dumps({"apps": apps}))

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PM2_HOME": str(self.home / "pm2")}

    def command(self) -> list[str]:
        return self.control("resurrect")

    def control(self, *words: str) -> list[str]:
        return [str(NODE / "pm2"), *words]

    def set_up(self) -> None:
        self.run(self.control("start", str(self.home / "apps.json")))
        self.run(self.control("save"))

    def stop(self, name: str) -> bool:
        # What was not saved would not be known after a restart: its documents say to save.
        return super().stop(name) and self.run(self.control("save"))

    def start(self, name: str) -> bool:
        return super().start(name) and self.run(self.control("save"))

    def supervisor_pid(self) -> int:
        return int((self.home / "pm2" / "pm2.pid").read_text())

    def answers(self) -> bool:
        """Its command line starts a daemon that isn't there: wait for the one that was started."""
        return self.process is not None and self.process.poll() is not None and super().answers()

    def kill(self) -> None:
        pid = self.supervisor_pid()
        if "PM2" not in Path(f"/proc/{pid}/cmdline").read_text():
            raise ProcessLookupError(pid)
        os.kill(pid, signal.SIGKILL)
        while is_alive(pid):
            time.sleep(0.001)

    def diary(self) -> Path:
        return self.home / "pm2" / "pm2.log"


FLEETS: dict[str, type[Fleet]] = {one.name: one for one in (Agentd, Supervisord, Circus, Pm2)}
