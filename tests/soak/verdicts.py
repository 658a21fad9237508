"""What must hold after the quiet: the invariants as far as they are seen from outside."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.daemon.alert_receivers import sink_shown
from tests.daemon.harness import Document
from tests.faults.guard import INNOCENT
from tests.faults.remains import orphaned_groups, zombies_of
from tests.soak.looks import Looker
from tests.soak.soak import Soak

# Where an agent whose intent is up may be: it runs, or a policy of its own says when it will.
RUNS = {"running"}
TROUBLED = {"running", "starting", "stopping", "cooldown", "escalated", "parked", "completed"}
DELIVERED_S = 150.0
"""A storm is folded into one message a minute."""
HONOURED_S = 60.0
"""On top of the quiet; an idle machine needs none of it."""
LINE = re.compile(rb"^\0*([0-9a-f]{16}) (\d+) ")


def judge(soak: Soak, looker: Looker) -> None:
    """Check everything; what doesn't hold is remembered by the soak."""
    with soak.checked("INV2 INV3 INV4: intents honoured"):
        _intents_honoured(soak)
    looker.scan()
    journal: list[Document] = []
    with soak.checked("the journal"):
        journal += soak.fleet.journal()
    with soak.checked("INV6: the follower has heard of all"):
        soak.fleet.until_true(lambda: soak.listener.cursor >= journal[-1]["id"])
    _journal(soak, journal)
    for name in ("count", "chatty"):
        _numbered(soak, name)
    _workers(soak)
    with soak.checked("INV9: strangers live"):
        assert all(one.poll() is None for one in soak.strangers)
    with soak.checked("alerts are delivered"):
        for sink in ("good", "bad"):
            _delivered(soak, sink)
    with soak.checked("INV12: cgroups"):
        _groups(soak)
    with soak.checked("INV12: zombies"):
        soak.fleet.until_true(lambda: not zombies_of(soak.fleet.pid))
    soak.listener.stop()  # its connection would be an open file too many
    for check in (
        soak.fleet.verify_bystander,
        soak.fleet.verify_answers,
        soak.fleet.verify_journal,
        soak.fleet.verify_own_health,  # stops all but the bystander: the last of all
    ):
        with soak.checked(check.__name__):
            check()


def _intents_honoured(soak: Soak) -> None:
    """A busy machine may take longer to start agents; in the end all must be as promised."""
    end = time.monotonic() + HONOURED_S
    while (wrong := _intents(soak)) and time.monotonic() < end:
        time.sleep(0.5)
    for one in wrong:
        soak.broke(one)


def _intents(soak: Soak) -> list[str]:
    """Who is not as its operator was promised, at this moment."""
    wrong = []
    for agent in soak.fleet.ask("status")["agents"]:
        name, intent, state = agent["name"], agent["intent"], agent["state"]
        if name == INNOCENT or name not in soak.people:
            continue
        one = soak.people[name]
        story = f"{name} ({one.kind}) is {intent}, {state}, {agent['health']}: {agent['evidence']}"
        if intent == "up" and not agent["held"] and not agent["blocked_by"]:
            is_sick = (
                state == "running" and one.steady and one.beats and agent["health"] != "healthy"
            )
            if is_sick or state not in (RUNS if one.steady else TROUBLED):
                wrong.append(f"INV2: {story}")
        elif intent in ("stopped", "killed") and (state != "stopped" or agent["pid"]):
            wrong.append(f"INV3: {story}")
        elif intent == "paused" and state != "paused":
            wrong.append(f"INV4: {story}")
    return wrong


def _journal(soak: Soak, journal: list[Document]) -> None:
    """INV14: one escalation an episode.

    That each is told once, `verify_journal` looks at; INV7, the listener as it hears of it.
    """
    escalated: set[str] = set()
    for event in journal:
        name = event["agent"]
        if event["event"] in ("agent.starting", "agent.started"):
            escalated.discard(name)
        elif event["event"] == "agent.escalated":
            if name in escalated:
                soak.broke(f"INV14: {name} was escalated twice, again by event {event['id']}")
            escalated.add(name)


def _numbered(soak: Soak, prefix: str) -> None:
    """No numbered line lost or doubled: what is kept of each run has no gap."""
    for one in soak.citizens:
        if not one.name.startswith(prefix):
            continue
        path = soak.fleet.root / "logs" / f"{one.name}.log"
        is_trimmed = prefix == "chatty"
        with soak.checked(f"the log of {one.name}"):
            runs = defaultdict(list)
            for run, number in numbered(path):
                runs[run].append(number)
            assert runs, "is empty"
            for place, (run, numbers) in enumerate(runs.items()):
                first = numbers[0] if is_trimmed and place == 0 else 0
                expected = list(range(first, first + len(numbers)))
                assert numbers == expected, f"{run}: {gap(numbers)}"


def numbered(path: Path) -> Iterator[tuple[str, int]]:
    with path.open("rb") as lines:
        for line in lines:
            if found := LINE.match(line):
                yield found[1].decode(), int(found[2])


def gap(numbers: list[int]) -> str:
    pairs = pairwise(numbers)
    return f"from {numbers[0]}; " + ", ".join(f"{a} then {b}" for a, b in pairs if b != a + 1)[:200]


def _workers(soak: Soak) -> None:
    """INV10: what was promised to be kept is given back, and deeds in flight are told."""
    for one in soak.citizens:
        notes = soak.places.notes(one.name)
        if one.kind.startswith("SDK") and notes.exists():
            with soak.checked(f"INV10: {one.name}"):
                follow(notes.read_text().splitlines(), soak.ledger.forgotten[one.name])


def follow(notes: list[str], forgotten: int) -> None:
    """One worker's notes, in order; its execution may have ended `forgotten` times."""
    kept, new, pending = 0, 0, ""
    for number, line in enumerate(notes, 1):
        word, *more = line.split()
        if word == "began" and more[0] != "unanswered":
            if more[0] == "none":
                # The first run has nothing; without a kept state so do those that follow.
                new += kept > 0
                kept, pending = 0, ""
            else:
                assert int(more[0]) >= kept, f"line {number}: {more[0]} after {kept} was kept"
            told = more[1:]
            assert not pending or pending in told or "unanswered" in told, f"{number}: {pending}"
            pending = ""
        elif word == "kept":
            kept = int(more[0])
        elif word == "intent":
            pending = more[0]
        elif word == "done":
            pending = ""
    assert new <= forgotten, f"{new} new executions after {forgotten} orders that end one"


def _delivered(soak: Soak, sink: str) -> None:
    """Receivers that are well again are told; some agents fail on, so that some always waits."""
    end = time.monotonic() + DELIVERED_S
    sent = sink_shown(soak.fleet, sink)["sent"]
    while True:
        shown = sink_shown(soak.fleet, sink)
        if not shown["last_error"] and (shown["sent"] > sent or not shown["waiting"]):
            return
        if time.monotonic() > end:
            raise AssertionError(f"{sink}: {shown}")
        time.sleep(0.5)


def _groups(soak: Soak) -> None:
    beside = soak.fleet.bystander_pid
    assert beside is not None
    soak.fleet.until_true(lambda: not orphaned_groups(beside), lambda: str(orphaned_groups(beside)))
