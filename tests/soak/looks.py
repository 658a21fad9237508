"""What is looked at all the while: figures of the daemon, and what must hold at every moment."""

import contextlib
import os
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.daemon.harness import Document, Refused, alive
from tests.faults import census
from tests.faults.guard import INNOCENT, environ_of
from tests.faults.remains import orphaned_groups, zombies_of
from tests.soak.soak import Soak

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
DOWN = ("stopped", "killed")
TURN_S = 5.0
"""So long after midnight the daemon may still tell of the day that ended."""
# What was spent may be this old on disk when the daemon is killed (FAULTS §4: 5 s), and as old
# again when it was looked at.
UNSAVED_S = 8.0
SCAN_EVERY_S = 3.0
LOAD_EVERY_S = 60.0
GROUP_EMPTY_S = 45.0
"""agentd tries again every 20 s at the most to remove one that was busy when its run was over."""
CONFIRM_S = 0.5
INV13_MARGIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon's size at one moment."""

    at_s: float
    pid: int
    life: int
    """The how manieth image: a kill or a re-exec begins a new one."""
    rss_bytes: int
    fds: int
    threads: int
    zombies: int
    blocks: int | None
    """Blocks that Python has allocated; None: the daemon hasn't told yet."""
    in_use_bytes: int | None
    """What malloc has given out, to SQLite for one."""
    alerts: int
    """How many it keeps in memory for their receivers."""


class Looker:
    """Looks about once a second, and remembers."""

    def __init__(self, soak: Soak) -> None:
        self.samples: list[Sample] = []
        self.life = 0
        self.counted: list[tuple[tuple[int, int], dict[str, int]]] = []
        """Objects by type, of which image, each time that they were counted."""
        self._asked = (0, 0)
        """The image that was asked last how much it keeps."""
        self._soak = soak
        self._spent: dict[tuple[str, str, str, str], deque[tuple[float, float]]] = defaultdict(
            deque
        )
        self._scanned_s = 0.0
        self._empty_since_s: dict[str, float] = {}
        self._told_groups: set[str] = set()
        self._weighed_s = time.monotonic()

    def look(self) -> None:
        """Take a sample and check what must always hold; the daemon must be up."""
        soak = self._soak
        with soak.checked("a look"):
            self._measure()
            begun, asked_s = time.monotonic(), time.time()
            shown = {one["name"]: one for one in soak.fleet.ask("status")["agents"]}
            day = day_between(asked_s, time.time())
            for agent in shown.values():
                self._check(agent, day)
            self._check_bystander(shown[INNOCENT])
            if begun - self._scanned_s > SCAN_EVERY_S:
                self._scanned_s = begun
                self.scan()
                self._look_for_groups(begun)
            if begun - self._weighed_s > LOAD_EVERY_S:
                self._weighed_s = begun
                soak.load.look(soak.fleet.pid)

    def count(self) -> None:
        """Count the daemon's objects by type; it stands still meanwhile, by our doing."""
        soak = self._soak
        with soak.checked("objects are counted"), soak.fleet.away():
            found = census.objects(soak.fleet)
            self.counted.append(((soak.fleet.pid, self.life), found))

    def _measure(self) -> None:
        pid = self._soak.fleet.pid
        place = Path(f"/proc/{pid}")
        status = (place / "status").read_text()
        threads = int(status.partition("Threads:")[2].split()[0])
        rss = int((place / "statm").read_text().split()[1]) * PAGE_BYTES
        fds = len(os.listdir(place / "fd"))  # noqa: PTH208 - the shortest way to a count
        kept, life = census.told(self._soak.fleet), (pid, self.life)
        if life != self._asked:
            kept, self._asked = {}, life  # what is there was told by another image
        self.samples.append(
            Sample(
                self._soak.now_s,
                pid,
                self.life,
                rss,
                fds,
                threads,
                zombies_of(pid),
                kept.get("blocks"),
                kept.get("in_use_bytes"),
                kept.get("alerts", 0),
            )
        )
        census.ask(self._soak.fleet)

    def _check(self, agent: Document, day: str) -> None:
        if wrong := self._soak.ledger.compare(agent):
            self._soak.broke(wrong)
        if day:
            self._check_spent(agent, day)
        self._check_health(agent)

    def _check_bystander(self, shown: Document) -> None:
        """Innocents untouched: same pid, no failure, no restart; healthy but for a moment."""
        found = shown["state"], shown["pid"], shown["failures"], shown["restarts"]
        if found != ("running", self._soak.fleet.bystander_pid, 0, 0):
            self._soak.broke(f"the bystander was harmed: {found}")

    def _check_spent(self, agent: Document, day: str) -> None:
        """INV11: within an execution and a day nothing that was spent is forgotten."""
        now, execution = time.monotonic(), agent["execution"]
        figures = {"tokens_total": agent["tokens"]["total"]}
        figures |= {one["name"]: one["used"] for one in agent["budgets"]}
        for name, used in figures.items():
            if used is None:
                continue
            history = self._spent[agent["name"], execution, name, day]
            killed_s = self._soak.killed_s
            kept_s = kept_until(now, killed_s)
            # What a kill has cost is gone, however long ago that was.
            for one in [one for one in history if may_be_lost(one[0], killed_s)]:
                history.remove(one)
            floor = max((one for at, one in history if at < kept_s), default=0)
            if used < floor:
                self._soak.broke(f"INV11: {agent['name']} {name} fell from {floor} to {used}")
            history.append((now, used))
            while len(history) > 2 and history[1][0] < kept_s:
                history.popleft()

    def _check_health(self, agent: Document) -> None:
        """INV13: health as shown follows from what is shown beside it."""
        limits, silence_s = agent["thresholds_s"], agent["silence_s"]
        told = agent["health"]
        if agent["intent"] == "killed" and told != "killed":
            self._soak.broke(f"INV13: {agent['name']} is killed and shown as {told}")
        explained = agent["expected_silence_s"] or agent["open_call"] or agent["no_progress"]
        if (
            agent["state"] != "running"
            or agent["intent"] != "up"
            or not limits
            or silence_s is None
            or not agent["heartbeats"]
            or explained
        ):
            return
        # The other way round proves nothing: silence that the daemon caused itself isn't charged.
        if silence_s < limits["degraded"] - INV13_MARGIN_S and told != "healthy":
            self._soak.broke(f"INV13: {agent['name']} is {told} after {silence_s} s of silence")

    def _look_for_groups(self, now: float) -> None:
        """INV12: no control group stays for long in which nobody lives."""
        assert self._soak.fleet.bystander_pid is not None
        empty = orphaned_groups(self._soak.fleet.bystander_pid)
        self._empty_since_s = {one: self._empty_since_s.get(one, now) for one in empty}
        for name, since in self._empty_since_s.items():
            if now - since > GROUP_EMPTY_S and name not in self._told_groups:
                self._told_groups.add(name)
                self._soak.broke(f"INV12: {name} is empty since {now - since:.0f} s")

    # --- processes

    def scan(self) -> None:
        """INV1 and INV3, by the environment of every process there is."""
        soak = self._soak
        before = self._states()
        trees = self.trees()
        doubled = {name: runs for name, runs in trees.items() if len(runs) > 1}
        if doubled:
            self._confirm_doubled(doubled)
        haunted = [
            (name, [pid for pids in trees[name].values() for pid in pids])
            for name, (intent, state) in before.items()
            if intent in DOWN and state == "stopped" and trees.get(name)
        ]
        if haunted:
            time.sleep(CONFIRM_S)
            after = self._states()
            for name, pids in haunted:
                left = [pid for pid in pids if alive(pid)]
                if left and after.get(name) == before[name]:
                    soak.broke(f"INV3: {name} is {before[name]} and pids {left} live")

    def trees(self) -> dict[str, dict[str, list[int]]]:
        """Pids of living processes by agent and incarnation."""
        found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for pid in self._soak.fleet.survivors():
            with contextlib.suppress(OSError, KeyError):
                environ = environ_of(pid)
                if alive(pid):
                    found[environ["AGENTD_AGENT"]][environ["AGENTD_INCARNATION"]].append(pid)
        return found

    def _confirm_doubled(self, doubled: dict[str, dict[str, list[int]]]) -> None:
        """Two at one moment, not one after the other: all of them still live a while later."""
        for name, runs in doubled.items():
            living = [[pid for pid in pids if alive(pid)] for pids in runs.values()]
            # The earlier of them was alive when the later one had been read: look once more.
            if sum(map(bool, living)) > 1 and sum(any(map(alive, one)) for one in living) > 1:
                self._soak.broke(f"INV1: {name} lives twice: {dict(runs)}")

    def _states(self) -> dict[str, tuple[str, str]]:
        with contextlib.suppress(OSError, Refused):
            agents = self._soak.fleet.ask("status")["agents"]
            return {one["name"]: (one["intent"], one["state"]) for one in agents}
        return {}


def day_between(asked_s: float, answered_s: float) -> str:
    """Return the civil day of which an answer tells, between two moments of the wall clock.

    Empty: right after midnight it may be either.
    """
    days = {time.strftime("%F", time.localtime(at)) for at in (asked_s - TURN_S, answered_s)}
    return days.pop() if len(days) == 1 else ""


def may_be_lost(shown_s: float, killed_s: Sequence[float]) -> bool:
    """Whether a kill followed before what was shown at this moment had to be on disk."""
    return any(killed - UNSAVED_S <= shown_s <= killed for killed in killed_s)


def kept_until(now: float, killed_s: Sequence[float]) -> float:
    """What was shown before this moment is on disk, and may not be forgotten any more.

    Each kill may cost what was spent in the last seconds before it: a daemon that is killed again
    before it has written anything goes back to what the one before it had written.
    """
    until = now - UNSAVED_S
    for killed in reversed(killed_s):
        if killed < until:
            break
        until = min(until, killed - UNSAVED_S)
    return until
