"""One daemon with an agent for each thing that must outlive it, and what was seen of them."""

import contextlib
import itertools
import json
import os
import select
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentd.daemon import grounds, procfs
from tests.daemon.alert_receivers import webhook, with_sinks
from tests.daemon.harness import WAIT_S, Document, Refused, alive, read_line
from tests.faults.forked import ForkedDaemon, ForkServer
from tests.faults.guard import KEPT, environ_of, kind_of
from tests.sinks.receiver import Receiver

TARGET = "target"
KEEPER = "keeper"
SPENDER = "spender"
FRAGILE = "fragile"
EXTRA = "extra"
# Nothing is ever done to these: they have the same process from the first to the last point.
INNOCENTS = ("bystander", "resting", "chatty", "saver", KEEPER)
# A traced daemon that begins anew imports all of itself under strace.
OVER_S = 90.0
TOKENS_MAX = 1_000
SAVED_TOKENS = 54_321
# Longer than any run of the enumeration: an agent that ends by itself is no invariant's matter.
A_DAY_S = 86_400
ONE_FAILURE = "[restart]\nfailures_max = 1\n"
LONG_COOLDOWN = '[restart]\ncooldown = "1h"\nfailures_max = 100'


# An image that follows by a re-exec stands still, until SIGCONT, as soon as all is imported. The
# child that a re-exec asks first does not.
RUN_STANDING = (
    "import os, signal, sys; from pathlib import Path; from agentd.daemon.main import run; "
    "'AGENTD_HANDOVER' in os.environ and os.kill(os.getpid(), signal.SIGSTOP); "
    "sys.exit(run(Path(sys.argv[1]), None))"
)


class StandingDaemon(ForkedDaemon):
    """One whose re-executed image waits to be let go: what it imports is no part of any test."""

    def _spawn(self, words: list[str], env: dict[str, str], fds: Sequence[int] = ()) -> None:
        super()._spawn([*words[:2], RUN_STANDING, *words[3:]], env, fds)


@dataclass
class Before:
    """What was shown before an operation; none of it may get less."""

    cursor: int
    agents: dict[str, Document]
    at_s: float
    last: tuple[Any, ...] = ()
    """The event with that id, as the store has it."""


@dataclass
class Attempt:
    """One operation as whoever asked for it saw it."""

    request: str = ""
    line: Document = field(default_factory=dict)
    reply: Document | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether it was said to be done. A reload whose answer lists errors was not applied."""
        if self.reply is None or not self.reply["ok"]:
            return False
        return not (self.reply.get("result") or {}).get("errors")


class Bench:
    """Begins with everything that must last: an intent, a pause, a cooldown, a count, a state."""

    def __init__(self, root: Path, server: ForkServer, receiver: Receiver) -> None:
        self.daemon = StandingDaemon(root, server)
        self.receiver = receiver
        self.numbers = itertools.count(1)
        self.kept: list[Document] = []
        """States of the keeper that were sent; the last acknowledged one at `kept_acked`."""
        self.kept_acked = -1
        self.actions: dict[str, str] = {}
        """Keys of actions, and what of them was acknowledged last: `intent`, `done` or nothing."""
        self.deed = ""
        """The key of the one that is begun or ended next."""
        self.pids: dict[str, int] = {}
        """Of agents to which nothing is ever done."""
        self.paused_since = 0
        """The last event before `resting` and `dozing` were paused."""
        self.cooldown_left_ms = 0
        """What was left of the cooldown of `dozing` when it was paused."""
        self._log, self._log_mark = root / "stderr", 0
        self.before = Before(0, {}, 0.0)
        """What was seen before the operation that is under way."""
        with_sinks(self.daemon, webhook("ops", receiver.url))
        for name in (TARGET, "bystander", "down", KEEPER):
            self.daemon.sleeper(name, 'stop_timeout = "2s"', A_DAY_S)
        # Its silence would soon be told, were it judged while it is paused.
        for name in ("chatty", "resting"):
            self.daemon.beater(name)
        for name in ("tired", "dozing"):
            self.daemon.sleeper(name, LONG_COOLDOWN, A_DAY_S)
        for name in ("given-up", FRAGILE):
            self.daemon.sleeper(name, ONE_FAILURE, A_DAY_S)
        self.daemon.sleeper(SPENDER, f"[budget]\ntokens_per_run = {TOKENS_MAX}", A_DAY_S)
        self.daemon.sleeper("saver", "[budget]\ntokens_per_day = 1000000000", A_DAY_S)

    def begin(self, *, spends: bool = True) -> None:
        """Start it, and bring each agent to what it stands for.

        Without `spends` it is there four seconds earlier, and nothing was spent.
        """
        daemon = self.daemon
        daemon.start()
        for name in ("down", "tired", "dozing", "given-up", *INNOCENTS):
            daemon.until_state(name, "running")
        if spends:
            self.spend("saver", SAVED_TOKENS)
        daemon.ask("kill", select=["down"], reason="it stays down")
        self.strike("given-up")
        daemon.until_state("given-up", "escalated")
        for name in ("tired", "dozing"):
            for _ in range(2):
                self.strike(name)
            daemon.until_state(name, "cooldown")
        self.paused_since = self.last_event()
        daemon.ask("pause", select=["resting", "dozing"], reason="they rest")
        assert self.tell_agent_line(KEEPER, self.next_state()).acknowledged
        self.kept_acked = 0
        daemon.until_state("resting", "paused")
        daemon.until_state("down", "stopped")
        self.cooldown_left_ms = self.durable("dozing")["cooldown_left_ms"]
        # Of what nothing was decided on, the last seconds may be lost; not these.
        if spends:
            daemon.until_true(lambda: self.durable("saver")["tokens"] == SAVED_TOKENS)
        self.pids = {name: daemon.status(name)["pid"] for name in INNOCENTS}

    # --- what is done to it

    def strike(self, name: str) -> None:
        """Kill the leader of an agent from outside, once it runs."""
        shown = self.daemon.until(name, lambda s: s["state"] == "running" and s["pid"])
        before = len(self.daemon.events(name, "agent.exited"))
        os.kill(shown["pid"], signal.SIGKILL)
        self.daemon.until_true(lambda: len(self.daemon.events(name, "agent.exited")) > before)

    def command(self, cmd: str, request: str, **args: object) -> Attempt:
        """Ask once under an id of one's own choosing; what is no answer is no error here."""
        attempt = Attempt(request, {"id": request, "cmd": cmd, "args": args})
        self.send(attempt)
        return attempt

    def send(self, attempt: Attempt) -> None:
        attempt.reply = None
        with contextlib.suppress(OSError), self.daemon.connect(WAIT_S) as channel:
            channel.sendall(json.dumps(attempt.line).encode() + b"\n")
            attempt.reply = json.loads(read_line(channel))

    def tell_agent_line(self, name: str, line: Document) -> Attempt:
        """Say something as an agent, by its token."""
        pid = self.daemon.status(name)["pid"]
        return self.say(environ_of(pid)["AGENTD_TOKEN"], line)

    def say(self, token: str, line: Document) -> Attempt:
        attempt = Attempt(str(line["id"]), {**line, "token": token})
        self.send(attempt)
        return attempt

    def next_state(self) -> Document:
        state = {"number": len(self.kept), "text": 'a "quoted" line of é'}
        self.kept.append(state)
        return {"type": "checkpoint.put", "id": f"put {len(self.kept)}", "state": state}

    def spend(self, name: str, tokens: int) -> Attempt:
        usage = {"input_tokens": tokens}
        number = next(self.numbers)
        line = {"type": "call", "phase": "end", "model": "m", "usage": usage}
        return self.tell_agent_line(name, {**line, "call": f"c{number}", "id": f"c{number}"})

    # --- what is seen of it

    def look(self) -> Before:
        begun_s = time.monotonic()
        shown = {agent["name"]: agent for agent in self.daemon.ask("status")["agents"]}
        cursor = self.last_event()
        return Before(cursor, shown, begun_s, self.event(cursor))

    def until(self, name: str, wanted: Callable[[Document], object], story: str = "") -> None:
        """Wait until an agent is as wanted; one that is not known yet may still come."""

        def look() -> bool:
            with contextlib.suppress(Refused):
                return bool(wanted(self.daemon.status(name)))
            return False

        self.daemon.until_true(look, lambda: f"{story} {name}: {self.daemon.ask('status')}")

    def until_written(self, name: str) -> None:
        """Wait until the store has an agent as it is shown: then it has its last events, too."""

        def look() -> bool:
            shown, kept = self.daemon.status(name), self.durable(name)
            told = shown["state"], shown["incarnation"] or ""
            return told == (kept["state"], kept["incarnation_id"])

        self.daemon.until_true(look, lambda: f"{name} is not in the store as it is shown")

    def last_event(self) -> int:
        return int(self.rows("SELECT coalesce(max(id), 0) FROM events")[0][0])

    def event(self, number: int) -> tuple[Any, ...]:
        found = self.rows("SELECT * FROM events WHERE id = ?", number)
        return found[0] if found else ()

    def happened(self, agent: str, event: str, cursor: int) -> int:
        """How often the store has it after `cursor`; asks the daemon nothing.

        A pause for which it could not be frozen is told once more, without a reason.
        """
        words = "SELECT count(*) FROM events WHERE id > ? AND event = ? AND agent IS ?"
        words += " AND NOT (event = 'agent.paused' AND reason IS NULL)"
        return int(self.rows(words, cursor, event, agent)[0][0])

    def durable(self, name: str) -> Document:
        """What the store has of an agent."""
        [[text]] = self.rows("SELECT durable FROM agents WHERE name = ?", name)
        found: Document = json.loads(text)
        return found

    def rows(self, words: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the store itself: an answer of the daemon's is made of calls that count."""
        place = f"file:{self.daemon.root}/state/agentd.db?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as store:
            return store.execute(words, values).fetchall()

    def wait_for(self, look: Callable[[], bool], story: str = "") -> bool:
        """Wait until the daemon is dead (False) or `look` says so (True)."""
        process = self.daemon.process
        assert process is not None
        end = time.monotonic() + OVER_S
        while time.monotonic() < end:
            if process.poll() is not None:
                return False
            if look():
                return True
            time.sleep(0.01)
        told = f"neither dead nor done; {story}; {threads_of(process.pid)}"
        raise AssertionError(f"{told}\n{self.daemon.log()}")

    def mark_log(self) -> None:
        """From here on, `logged` tells what the daemon logs."""
        self._log_mark = self._log.stat().st_size

    def logged(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._log_mark)
            return file.read().decode(errors="replace")

    def leaders(self) -> Counter[str]:
        """How many leaders live, by agent: processes at the top of an incarnation's tree."""
        found: Counter[str] = Counter()
        for pid in self.daemon.survivors():
            with contextlib.suppress(OSError, KeyError):
                name = environ_of(pid)["AGENTD_AGENT"]
                if os.getsid(pid) == pid and alive(pid):
                    found[name] += 1
        return found

    def stands_still(self, pid: int) -> bool:
        """Whether it is stopped, or all of its group is frozen."""
        group, mount = procfs.cgroup_of(pid), grounds.mount_point()
        with contextlib.suppress(OSError):  # it is gone
            if _is_stopped(pid):
                return True
            if group is not None and mount is not None:
                return "frozen 1" in (mount / group.lstrip("/") / "cgroup.events").read_text()
        return False

    def open_files(self) -> Counter[str]:
        """The daemon's open files by kind, without what it keeps open on purpose."""
        kinds: Counter[str] = Counter()
        for entry in Path(f"/proc/{self.daemon.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                kinds[kind_of(str(entry.readlink()))] += 1
        return Counter({kind: count for kind, count in kinds.items() if not kind.endswith(KEPT)})

    def usual_files(self) -> Counter[str]:
        """Its open files once it was found by who speaks, and has let go of who asked."""
        heard = self.daemon.status("chatty")["heartbeats"]
        self.daemon.until("chatty", lambda shown: shown["heartbeats"] > heard)
        seen = self.open_files()

        def is_same() -> bool:
            nonlocal seen
            before, seen = seen, self.open_files()
            return before == seen

        self.daemon.until_true(is_same)
        return seen

    def restart(self) -> float:
        """Start the next daemon; seconds until it said that it is ready."""
        self.daemon.heard()  # a word of the one before is no word of this one
        begun = time.monotonic()
        self.daemon.start()
        return time.monotonic() - begun

    def start_stopped(self) -> None:
        """Have the next daemon stand still before it does anything."""
        self.daemon.heard()
        self.daemon.start(ready=False, env={"AGENTD_TEST_STOPPED": "1"})
        self.daemon.until_true(lambda: _is_stopped(self.daemon.pid))

    def let_go(self) -> float:
        """Let one go on that stands still; seconds until it said that it is ready."""
        begun = time.monotonic()
        self.daemon.signal(signal.SIGCONT)
        self.daemon.await_notify("READY=1")
        return time.monotonic() - begun

    def crash_and_start_stopped(self) -> None:
        """Have a daemon follow one that was killed, and stand still before it does anything."""
        self.daemon.crash()
        self.start_stopped()

    def become_image(self) -> None:
        """Have the daemon re-execute itself; what it becomes stands still once it is imported."""
        self.daemon.signal(signal.SIGUSR2)
        # Two interpreters begin: the child that is asked first, and the image.
        assert self.wait_for(lambda: _is_stopped(self.daemon.pid)), self.daemon.log()

    def let_image_go(self) -> None:
        """Let the image go on that a re-exec has begun, if there is one by now."""
        with contextlib.suppress(OSError):
            if _is_stopped(self.daemon.pid):
                os.kill(self.daemon.pid, signal.SIGCONT)

    def close(self) -> None:
        self.daemon.close()


class Follower:
    """Follows the journal from a moment on, and keeps what it was shown."""

    def __init__(self, bench: Bench, cursor: int) -> None:
        self._channel = bench.daemon.connect(WAIT_S)
        line = {"id": "f", "cmd": "events", "args": {"after": cursor}, "follow": True}
        self._channel.sendall(json.dumps(line).encode() + b"\n")

    def shown(self) -> list[Document]:
        """Every event that has arrived by now, in the order of arrival."""
        buffer = b""
        with self._channel, contextlib.suppress(ConnectionError):
            while select.select([self._channel], [], [], 0)[0]:
                part = self._channel.recv(1 << 16)
                if not part:
                    break
                buffer += part
        whole = buffer[: buffer.rfind(b"\n") + 1]
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line["event"] for line in lines if "event" in line]


def threads_of(pid: int) -> list[tuple[int, str, str]]:
    """Of each thread its id, its state and in which call it waits."""
    found = []
    for task in sorted(Path(f"/proc/{pid}/task").iterdir()):
        with contextlib.suppress(OSError):
            call = (task / "syscall").read_text().split()[0]
            found.append((int(task.name), _state_of(task), call))
    return found


def _is_stopped(pid: int) -> bool:
    return _state_of(Path(f"/proc/{pid}")) == "T"


def _state_of(place: Path) -> str:
    """The letter that /proc has for a process or thread."""
    return (place / "stat").read_text().rpartition(")")[2].split()[0]
