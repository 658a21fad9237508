"""One soak: a daemon with fifty agents, what is done to it, and what is known of it meanwhile."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.daemon.alert_receivers import webhook
from tests.daemon.harness import PYTHON, Document, alive
from tests.faults import census
from tests.faults.guard import INNOCENT, Fleet, environ_of
from tests.sinks.receiver import Receiver
from tests.soak.ledger import Ledger
from tests.soak.listener import Listener
from tests.soak.load import Load
from tests.soak.population import (
    PROGRAMS,
    Citizen,
    Places,
    one_of_each,
    population,
    settle,
)

STATE_MIB = 64
STRANGERS = 5
PATIENCE_S = 60.0
HOSTILE_S = 300.0
BACK_S = 3.0
"""So long after its word of readiness a new image takes over fifty agents, with code that is cold.

On a machine with twenty others at work five of 34,498 answers took 0.6 to 1.1 s, those whose
moment is known within seconds of a re-exec.
"""
SHOWN_BEFORE = 3
"""So many faults are named with a failure: those that were injected last before it."""

# The thresholds of the test daemons, wider for fifty agents on a machine that others use.
DEFAULTS = """
[defaults]
stop_timeout = "2s"
startup_timeout = "30s"
[defaults.heartbeat]
interval = "500ms"
degraded_after = "2s"
unreachable_after = "5s"
[defaults.restart]
cooldown = "2s"
stable_after = "8s"
[defaults.memory]
sample = "1s"
[breakers.provider]
failures = 3
window = "10s"
reset = "2s"
[alerts]
remind_every = "5m"
"""
DAEMON = 'connections_per_uid = 256\nrecorder_max = "8M"\n'


class SoakFleet(Fleet):
    """Patient: an answer that comes late is found by the clocks that leave out others' work."""

    def ask(self, cmd: str, timeout_s: float = PATIENCE_S, **args: object) -> Document:
        return super().ask(cmd, timeout_s, **args)

    def start(self, *, ready: bool = True, env: dict[str, str] | None = None) -> Fleet:
        self.heard()  # the word of one that was killed before anybody listened isn't the next one's
        return super().start(ready=ready, env=census.environment_of(self.root) | (env or {}))

    def await_notify(self, word: str) -> None:
        """Soon after its word answers are due, however often it was killed before that."""
        super().await_notify(word)
        ready = time.monotonic()
        self._away = [(begun, min(ended, ready)) for begun, ended in self._away]
        self._away.append((ready, ready + BACK_S))


class Missed(str):
    """Why a fault did not take place after all: nobody was there to suffer it, say."""

    __slots__ = ()


NOBODY = Missed("nobody there")


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault as it was injected."""

    at_s: float
    kind: str


class Soak:
    """Everything that a fault may touch, and everything that was found broken."""

    def __init__(self, root: Path, *, say: Callable[[str], None], is_small: bool = False) -> None:
        self.say = say
        self.fleet = SoakFleet(root)
        self.places = Places(root)
        self.citizens = population(self.places)
        if is_small:
            self.citizens = one_of_each(self.citizens)
        self.people = {one.name: one for one in self.citizens}
        self.ledger = Ledger()
        self.injected: list[Injected] = []
        self.broken: list[str] = []
        self.seen: dict[str, Counter[str]] = defaultdict(Counter)
        self.took_place: Counter[str] = Counter()
        """How many faults of each kind did."""
        self.killed_s: list[float] = []
        """When a daemon was killed, by the monotonic clock."""
        self.good, self.bad = Receiver(), Receiver()
        self.load = Load(root / "state")
        self.listener = Listener(self.fleet.socket, self.broke)
        self.strangers: list[subprocess.Popen[bytes]] = []
        self.has_disk = False
        """Whether the state directory is a small disk of its own, which can be full."""
        self.tmpfs_refused = ""
        self._began = time.monotonic()
        self._due: list[tuple[float, Callable[[], object]]] = []

    @property
    def now_s(self) -> float:
        """Seconds since the soak began."""
        return time.monotonic() - self._began

    # --- begin and end

    def begin(self) -> None:
        """Start the daemon, its agents and all that stands around it."""
        self._mount()
        self.good.alive()
        self.bad.alive()
        self.configure()
        settle(self.fleet, self.places, self.citizens)
        self.ledger.begin([one.name for one in self.citizens])
        for number in range(STRANGERS):
            self.strangers.append(
                subprocess.Popen(["sleep", str(100_000 + number)], start_new_session=True)
            )
        self.fleet.start()
        self.listener.start()
        self._began = time.monotonic()
        self.load.look(self.fleet.pid)

    def configure(self, more: str = "") -> None:
        """Write the main file; `more` is put behind it."""
        sinks = [webhook("good", self.good.url), webhook("bad", self.bad.url)]
        self.fleet.configure(daemon=DAEMON, extra="\n".join([DEFAULTS, *sinks, more]))

    def _mount(self) -> None:
        state = self.fleet.root / "state"
        state.mkdir(mode=0o700)
        words = ["mount", "-t", "tmpfs", "-o", f"size={STATE_MIB}m,mode=0700", "none", str(state)]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        self.has_disk = done.returncode == 0
        self.tmpfs_refused = done.stderr.strip()

    def close(self, kept: Path | None = None) -> None:
        """End everything, whatever has happened; what tells of it goes to `kept`."""
        self.listener.stop()
        self.fleet.close()
        if kept is not None:
            self._keep(kept)
        for receiver in (self.good, self.bad):
            receiver.release()
            receiver.dead()
        for stranger in self.strangers:
            stranger.kill()
            stranger.wait()
        if self.has_disk:
            state = str(self.fleet.root / "state")
            subprocess.run(["umount", "-l", state], check=False)

    def _keep(self, place: Path) -> None:
        """Copy the store, recordings and logs to where they stay; the daemon is over."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for name, copy in (
            ("state", shutil.copytree),
            ("logs", shutil.copytree),
            ("agents.d", shutil.copytree),
            ("stderr", shutil.copy2),
        ):
            with self.checked(f"{name} is kept"):
                copy(self.fleet.root / name, place / name)
        self.say(f"kept in {place}: {', '.join(sorted(one.name for one in place.iterdir()))}")

    # --- what is known and what is broken

    def broke(self, what: str) -> None:
        """Remember that something doesn't hold, and which faults came before it."""
        before = ", ".join(
            f"{one.kind} at {one.at_s:.0f} s" for one in self.injected[-SHOWN_BEFORE:]
        )
        text = f"at {self.now_s:.0f} s: {what} [after {before or 'nothing'}]"
        if text not in self.broken:
            self.broken.append(text)
            self.say(f"BROKEN {text}")

    @contextmanager
    def checked(self, what: str) -> Iterator[None]:
        """What is asserted inside holds, or the soak has failed and goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is found, told, and the soak's result
            words = f"{type(error).__name__} {error}"
            self.broke(f"{what}: {words[:600]}")

    def later(self, seconds: float, mend: Callable[[], object]) -> None:
        """Have a fault end by itself, while others are under way."""
        self._due.append((time.monotonic() + seconds, mend))

    def mend(self, *, everything: bool = False) -> None:
        """End the faults that are due."""
        now = time.monotonic()
        due = [one for one in self._due if everything or one[0] <= now]
        self._due = [one for one in self._due if one not in due]
        for _, action in due:
            action()

    # --- tools of the faults

    def victims(self, rng: random.Random, count: int = 1, kind: str = "") -> list[tuple[str, int]]:
        """Names and pids of living agents, drawn by chance; the bystander is never one."""
        agents = self.fleet.ask("status")["agents"]
        living = [
            (one["name"], one["pid"])
            for one in sorted(agents, key=lambda shown: str(shown["name"]))
            if one["pid"] and one["state"] == "running" and one["name"] in self.people
        ]
        fit = [one for one in living if not kind or self.people[one[0]].kind == kind]
        return rng.sample(fit, min(count, len(fit)))

    def shoot(self, pid: int, by: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal to an agent's process; False: it was gone before."""
        with contextlib.suppress(OSError):
            # A pid that was drawn a moment ago may be a stranger's by now.
            if environ_of(pid).get("AGENTD_SOCKET") == str(self.fleet.socket):
                os.kill(pid, by)
                return True
        return False

    def tempt(self, name: str, deed: str) -> bool:
        """Have an agent do something; True once it has begun."""
        path = self.places.deeds(name)
        path.write_text(deed)
        path.chmod(0o666)
        end = time.monotonic() + 5
        while path.exists() and time.monotonic() < end:
            time.sleep(0.05)
        was_taken = not path.exists()
        path.unlink(missing_ok=True)
        return was_taken

    def hostile(self, deed: str, figure: int, name: str = "", timeout_s: float = HOSTILE_S) -> str:
        """Let a client that means no good do its worst, as an agent where it is named.

        `Missed`, where it never got to it.
        """
        token = ""
        if name:
            shown = self.fleet.status(name)
            if not shown["pid"] or not alive(shown["pid"]):
                return NOBODY
            token = environ_of(shown["pid"])["AGENTD_TOKEN"]
        words = [
            PYTHON,
            "-S",
            str(PROGRAMS / "hostile.py"),
            str(self.fleet.socket),
            deed,
            str(figure),
        ]
        done = subprocess.run(
            [*words, token], capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.stderr:
            self.broke(f"hostile client {deed}: {done.stderr[-300:]}")
        # What it doesn't expect, it tells by the name of the error.
        is_done = done.stdout and not done.stdout.endswith("Error")
        return done.stdout if is_done else Missed(done.stdout or "nothing")

    def order(self, deed: str, name: str, request: str = "", **more: object) -> Document | None:
        """An operator's word; None where it wasn't answered or was refused."""
        return self.ledger.order(self.fleet, deed, name, request, **more)

    def ensure_alive(self) -> None:
        """A daemon that has ended by itself is a failure, and is started again."""
        process = self.fleet.process
        assert process is not None
        if process.poll() is not None:
            self.broke(f"the daemon ended with {process.returncode}: {self.fleet.log()[-500:]}")
            self.fleet.start()

    def crash(self) -> None:
        """End the daemon as SIGKILL does."""
        self.killed_s.append(time.monotonic())
        self.fleet.crash()

    def revive(self, names: list[str]) -> None:
        """What a person does who wants them all to run."""
        shown = {one["name"]: one for one in self.fleet.ask("status")["agents"]}
        for name in names:
            agent = shown.get(name)
            if agent is None:
                continue
            if agent["held"]:
                self.order("unhold", name)
            if agent["intent"] in ("killed", "paused"):
                self.order("resume", name)
            elif agent["intent"] == "stopped" or agent["state"] in ("escalated", "completed"):
                self.order("start", name)

    def ordinary(self) -> list[str]:
        return [one.name for one in self.citizens]


def say(text: str) -> None:
    """Print at once, so that a soak that is cut off has told what it did."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def steady(citizens: list[Citizen]) -> list[str]:
    return [one.name for one in citizens if one.steady and one.name != INNOCENT]
