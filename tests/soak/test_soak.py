"""The soak itself for some seconds: what it injects breaks nothing, what it checks can fail."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon import harness
from tests.soak import __main__ as soaking
from tests.soak import figures, verdicts
from tests.soak.figures import MIB, kept_told, sizes
from tests.soak.kinds import KINDS, Kind
from tests.soak.ledger import Ledger
from tests.soak.load import Moment, others_share
from tests.soak.looks import UNSAVED_S, Looker, Sample, day_between, kept_until
from tests.soak.population import one_of_each
from tests.soak.soak import NOBODY, Soak

SEED = 7
# Some of each module, those that take no time of their own.
INJECTED = (
    "an agent is killed",
    "the daemon is killed",
    "operators by chance",
    "hostile lines",
    "the daemon executes itself anew",
    "the disk is full",
    "followers are cut",
    "an operator wants all to run",
)
QUIET_S = 2.0
LOOKS = 25
# Ten times a second it keeps an open file and some objects more: in a life of some seconds as
# much as a small leak leaves in an hour.
PLANTED = """
import threading, time
kept = []
def leak():
    while True:
        kept.append((open("/dev/null"), [object() for _ in range(3000)]))
        time.sleep(0.1)
threading.Thread(target=leak, daemon=True).start()
"""


@contextmanager
def a_root() -> Iterator[Path]:
    """A directory on a short path (a socket's limit) that other users' agents may enter."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def root() -> Iterator[Path]:
    with a_root() as folder:
        yield folder


@pytest.fixture(scope="module")
def idle() -> Counter[str]:
    with a_root() as folder:
        return soaking.idle_files(folder)


@pytest.fixture
def begun(root: Path) -> Iterator[Callable[[], Soak]]:
    """Begins a small soak, one agent of each kind, and ends it in any case."""
    soaks: list[Soak] = []

    def begin() -> Soak:
        home = root / "soak"
        home.mkdir(mode=0o755)
        soaks.append(soak := Soak(home, say=print, is_small=True))
        soak.begin()
        return soak

    yield begin
    for one in soaks:
        one.close()


@pytest.mark.timeout(300)  # many starts on a machine that may be busy
def test_m4_some_seconds_of_faults_by_chance_break_nothing(
    idle: Counter[str], begun: Callable[[], Soak], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "WAIT_S", soaking.WAIT_S)
    # Some agents fail on, so that some alert always waits for its digest, a minute long.
    monkeypatch.setattr(verdicts, "_delivered", lambda soak, _sink: soak.good.accepted())
    soak = begun()
    soak.fleet.idle_files = idle
    looker = Looker(soak)
    for number, name in enumerate(INJECTED):
        if soak.has_disk or not KINDS[name].needs_disk:
            rng = random.Random(SEED + number)  # noqa: S311 - dice, not secrets
            soaking.inject(soak, looker, KINDS[name], rng)
    soaking.quiet(soak, looker, QUIET_S, SEED)
    soaking.report(soak, looker, minutes=0)
    assert not soak.broken
    assert soak.listener.told["agent.exited"]
    assert {one.pid for one in looker.samples} != {soak.fleet.pid}, "no look before the kill"


@pytest.mark.timeout(300)
def test_a_daemon_that_keeps_memory_and_files_fails_the_soak(
    idle: Counter[str], begun: Callable[[], Soak], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "WAIT_S", soaking.WAIT_S)
    monkeypatch.setattr(harness, "RUN", PLANTED + harness.RUN)
    monkeypatch.setattr(figures, "FLAT_FROM_S", 0.0)  # its life is as long as it is
    soak = begun()
    soak.fleet.idle_files = idle
    looker = Looker(soak)
    for _ in range(LOOKS):
        soaking.rest(soak, looker, 0.1)
        looker.look()
    sizes(soak, looker)
    assert any("allocated blocks grew" in one for one in soak.broken), soak.broken
    soak.broken.clear()
    monkeypatch.setattr(harness, "WAIT_S", 2.0)
    soak.fleet.quieten()
    with soak.checked("files"):
        soak.fleet.verify_descriptors()
    assert any("more open files than before" in one and "null" in one for one in soak.broken)


def test_a_second_copy_of_an_agent_and_a_life_after_its_stop_fail_the_soak(
    begun: Callable[[], Soak], monkeypatch: pytest.MonkeyPatch
) -> None:
    soak = begun()
    looker = Looker(soak)
    shown = soak.fleet.until("shell0", lambda s: s["state"] == "running")
    trees = {"shell0": {"one": [shown["pid"]], "two": [soak.fleet.pid]}}
    monkeypatch.setattr(looker, "trees", lambda: trees)
    looker.scan()
    assert any("INV1: shell0 lives twice" in one for one in soak.broken), soak.broken
    soak.broken.clear()
    trees = {"shell0": {"one": [soak.fleet.pid]}}
    soak.order("stop", "shell0")
    soak.fleet.until("shell0", lambda s: s["state"] == "stopped")
    looker.scan()
    assert any("INV3: shell0" in one for one in soak.broken), soak.broken
    soak.broken.clear()
    soak.ledger.intents["shell0"] = "up"  # as if that was what its operator had been told
    looker.look()
    assert any("INV5: shell0" in one for one in soak.broken), soak.broken


# --- without a daemon


@pytest.mark.parametrize(
    ("minutes", "seen", "found"),
    [
        (60, [NOBODY, NOBODY], True),
        (60, [NOBODY, "CRASHED"], False),
        (60, [], True),
        (5, [NOBODY], False),  # too short for all
    ],
)
def test_a_kind_of_fault_that_never_took_place_fails_the_soak(
    root: Path, monkeypatch: pytest.MonkeyPatch, minutes: float, seen: list[str], *, found: bool
) -> None:
    soak = Soak(root, say=print, is_small=True)
    monkeypatch.setattr(soak, "ensure_alive", lambda: None)
    looker = Looker(soak)
    monkeypatch.setattr(looker, "look", lambda: None)
    told = iter(seen)
    one = Kind("a fault", "A1", lambda _soak, _rng: next(told))
    for _ in seen:
        soaking.inject(soak, looker, one, random.Random(SEED))  # noqa: S311 - dice, not secrets
    soaking.verify_kinds(soak, [one], minutes)
    soak.fleet.close()
    assert any("never took place: ['a fault']" in one for one in soak.broken) == found
    assert soak.seen["a fault"].total() == len(seen)


def test_a_fault_that_breaks_off_did_not_take_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soak = Soak(root, say=print, is_small=True)
    monkeypatch.setattr(soak, "ensure_alive", lambda: None)
    looker = Looker(soak)
    monkeypatch.setattr(looker, "look", lambda: None)
    # No daemon is there, so nobody can be asked who lives.
    soaking.inject(soak, looker, KINDS["an agent is killed"], random.Random(SEED))  # noqa: S311
    soak.fleet.close()
    assert soak.broken
    assert not soak.took_place["an agent is killed"]


def test_inv11_tokens_that_were_spent_and_are_forgotten_are_found(root: Path) -> None:
    soak = Soak(root, say=print, is_small=True)
    looker = Looker(soak)
    spender = {"name": "sdk0", "execution": "one", "pid": 7, "budgets": []}
    for total in (900, 100):
        looker._check_spent(spender | {"tokens": {"total": total}}, "2026-11-21")
        for history in looker._spent.values():
            history[-1] = (history[-1][0] - 60, history[-1][1])  # as if long on disk
    soak.fleet.close()
    assert "INV11: sdk0 tokens_total fell from 900 to 100" in "".join(soak.broken)


def sample(
    at_s: float, *, blocks: int, in_use_bytes: int, rss_bytes: int = 60 * MIB, alerts: int = 0
) -> Sample:
    return Sample(at_s, 1, 0, rss_bytes, 200, 10, 0, blocks, in_use_bytes, alerts)


def life(
    grown: float, in_use_more: int = 0, rss_from_half: float = 0.0, alerts_from_half: int = 0
) -> list[Sample]:
    """Twenty minutes in which what is kept grows evenly by that part, RSS only from half way on."""
    return [
        sample(
            at_s,
            blocks=int(250_000 * (1 + grown * at_s / 1200)),
            in_use_bytes=10 * MIB + int(in_use_more * at_s / 1200),
            rss_bytes=int(60 * MIB * (1 + rss_from_half * max(0, at_s - 600) / 600)),
            alerts=alerts_from_half if 700 < at_s < 900 else 0,
        )
        for at_s in range(0, 1201, 5)
    ]


@pytest.mark.parametrize(
    ("blocks", "alerts", "found"), [(250_000, 0, ""), (290_000, 1000, ""), (290_000, 0, "grew")]
)
def test_alerts_that_wait_are_no_growth(root: Path, blocks: int, alerts: int, found: str) -> None:
    soak = Soak(root, say=print, is_small=True)
    looker = Looker(soak)
    looker.samples = life(0.2)
    looker.counted = [
        ((1, 0), {"blocks": 250_000, figures.ALERT: 10}),
        ((1, 0), {"blocks": blocks, figures.ALERT: alerts}),
    ]
    sizes(soak, looker)
    soak.fleet.close()
    assert bool(soak.broken) == bool(found), soak.broken
    assert found in "".join(soak.broken)


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (life(0.0), ""),
        (life(0.04), ""),
        (life(0.12), "allocated blocks grew"),
        (life(0.0, in_use_more=6 * MIB), ""),  # the page caches of SQLite
        (life(0.0, in_use_more=20 * MIB), "bytes in use grew"),
        (life(0.0, rss_from_half=0.04), ""),
        (life(0.0, rss_from_half=0.12), "RSS grew"),
        (life(0.0, rss_from_half=0.12, alerts_from_half=1700), "RSS grew"),  # told beside it
        (life(0.12, rss_from_half=0.12)[:170], ""),  # shorter than what can be judged
        ([sample(at_s, blocks=1, in_use_bytes=1, rss_bytes=101 * MIB) for at_s in (0, 9)], "RSS"),
    ],
)
def test_growth_is_found_in_a_life_that_is_long_enough(
    root: Path, samples: list[Sample], found: str
) -> None:
    soak = Soak(root, say=print, is_small=True)
    looker = Looker(soak)
    looker.samples = samples
    sizes(soak, looker)
    soak.fleet.close()
    assert bool(soak.broken) == bool(found), soak.broken
    assert found in "".join(soak.broken)
    assert "blocks" in kept_told(samples[-1])


@pytest.mark.parametrize(
    ("after_s", "days"), [(-9, {"2026-11-21"}), (-1, set()), (2, set()), (6, {"2026-11-22"})]
)
def test_what_was_spent_in_a_day_is_forgotten_at_midnight_and_not_before(
    root: Path, after_s: float, days: set[str]
) -> None:
    midnight_s = time.mktime((2026, 11, 22, 0, 0, 0, 0, 0, -1))
    day = day_between(midnight_s + after_s, midnight_s + after_s + 2)
    assert {day} - {""} == days
    soak = Soak(root, say=print, is_small=True)
    looker = Looker(soak)
    spender = {"name": "budget1", "execution": "one", "tokens": {"total": 0}, "pid": 7}
    for used, when in ((34.57, "2026-11-21"), (0.12, day)):
        looker._check_spent(spender | {"budgets": [{"name": "usd_per_day", "used": used}]}, when)
        for history in looker._spent.values():
            history[-1] = (history[-1][0] - 60, history[-1][1])  # as if long on disk
    soak.fleet.close()
    assert bool(soak.broken) == (day == "2026-11-21"), soak.broken


def test_an_intent_that_nobody_ordered_is_found() -> None:
    ledger = Ledger()
    ledger.begin(["a"])
    shown = {"name": "a", "intent": "up", "intent_by": "ada", "intent_reason": "", "held": False}
    assert not ledger.compare(shown)
    assert "INV5" in ledger.compare(shown | {"intent": "stopped"})


@pytest.mark.parametrize(
    "notes",
    [
        ["began none", "kept 5", "began 3"],  # what was kept last is not given back
        ["began none", "kept 5", "began none"],  # ... or nothing is
        ["began none", "kept 5", "intent mail", "began 5"],  # a deed in flight is not told
    ],
)
def test_a_worker_that_was_not_given_back_what_it_kept_is_found(notes: list[str]) -> None:
    verdicts.follow(["began none", "kept 5", "intent mail", "began 5 mail"], 0)
    with pytest.raises(AssertionError):
        verdicts.follow(notes, 0)


@pytest.mark.parametrize(
    ("killed_s", "until"),
    [
        ([], 100),
        ([99.0], 100),  # long ago
        ([103.0], 103 - UNSAVED_S),
        ([96.0, 103.0], 96 - UNSAVED_S),  # the second came before anything was written
        ([80.0, 103.0], 103 - UNSAVED_S),
    ],
)
def test_each_kill_costs_what_was_spent_right_before_it(
    killed_s: list[float], until: float
) -> None:
    assert kept_until(100 + UNSAVED_S, killed_s) == until


@pytest.mark.parametrize(("ago_s", "found"), [(UNSAVED_S - 1, False), (UNSAVED_S + 1, True)])
def test_inv11_what_a_kill_may_cost_one_that_spends_no_more_is_not_missed_later(
    root: Path, ago_s: float, *, found: bool
) -> None:
    soak = Soak(root, say=print, is_small=True)
    looker = Looker(soak)
    silent = {"name": "call", "execution": "one", "pid": 7, "budgets": []}
    looker._check_spent(silent | {"tokens": {"total": 50}}, "2026-11-21")
    for history in looker._spent.values():
        history[-1] = (history[-1][0] - 60, history[-1][1])
        soak.killed_s.append(history[-1][0] + ago_s)
    looker._check_spent(silent | {"tokens": {"total": 30}}, "2026-11-21")
    soak.fleet.close()
    assert bool(soak.broken) == found, soak.broken


def test_a_missing_line_is_told_with_its_place() -> None:
    assert verdicts.gap([0, 1, 2, 4, 5]) == "from 0; 2 then 4"


def test_what_others_take_of_the_machine_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    begun, ended = Moment(0, 100, 10, 0), Moment(10, 115, 20, 3)
    assert others_share(begun, ended) == pytest.approx(5 / 20)


def test_a_small_soak_has_one_agent_of_each_kind_and_whom_they_depend_on(root: Path) -> None:
    soak = Soak(root, say=print)
    soak.fleet.close()
    few = one_of_each(soak.citizens)
    names = {one.name for one in few}
    assert {one.kind for one in few} == {one.kind for one in soak.citizens}
    assert {"valid", "breaker0", "beat0"} <= names
    assert len(few) < len(soak.citizens)
