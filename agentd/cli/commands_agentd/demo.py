"""agentd demo: a throw-away fleet of real programs with real troubles, to watch."""

import shutil
import signal
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from types import FrameType

import click
import tomli_w

_TOUR = """\
agentd demo: seven agents in {home}
  healthy    answers tickets                shell     a shell script that beats with agentctl
  crashing   exits with code 3 after 5 s    stuck     hangs in a TLS handshake after 6 s
  leaking    leaks two MiB a second         looping   asks the same question again and again
  spending   calls its model, and never comes to an end of it

In a second terminal:
  export AGENTD_SOCKET={socket}
  {agentctl} status --watch
  {agentctl} events -f
  {agentctl} incidents
  {agentctl} incident 1
  {agentctl} kill leaking --reason "enough"
The alerts that would wake somebody: tail -f {home}/alerts.txt
Or kill -9 agentd itself: it is started again here, and finds its agents alive.
Ctrl-C ends the fleet and removes the directory.
"""


@click.command
def command() -> None:
    """Run a throw-away fleet: healthy, crashing, stuck, leaking, looping, spending, a script."""
    demo = Demo(Path(tempfile.mkdtemp(prefix="agentd-demo-")))
    try:
        sys.exit(demo.run())
    finally:
        shutil.rmtree(demo.home, ignore_errors=True)


class Demo:
    """One daemon with its fleet in a directory of its own, until somebody has seen enough."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = home / "agentd.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._enough = False

    def run(self) -> int:
        """Run it, and return the daemon's exit code."""
        agentctl = Path(sys.executable).with_name("agentctl")
        lay_out(self.home, agentctl)
        print(_TOUR.format(home=self.home, socket=self.socket, agentctl=agentctl), flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        while True:
            code = self._run_daemon()
            if code >= 0 or self._enough:
                return max(code, 0)
            name = signal.Signals(-code).name
            print(f"agentd demo: agentd got {name}; starting it again, its agents live", flush=True)

    def _run_daemon(self) -> int:
        config = self.home / "agentd.toml"
        command = (sys.executable, "-m", "agentd", "start", "--config", str(config))
        # A session of its own: Ctrl-C reaches us alone, and so the daemon once.
        self._daemon = subprocess.Popen(
            [*command, "--socket", str(self.socket)], start_new_session=True
        )
        if self._enough:  # said while it was being started
            self._daemon.terminate()
        return self._daemon.wait()

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._enough = True
        if self._daemon is not None:
            self._daemon.terminate()


def lay_out(home: Path, agentctl: Path) -> None:
    """Copy the fleet's programs and config into `home`."""
    for source in resources.files("agentd.cli.demo").iterdir():
        if source.name.endswith((".py", ".sh", ".toml")) and source.name != "__init__.py":
            text = source.read_text(encoding="utf-8")
            text = text.replace("@python@", sys.executable).replace("@agentctl@", str(agentctl))
            text = text.replace("@home@", str(home))
            (home / source.name).write_text(text, encoding="utf-8")
    places = tomli_w.dumps({"daemon": {"state_dir": f"{home}/state", "log_dir": f"{home}/logs"}})
    config = home / "agentd.toml"
    config.write_text(f"{places}\n" + config.read_text(encoding="utf-8"), encoding="utf-8")
