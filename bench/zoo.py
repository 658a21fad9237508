"""Who is left when a supervisor says "stopped": trees that are hard to stop, under each of four.

    make bench-zoo                                      agentd, supervisord, circus and pm2
    .venv/bin/python -m bench.zoo supervisord agentd    some of them

The trees are those of tests/faults/programs/zoo.py. Each supervisor starts one of every kind, is
told to stop them all, and has said that they are stopped when its survivors are looked for, by the
working directory that each tree has of its own.
"""

import argparse
import sys
import time
from pathlib import Path

from bench.killed_fleets import ROOT, Agentd, Fleet, end_all, is_alive
from bench.killed_peers import FLEETS, Circus, Pm2, Supervisord
from tests.faults.programs.zoo import KINDS, is_held

ZOO = ROOT / "tests" / "faults" / "programs" / "zoo.py"
READY_S_MAX = 60.0
STOPPED_S_MAX = 120.0
# Nobody is missed because of a fork in the middle of a look.
LOOKS = 3


class Zoo(Fleet):
    """A fleet with one agent of each kind."""

    def __init__(self) -> None:
        super().__init__(0)
        self.names = list(KINDS)
        for kind in KINDS:
            self.cage(kind).mkdir(parents=True)

    def cage(self, kind: str) -> Path:
        return self.home / "cages" / kind

    def words(self, number: int) -> list[str]:
        kind = self.names[number]
        return [sys.executable, "-S", str(ZOO), kind, str(self.cage(kind))]

    def __exit__(self, *whatever: object) -> None:
        super().end()
        end_all(lambda: [pid for pids in self.living().values() for pid in pids if pid])
        super().__exit__(*whatever)

    def await_ready(self) -> None:
        end = time.monotonic() + READY_S_MAX
        while late := [kind for kind in KINDS if not self.has_said_ready(kind)]:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: never ready: {late}")
            time.sleep(0.1)

    def has_said_ready(self, kind: str) -> bool:
        log = self.log_of(kind)
        return log.exists() and b"ready" in log.read_bytes()

    def stop_all(self) -> float:
        """Tell it to stop all, and wait until it says that it has; return the seconds."""
        begun = time.monotonic()
        self.run(self.control("stop", "all"))
        while not self.says_stopped():
            if time.monotonic() - begun > STOPPED_S_MAX:
                raise TimeoutError(f"{self.name} doesn't say that all is stopped")
            time.sleep(0.05)
        return time.monotonic() - begun

    def says_stopped(self) -> bool:
        """Whether it has nobody running, by its own word."""
        return not self.managed()

    def living(self) -> dict[str, set[int]]:
        """What lives of each kind; nothing of it does where the kind is left out."""
        cages = {str(self.cage(kind)): kind for kind in KINDS}
        found: dict[str, set[int]] = {}
        for _ in range(LOOKS):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    kind = cages.get(_cwd_of(entry))
                    if kind is not None and is_alive(int(entry.name)):
                        found.setdefault(kind, set()).add(int(entry.name))
        for kind in KINDS:
            if kind not in found and is_held(self.cage(kind)):
                found[kind] = {0}  # one that was too quick for every look
        return found


def _cwd_of(entry: Path) -> str:
    try:
        return str((entry / "cwd").readlink())
    except OSError:
        return ""


class AgentdZoo(Zoo, Agentd):
    """Its groups, where the host has some for it."""

    def says_stopped(self) -> bool:
        return all(agent["state"] == "stopped" for agent in self.agents())


class SupervisordZoo(Zoo, Supervisord):
    def says_stopped(self) -> bool:
        return "RUNNING" not in self.said("status") and "STOPPING" not in self.said("status")


class CircusZoo(Zoo, Circus):
    def stop_all(self) -> float:
        begun = time.monotonic()
        self.run(self.control("stop", "--waiting"))
        while not self.says_stopped():
            time.sleep(0.05)
        return time.monotonic() - begun

    def says_stopped(self) -> bool:
        return "active" not in self.said("status")


class Pm2Zoo(Zoo, Pm2):
    def says_stopped(self) -> bool:
        return '"status":"online"' not in self.said("jlist").replace(" ", "")


ZOOS: dict[str, type[Zoo]] = {
    one.name: one for one in (AgentdZoo, SupervisordZoo, CircusZoo, Pm2Zoo)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *ZOOS], help="by default all")
    asked = parser.parse_args()
    names = asked.names or list(FLEETS)
    left: dict[str, dict[str, set[int]]] = {}
    for name in names:
        with ZOOS[name]() as zoo:
            zoo.await_ready()
            took_s = zoo.stop_all()
            left[name] = zoo.living()
            print(f"{name}: said that all are stopped after {took_s:.1f} s", flush=True)
    print(f"| kind | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|", sep="\n")
    for kind in KINDS:
        cells = [str(len(left[name].get(kind, ()))) for name in names]
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
