"""The fifty agents of a soak: who they are, and what may be expected of them."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.daemon.harness import PROGRAMS as DAEMON_PROGRAMS
from tests.daemon.harness import PYTHON
from tests.faults.guard import INNOCENT, Fleet
from tests.faults.guard import PROGRAMS as FAULT_PROGRAMS

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
NO_BEATS = "[heartbeat]\nrequired = false"
OFTEN = '[restart]\nfailures_max = 1000000\ncooldown = "{}"'
TROUBLE = (PYTHON, "-S", str(FAULT_PROGRAMS / "trouble.py"))


@dataclass(frozen=True, slots=True)
class Citizen:
    """One agent of the fleet."""

    name: str
    kind: str
    command: tuple[str, ...]
    text: str = ""
    steady: bool = True
    """Nothing but a fault from outside ever ends it."""
    beats: bool = True
    """Heartbeats are required of it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the agents' files are, and by which files they are led into temptation."""

    root: Path

    def deeds(self, name: str) -> Path:
        return self.root / "deeds" / name

    def notes(self, name: str) -> Path:
        return self.root / "notes" / name

    @property
    def down(self) -> Path:
        """While it exists, the shared dependency fails."""
        return self.root / "down"

    @property
    def invalid(self) -> Path:
        """While it exists, the validate command refuses."""
        return self.root / "invalid"

    @property
    def judge(self) -> Path:
        """What the judge does: `ok`, `fail`, `hang` or `garbage`."""
        return self.root / "judge"


def population(places: Places) -> list[Citizen]:
    """All but the bystander."""
    found = [*_workers(places), *_beaters(places), *_plain(), *_troubled(places)]
    assert len(found) == 49, len(found)
    return found


def one_of_each(citizens: list[Citizen]) -> list[Citizen]:
    """The first of each kind, who depend on nobody but each other."""
    return list({one.kind: one for one in reversed(citizens)}.values())[::-1]


def settle(fleet: Fleet, places: Places, citizens: list[Citizen]) -> None:
    """Write their files."""
    for folder in (places.root / "deeds", places.root / "notes"):
        folder.mkdir()
        folder.chmod(0o777)
    places.judge.write_text("ok")
    for one in citizens:
        fleet.agent(one.name, list(one.command), text_of(one))


def text_of(one: Citizen, more: str = "") -> str:
    """The agent's file without its command; `more` are keys of no table."""
    return f"{more}\n{one.text}"


def _raw(places: Places, name: str, *words: str) -> tuple[str, ...]:
    program = str(PROGRAMS / "citizen.py")
    return (PYTHON, "-S", program, f"deeds={places.deeds(name)}", "every=0.5", *words)


def _sdk(places: Places, name: str, every_s: float = 0.4) -> tuple[str, ...]:
    # As a user's program finds agentd installed, this one finds it by its path.
    script = str(PROGRAMS / "worker.py")
    path = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv = sys.argv[1:]; "
    run = "runpy.run_path(sys.argv[0], run_name='__main__')"
    return (PYTHON, "-S", "-c", path + run, script, str(places.notes(name)), str(every_s))


def _workers(places: Places) -> list[Citizen]:
    plain = [f"sdk{number}" for number in range(4)]
    parked = [f"commit{number}" for number in range(2)]
    judge = (
        f"case $(cat {places.judge}) in fail) exit 3;; hang) sleep 60;; garbage) echo nonsense;; "
        '*) echo \'{"closer":true,"confidence":0.9,"reason":"nearer"}\';; esac'
    )
    judged = f"""[judge]
command = ["/bin/sh", "-c", {json.dumps(judge)}]
after = 5
every = 20
timeout = "2s"
max_per_day = 100000"""
    checkpoint = '[pause]\nmode = "checkpoint"\ncheckpoint_timeout = "3s"'
    return [
        *(Citizen(name, "SDK worker", _sdk(places, name)) for name in plain),
        *(
            Citizen(name, "SDK worker that commits and exits", _sdk(places, name), checkpoint)
            for name in parked
        ),
        Citizen("judged", "SDK worker with a judge", _sdk(places, "judged"), judged),
    ]


def _beaters(places: Places) -> list[Citizen]:
    names = [f"beat{number}" for number in range(7)]
    breakers = [f"breaker{number}" for number in range(2)]
    validate = f'[restart]\nvalidate = ["/bin/sh", "-c", "test ! -e {places.invalid}"]'
    down = f"down={places.down}"
    return [
        *(Citizen(name, "raw lines", _raw(places, name)) for name in names),
        *(
            Citizen(
                f"after{number}",
                "raw lines, depends on others",
                _raw(places, f"after{number}"),
                f'depends_on = ["{before}"]',
            )
            for number, before in enumerate(("beat0", "after0", "sdk0"))
        ),
        *(
            Citizen(name, "shares a dependency", _raw(places, name, "breaker=provider", down))
            for name in breakers
        ),
        Citizen("valid", "validated before a restart", _raw(places, "valid"), validate),
        Citizen(
            "notify",
            "sd_notify",
            (PYTHON, "-S", str(DAEMON_PROGRAMS / "notifier.py")),
            'ready = "notify"',
        ),
        Citizen(
            "quiet",
            "announces a long silence",
            (PYTHON, "-S", str(FAULT_PROGRAMS / "trouble.py"), "silence=3000"),
        ),
    ]


def _plain() -> list[Citizen]:
    shell = "while :; do sleep 1; done"
    family = "setsid sh -c 'sleep 100000' & exec sleep 100000"
    printer = (PYTHON, "-S", str(PROGRAMS / "counter.py"))
    small = f'{NO_BEATS}\n[logs]\nmax_size = "256K"'
    return [
        *(
            Citizen(f"shell{n}", "shell script", ("/bin/sh", "-c", shell), NO_BEATS, beats=False)
            for n in range(2)
        ),
        *(
            Citizen(
                f"own{n}",
                "shell script of another user",
                ("/bin/sh", "-c", shell),
                f'user = "nobody"\n{NO_BEATS}',
                beats=False,
            )
            for n in range(2)
        ),
        *(
            Citizen(
                f"family{n}", "leaves a helper", ("/bin/sh", "-c", family), NO_BEATS, beats=False
            )
            for n in range(2)
        ),
        *(
            Citizen(f"count{n}", "prints numbered lines", (*printer, "10"), NO_BEATS, beats=False)
            for n in range(3)
        ),
        *(
            Citizen(
                f"chatty{n}",
                "prints numbered lines beyond its quota",
                (*printer, "50", "x" * 300),
                small,
                beats=False,
            )
            for n in range(2)
        ),
    ]


def _troubled(places: Places) -> list[Citizen]:
    return [*_failing(), *_misspending(places), *_hanging()]


def _failing() -> list[Citizen]:
    leak = (PYTHON, "-S", str(FAULT_PROGRAMS / "hoarder.py"), "leader", "3", "600")
    again = (OFTEN.format("5s"), NO_BEATS)
    return [
        Citizen("deaf", "ignores SIGTERM", (*TROUBLE, "deaf"), 'stop_timeout = "500ms"'),
        *(
            Citizen(
                f"crash{n}",
                "crashes again and again",
                ("/bin/sh", "-c", f"sleep {4 + n}; exit {1 + n}"),
                "\n".join(again),
                steady=False,
                beats=False,
            )
            for n in range(3)
        ),
        Citizen(
            "brief",
            "dies at once and is given up",
            ("/bin/false",),
            f'[restart]\non_escalate = ["/bin/cat"]\n{NO_BEATS}',
            steady=False,
            beats=False,
        ),
        Citizen(
            "always",
            "ends well and is started again",
            ("/bin/sh", "-c", "sleep 3"),
            f'[restart]\npolicy = "always"\ncooldown = "3s"\n{NO_BEATS}',
            steady=False,
            beats=False,
        ),
        *(
            Citizen(
                f"leak{n}",
                "grows until its limit",
                leak,
                f'{again[0]}\n{NO_BEATS}\n[memory]\nlimit = "96M"\nsettle = "5s"',
                steady=False,
                beats=False,
            )
            for n in range(2)
        ),
    ]


def _misspending(places: Places) -> list[Citizen]:
    budget = '[budget]\ntokens_per_run = 10000\non_exceeded = "{}"'
    return [
        Citizen(
            "budget0",
            "spends its budget",
            _raw(places, "budget0", "tokens=150"),
            budget.format("pause"),
            steady=False,
        ),
        Citizen(
            "budget1",
            "overspends, told only",
            _raw(places, "budget1", "tokens=50", "cost_usd=0.01"),
            '[budget]\nusd_per_day = 0.5\non_exceeded = "alert"',
        ),
        Citizen(
            "loop0",
            "loops, is paused",
            _raw(places, "loop0", "step=same"),
            steady=False,
        ),
        Citizen(
            "loop1",
            "loops, is restarted",
            _raw(places, "loop1", "step=same"),
            f'{OFTEN.format("8s")}\n[loop]\non_loop = "restart"',
            steady=False,
        ),
    ]


def _hanging() -> list[Citizen]:
    return [
        *(
            Citizen(
                f"stuck{n}",
                "hangs after a while",
                (*TROUBLE, "stuck"),
                OFTEN.format("20s"),
                steady=False,
            )
            for n in range(2)
        ),
        Citizen("call", "opens a call that never ends", (*TROUBLE, "call"), steady=False),
        Citizen("beats", "beats fast", (*TROUBLE, "on")),
    ]


def names_of(citizens: list[Citizen], kind: str) -> list[str]:
    return [one.name for one in citizens if one.kind == kind and one.name != INNOCENT]
