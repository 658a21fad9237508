"""G14: what is kept of runs, connections and commands that are over has a bound.

Counted are the daemon's objects by type and its open files, not its memory: that also depends
on the allocator and on the machine.
"""

from collections import Counter

import pytest

from tests.daemon.harness import Refused
from tests.faults import census
from tests.faults.guard import Fleet

AGENTS = [f"brief{number}" for number in range(8)]
OFTEN = '[restart]\nfailures_max = 1000000\ncooldown = "50ms"'
STARTS = 40
VISITS = 200
COMMANDS = 40
# Whatever is kept of each restart, visit or command would grow by as many as there were.
GROWTH_MAX = COMMANDS // 2
# Histories that fill up to a bound of their own, and what one entry of them is made of.
BOUNDED = {
    "agentd.core.agent.Transition",  # core/agent.py: TRANSITIONS_KEPT of each agent
    "agentd.core.detectors.runaway.Slice",  # runaway.py: SLICES of each agent's window
    "agentd.daemon.diagnosis._Ended",  # daemon/diagnosis.py: ENDED_MAX
    "agentd.daemon.replays._Kept",  # daemon/replays.py: ANSWERS_MAX, and ten minutes
    "builtins.list",  # whoever waits for the answer of a `_Kept`
    "builtins.tuple",  # the key of an `_Ended` or a `_Kept`
    "weakref.ReferenceType",  # sqlite3: those of 200 cursors a connection, then it tidies up
}

# Lines of agents that the recorder hasn't written yet: daemon/recorder.py, LINES_MAX.
UNWRITTEN = "agentd.core.lines."
FIGURES = {"blocks", "in_use_bytes"}


def kept(fleet: Fleet) -> dict[str, int]:
    """Objects by type, but for those of histories that have a bound."""
    return {
        kind: count
        for kind, count in census.objects(fleet).items()
        if kind not in BOUNDED | FIGURES and not kind.startswith(UNWRITTEN)
    }


def starts(fleet: Fleet) -> int:
    return sum(one["restarts"] for one in fleet.ask("status")["agents"] if one["name"] in AGENTS)


def one_round(fleet: Fleet, number: int) -> None:
    """Runs that crash, incidents that open and are over, visits, followers, commands."""
    fleet.ask("start", select=AGENTS)
    enough = starts(fleet) + STARTS
    fleet.until_true(lambda: starts(fleet) >= enough, lambda: f"{starts(fleet)} of {enough}")
    fleet.ask("stop", select=AGENTS)
    for name in AGENTS:
        fleet.until(name, lambda s: s["state"] == "stopped" and s["pid"] is None)
    for _ in range(VISITS):
        fleet.connect().close()
    for place in range(COMMANDS):
        order(fleet, f"{number}-{place}")
        with fleet.connect() as channel:
            channel.sendall(b'{"id":"f","cmd":"events","args":{"after":0},"follow":true}\n')
            channel.recv(1)


def order(fleet: Fleet, request: str) -> None:
    """A command that changes something, and one that is refused."""
    fleet.ask("hold" if request.endswith(("0", "2", "4")) else "unhold", select=AGENTS[:1])
    with pytest.raises(Refused) as refused:
        fleet.ask("hold", request=request, select=["nobody"])
    assert refused.value.error["code"] != "too_busy", refused.value.error


def test_g14_runs_visits_and_commands_that_are_over_leave_nothing_without_a_bound(
    fleet: Fleet,
) -> None:
    for name in AGENTS:
        fleet.shell(name, "exit 1", OFTEN)
    fleet.start(env=census.environment_of(fleet.root))
    one_round(fleet, 0)
    first = Counter(kept(fleet))
    assert first["agentd.core.agent.Agent"] == len(AGENTS) + 1, "it counts another process"
    one_round(fleet, 1)
    second, files = Counter(kept(fleet)), fleet.open_files()
    # What is read once, such as the table of prices, grows in one of the rounds and not in both.
    suspects = {kind for kind, count in (second - first).items() if count > GROWTH_MAX}
    one_round(fleet, 2)
    grown: Counter[str] = Counter()

    def is_flat() -> bool:
        # What is on its way is gone a moment later.
        now = Counter(kept(fleet)) - second
        grown.clear()
        grown.update({kind: now[kind] for kind in suspects if now[kind] > GROWTH_MAX})
        grown.update(fleet.open_files() - files)
        return not grown

    fleet.until_true(is_flat, lambda: f"kept: {grown.most_common(12)}")
