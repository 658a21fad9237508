"""A daemon under a fault, and what must hold meanwhile, whatever the fault is.

Beside the agents of a test runs an innocent one. It asks the daemon something twenty times a
second and writes down how long the answer took; a thread here asks for `status`. Both leave
out the time for which there was no core to run on, as the kernel counts it, so that a busy
machine is not taken for a daemon that blocks, and nothing else is forgiven.
"""

import contextlib
import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.daemon.harness import PYTHON, Daemon, Document, Refused, alive
from tests.faults.measures import MIB, Measures, memory_of
from tests.faults.remains import orphaned_groups, zombies_of
from tests.faults.statuswatch import StatusWatch
from tests.faults.voice import Voice

__all__ = ["INNOCENT", "PROGRAMS", "Fleet", "Voice", "children_of", "environ_of", "parent_of"]

PROGRAMS = Path(__file__).parent / "programs"
INNOCENT = "innocent"
LAG_MS_MAX = 250.0
STATUS_MS_MAX = 1000.0
RSS_BYTES_MAX = 100 << 20
# Memory that an idle daemon doesn't hold, once the fault is over. The allocator keeps what it once
# needed where something small still lives in it: measured 0 to 0.6 MiB after most faults, 3.5 after
# fifty agents at once. A test that leaves more by nature says so, and why.
KEPT_BYTES_MAX = 8 * MIB

# Kept open on purpose: an agent's log, and what the threads that read the store have open.
KEPT = (".log", ".db", ".db-wal", ".db-shm")
# The recorder has one of these open once it has written, whatever its number.
SEGMENT = ".frames"
OVER = {"stopped", "completed", "escalated"}

# A bystander to whom this happened was no bystander.
HARMS = {"agent.degraded", "agent.unreachable", "agent.exited", "agent.restarting"}


class Fleet(Daemon):
    """A daemon with an innocent bystander; `verify` says whether the fault stayed where it was."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.notes = root / "innocent.notes"
        self.bystander_pid: int | None = None
        self.idle_files: Counter[str] | None = None
        """Open files of a daemon with nothing but the bystander; None: don't compare."""
        self.idle_bytes: int | None = None
        """What such a daemon holds in memory; None: don't compare."""
        self.kept_bytes_max = KEPT_BYTES_MAX
        self.measures = Measures()
        self.seen: list[str] = []
        """What a test saw, in words, for the table of `make test-faults`."""
        self._away: list[tuple[float, float]] = []
        self._watch: StatusWatch | None = None
        self.program(INNOCENT, "innocent", str(self.notes))

    def program(self, name: str, program: str, *words: str, text: str = "") -> None:
        """An agent that runs one of the programs beside this file."""
        self.agent(name, [PYTHON, "-S", str(PROGRAMS / f"{program}.py"), *words], text)

    def shell(self, name: str, script: str, text: str = "", *, required: bool = False) -> None:
        """An agent that is a shell script; no heartbeat is asked of it by default."""
        tail = "" if required else "\n[heartbeat]\nrequired = false"
        self.agent(name, ["/bin/sh", "-c", script], text + tail)

    def start(self, *, ready: bool = True, env: dict[str, str] | None = None) -> "Fleet":
        super().start(ready=ready, env=env)
        if ready:
            self.settle()
        return self

    def start_as(self, words: list[str]) -> None:
        """Start it by another command, which becomes the daemon in the end."""
        self.heard()
        self.process = subprocess.Popen(
            words,
            env={**os.environ, "NOTIFY_SOCKET": str(self.root / "notify")},
            stderr=(self.root / "stderr").open("ab"),
            start_new_session=True,
        )
        self.await_notify("READY=1")
        self.settle()

    def settle(self) -> None:
        """Wait until the bystander is heard; from then on it must stay as it is."""
        shown = self.until(INNOCENT, lambda s: s["health"] == "healthy")
        if self.measures.rss_before_mib is None:
            self.measures.rss_before_mib = memory_of(self.pid)[0] / MIB
        if self.bystander_pid is None:
            self.bystander_pid = shown["pid"]
        if self._watch is None:
            self._watch = StatusWatch(lambda: self.ask("status"), lambda: self.pid)
            self._watch.start()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """For so long the daemon is stopped or dead by the test's own doing: no answer is due."""
        begun = time.monotonic()
        try:
            yield
        finally:
            # What was asked while it was away is answered when it is back.
            self._away.append((begun, time.monotonic() + 0.2))

    def crash(self) -> None:
        self._leave()
        super().crash()

    def kill_now(self) -> None:
        """Kill -9, from whatever thread; whoever started it waits for the end."""
        assert self.process is not None
        self._leave()
        self.process.kill()

    def _leave(self) -> None:
        """From now on it is away, until it says that it is ready; once, however often killed."""
        if not self._away or self._away[-1][1] != float("inf"):
            self._away.append((time.monotonic(), float("inf")))

    def leaders(self, name: str) -> list[int]:
        """Pids of an agent that stand at the top of a tree: one, or there are two copies."""
        found = []
        for pid in self.survivors():
            with contextlib.suppress(OSError):
                if environ_of(pid).get("AGENTD_AGENT") == name and self.is_leader(pid):
                    found.append(pid)
        return found

    def is_leader(self, pid: int) -> bool:
        """Whether it leads its session as an incarnation's first process does."""
        if os.getsid(pid) != pid:
            return False
        parent = parent_of(pid)
        mine = environ_of(pid)["AGENTD_INCARNATION"]
        with contextlib.suppress(OSError):
            return parent <= 1 or environ_of(parent).get("AGENTD_INCARNATION") != mine
        return True

    def await_notify(self, word: str) -> None:
        super().await_notify(word)
        if word == "READY=1" and self._away and self._away[-1][1] == float("inf"):
            self._away[-1] = (self._away[-1][0], time.monotonic() + 0.2)

    def is_away(self, begun: float, ended: float) -> bool:
        """Whether any of that time the test kept the daemon from answering."""
        return any(begun <= there and gone <= ended for gone, there in self._away)

    def connect(self, timeout_s: float = 5.0) -> socket.socket:
        """Connect, patient where a crowd stands at the door, as the client is."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                return super().connect(timeout_s)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)

    def ask(self, cmd: str, timeout_s: float = 5.0, **args: object) -> Document:
        """One command; where this test has asked too much in a second, again a little later."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                return super().ask(cmd, timeout_s, **args)
            except Refused as refused:
                if refused.error["code"] != "too_busy" or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def as_agent(self, name: str) -> Voice:
        """A connection that speaks as an agent, by its token."""
        pid = self.status(name)["pid"]
        return Voice(self.connect(), environ_of(pid)["AGENTD_TOKEN"])

    def log_all(self) -> str:
        """Everything it wrote to stderr."""
        return (self.root / "stderr").read_text()

    def counters(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.ask("daemon")["counters"]
        return found

    def copies(self) -> Counter[str]:
        """How many leaders live, by agent: processes whose environment names them ours."""
        found: Counter[str] = Counter()
        for pid in self.survivors():
            with contextlib.suppress(OSError, KeyError):
                environ = environ_of(pid)
                parent = environ_of(parent_of(pid)) if parent_of(pid) > 1 else {}
                if parent.get("AGENTD_INCARNATION") != environ["AGENTD_INCARNATION"]:
                    found[environ["AGENTD_AGENT"]] += 1
        return found

    # --- what must hold

    def verify(self) -> None:
        """Assert what holds during and after every fault; the daemon must be up."""
        self.verify_bystander()
        self.verify_answers()
        self.verify_journal()
        self.verify_own_health()

    def verify_bystander(self) -> None:
        shown = self.status(INNOCENT)
        assert (shown["state"], shown["health"]) == ("running", "healthy"), shown
        assert (shown["pid"], shown["failures"], shown["restarts"]) == (self.bystander_pid, 0, 0)
        harmed = [
            f"{event['time']} {event['event']}: {event['message']}"
            for event in self.journal()
            if event["agent"] in (INNOCENT, None) or event["event"] in HARMS
        ]
        happened = {event["event"] for event in self.events(INNOCENT)}
        assert not happened & HARMS, harmed

    def verify_answers(self) -> None:
        assert self._watch is not None
        answers, now = self.answers(), time.monotonic()
        blocked = [
            (round(begun - now, 1), round(took, 1), round(starved, 1))
            for begun, took, starved in answers
            if took - starved > LAG_MS_MAX
        ]
        self.measures.lag_ms = max(0.0, *(took - starved for _, took, starved in answers))
        assert not blocked, f"the loop stood still, (s, ms, ms without a core): {blocked}"
        asked = [one for one in self._watch.asked if not self.is_away(one.begun, one.ended)]
        failed = [one for one in asked if one.error is not None]
        assert not failed, failed
        slow = [one for one in asked if one.took_ms > STATUS_MS_MAX]
        self.measures.status_ms = max((0.0, *(one.took_ms for one in asked)))
        assert not slow, slow

    def answers(self) -> list[tuple[float, float, float]]:
        """The bystander's notes while the daemon was there: moment, ms, ms without a core."""
        notes = []
        for line in self.notes.read_text().splitlines():
            begun, took, starved = map(float, line.split())
            if not self.is_away(begun, begun + took / 1000):
                notes.append((begun, took, starved))
        assert notes, "the bystander never got an answer"
        return notes

    def verify_journal(self) -> None:
        """INV6: ids without a gap. INV7: one start and at most one end an incarnation."""
        events = self.journal()
        ids = [event["id"] for event in events]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        # A start that a shortage of the host puts off is told once more, without a cause.
        once = [event for event in events if event["event"] != "agent.starting" or event["data"]]
        for kind in ("agent.starting", "agent.started", "agent.exited"):
            told = Counter(
                (event["agent"], event["incarnation"]) for event in once if event["event"] == kind
            )
            twice = {run: count for run, count in told.items() if count > 1}
            assert not twice, (kind, twice)
        assert not [event for event in events if event["event"] == "daemon.fault"]

    def journal(self) -> list[Document]:
        """Every event there is."""
        found: list[Document] = []
        while page := self.ask("events", after=found[-1]["id"] if found else 0, limit=2000):
            found += page["events"]
            if len(page["events"]) < 2000:
                return found
        raise AssertionError

    def verify_own_health(self) -> None:
        document = self.ask("daemon")
        counters = document["counters"]
        assert counters["loop"]["faults"] == 0, self.log()
        assert counters["sockets"]["faults"] == 0, self.log()
        assert document["daemon"]["rss_bytes"] < RSS_BYTES_MAX
        assert max(self.copies().values(), default=0) <= 1, self.copies()
        self.quieten()
        self.verify_remains()
        self.verify_descriptors()
        self.verify_memory()

    def quieten(self) -> None:
        """Stop everybody but the bystander, and wait until they are gone."""
        others = [
            shown["name"]
            for shown in self.ask("status")["agents"]
            if shown["name"] != INNOCENT and not shown["external"] and shown["intent"] != "killed"
        ]
        if others:
            self.ask("stop", select=others)
            for name in others:
                self.until(name, lambda s: s["pid"] is None and s["state"] in OVER)
        self.stop_watching()

    def verify_remains(self) -> None:
        """INV12: no child that nobody reaped, no control group in which nobody lives."""
        assert self.bystander_pid is not None
        zombies, beside = partial(zombies_of, self.pid), self.bystander_pid
        self.until_true(lambda: not zombies(), lambda: f"{zombies()} zombies of the daemon")
        groups = partial(orphaned_groups, beside)
        self.until_true(lambda: not groups(), lambda: f"groups without a process: {groups()}")

    def verify_descriptors(self) -> None:
        """With only the bystander left, the same files are open as without any fault."""
        if (idle := self.idle_files) is None:
            return
        more: Counter[str] = Counter()

        def idle_again() -> bool:
            more.clear()
            more.update((now := self.open_files()) - idle)
            self.measures.files_before, self.measures.files_after = idle.total(), now.total()
            return not more

        self.until_true(idle_again, lambda: f"more open files than before: {more}")

    def verify_memory(self) -> None:
        """With only the bystander left, it holds what an idle daemon holds, but for a rest."""
        if (idle := self.idle_bytes) is None:
            return
        beyond = [0.0]

        def given_back() -> bool:
            resident, held = memory_of(self.pid)
            beyond[0] = self.measures.beyond_idle_mib = (held - idle) / MIB
            self.measures.rss_after_mib = resident / MIB
            return held - idle <= self.kept_bytes_max

        self.until_true(given_back, lambda: f"{beyond[0]:.1f} MiB more than an idle daemon")

    def open_files(self) -> Counter[str]:
        """The daemon's open files by kind. One log an agent and the store's own stay open."""
        kinds: Counter[str] = Counter()
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                kinds[kind_of(str(entry.readlink()))] += 1
        return Counter({kind: count for kind, count in kinds.items() if not kind.endswith(KEPT)})

    def stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def close(self) -> None:
        self.stop_watching()
        super().close()


def kind_of(link: str) -> str:
    """What an open file is, without the numbers and directories of one run."""
    if link.startswith("/"):
        return SEGMENT if link.endswith(SEGMENT) else Path(link).name
    return link.partition(":")[0] if link.startswith("socket:") else link


def environ_of(pid: int) -> dict[str, str]:
    """The environment a process was started with."""
    raw = Path(f"/proc/{pid}/environ").read_bytes()
    return dict(os.fsdecode(word).split("=", 1) for word in raw.split(b"\0") if b"=" in word)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    """Living children, of all threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return [child for child in found if alive(child)]
