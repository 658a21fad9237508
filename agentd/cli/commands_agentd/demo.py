"""agentd demo: a throw-away fleet of real programs with real troubles, to watch."""

import shutil
import signal
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import click

_TOUR = """\
agentd demo: five agents in {home}
  healthy    answers tickets                shell   a shell script that beats with agentctl
  crashing   exits with code 3 after 5 s    stuck   hangs in recv after 6 s
  leaking    leaks two MiB a second

In a second terminal:
  export AGENTD_SOCKET={socket}
  {agentctl} status --watch
  {agentctl} events -f
  {agentctl} kill leaking --reason "enough"
Ctrl-C ends the fleet and removes the directory.
"""


@click.command
def command() -> None:
    """Run a throw-away fleet: healthy, crashing, stuck, leaking, and a shell script."""
    home = Path(tempfile.mkdtemp(prefix="agentd-demo-"))
    try:
        sys.exit(_run(home))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(home: Path) -> int:
    agentctl = Path(sys.executable).with_name("agentctl")
    lay_out(home, agentctl)
    socket = home / "agentd.sock"
    print(_TOUR.format(home=home, socket=socket, agentctl=agentctl), flush=True)
    daemon = subprocess.Popen(
        [
            *(sys.executable, "-m", "agentd", "start"),
            *("--config", str(home / "agentd.toml"), "--socket", str(socket)),
        ]
    )
    # Ctrl-C reaches the daemon too, which stops its agents; we only wait for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: daemon.terminate())
    return daemon.wait()


def lay_out(home: Path, agentctl: Path) -> None:
    """Copy the fleet's programs and config into `home`."""
    for source in resources.files("agentd.cli.demo").iterdir():
        if source.name.endswith((".py", ".sh", ".toml")) and source.name != "__init__.py":
            text = source.read_text(encoding="utf-8")
            text = text.replace("@python@", sys.executable).replace("@agentctl@", str(agentctl))
            (home / source.name).write_text(text, encoding="utf-8")
    places = f'[daemon]\nstate_dir = "{home}/state"\nlog_dir = "{home}/logs"\n\n'
    config = home / "agentd.toml"
    config.write_text(places + config.read_text(encoding="utf-8"), encoding="utf-8")
