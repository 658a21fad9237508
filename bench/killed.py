"""kill -9 of the supervisor, again and again: what becomes of twenty agents that count.

    make bench-killed                                      agentd, supervisord, circus and pm2
    .venv/bin/python -m bench.killed --rounds 20 agentd    some of them
    .venv/bin/python -m bench.killed --rounds 50 --json FILE pm2    a piece of it, kept
    .venv/bin/python -m bench.killed --add FILE FILE                the table of such pieces

Each round: an operator stops and starts agents, some are killed or exit by themselves; at a
random moment in the middle of that the supervisor is killed, while it is down some more agents
end, it is started again at once as its service manager would, and everything is looked at. The
seed is printed; `--seed` draws the same rounds again.
"""

import argparse
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.killed_beats import Beats
from bench.killed_fleets import Agentd, Fleet, is_alive
from bench.killed_peers import FLEETS
from bench.killed_tally import Tally, added, read, table, told, written
from tests.daemon.harness import KERNEL_REMEMBERS

AGENTS = 20
STOPPED_MIN = 2
STOPPED_MAX = 6
SETTLE_S_MAX = 30.0
# A second look at what would be a finding: an agent between fork and exec is one of those.
TWICE_S = 0.4
EXIT_CODE = 3
# So often agentd lives for long enough to have heartbeats on disk; or, on a machine that others
# use as well, for this long.
LONG_EVERY = 4
LONG_S_MAX = 12.0
NUMBER = re.compile(rb"^(a\d\d) (\d+\.\d+) (\d+)$")


@dataclass(slots=True)
class Death:
    """An end that this script caused, and knows all about."""

    agent: str
    incarnation: str
    signal: signal.Signals
    while_down: bool
    is_kept: bool = False
    """The service manager had its pidfd when agentd was started again."""

    @property
    def exit(self) -> tuple[int | None, int | None]:
        """Code and signal, as the kernel tells them."""
        return (EXIT_CODE, None) if self.signal is signal.SIGUSR1 else (None, int(self.signal))


@dataclass(slots=True)
class Play:
    """The rounds of one supervisor."""

    fleet: Fleet
    rng: random.Random
    tally: Tally = field(default_factory=Tally)
    stopped: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    """Asked for, and not answered: either may be true."""
    touched: set[str] = field(default_factory=set)
    deaths: list[Death] = field(default_factory=list)
    beats: Beats = field(init=False)
    """Of agentd alone; of the others there are none."""

    def __post_init__(self) -> None:
        self.beats = Beats(self.fleet.home, self.fleet.names)

    def one_round(self) -> None:
        self.touched.clear()
        self.doubtful.clear()
        if isinstance(self.fleet, Agentd) and self.tally.rounds % LONG_EVERY == 1:
            self._live_on(self.fleet.supervisor_pid())
        self._stop_some()
        before = self._trouble_until_killed()
        stopped = self.stopped - self.doubtful
        said = self.fleet.diary().stat().st_size if self.fleet.diary().exists() else 0
        dead = self._die_while_down(before)
        self._note_kept()
        self.fleet.launch()
        self.tally.back_s.append(self.fleet.await_answer())
        self.settle()
        self.tally.rounds += 1
        self.tally.stops += len(stopped)
        self._look(before, stopped)
        if isinstance(self.fleet, Agentd):
            self._count_beats(self.fleet)
        else:
            self._count_untold(dead, said)
            self._end_orphans()
        self._learn_doubtful()

    def _live_on(self, daemon: int) -> None:
        """Let it live until it must have written down some of what it was told."""
        end = time.monotonic() + LONG_S_MAX
        while not self.beats.would_tell(daemon) and time.monotonic() < end:
            time.sleep(0.1)
            self.beats.look(daemon)

    def _stop_some(self) -> None:
        """Have some agents stopped by an operator, and that acknowledged, well before the kill."""
        while len(self.stopped) < STOPPED_MIN:
            name = self.rng.choice(sorted(set(self.fleet.names) - self.stopped))
            self.touched.add(name)
            self.stopped.add(name)
            if not self.fleet.stop(name):
                self.doubtful.add(name)

    def _trouble_until_killed(self) -> dict[str, int]:
        """Do this and that, and be overtaken by the kill; return who lived right before it."""
        before: dict[str, int] = {}

        def strike() -> None:
            time.sleep(after_s)
            runs = self.fleet.runs()
            before.update({name: pid for name, (pid, _) in runs.items() if is_alive(pid)})
            saved = self.beats.saved(self.fleet.supervisor_pid())
            self.fleet.kill()
            self.beats.killed(saved)

        after_s = self.rng.uniform(0.0, 1.5)
        deeds = [self.rng.choice(("stop", "start", "die")) for _ in range(self.rng.randint(0, 3))]
        killer = threading.Thread(target=strike)
        killer.start()
        for deed in deeds:
            self._do(deed, killer)
        killer.join()
        return before

    def _do(self, deed: str, killer: threading.Thread) -> None:
        if deed == "die":
            self._die(self.rng.choice(self.fleet.names), while_down=False)
            return
        # One that was sent a signal is left alone: Python runs a handler a moment after the signal
        # has come, and a SIGTERM in that moment ends the agent first. Both ends would be right.
        stopped = sorted(self.stopped - self.touched)
        running = sorted(set(self.fleet.names) - self.stopped - self.touched)
        choice = stopped if deed == "start" else running
        if not choice or (deed == "stop" and len(self.stopped) >= STOPPED_MAX):
            return
        name = self.rng.choice(choice)
        if not killer.is_alive():
            return
        self.touched.add(name)
        done = self.fleet.stop(name) if deed == "stop" else self.fleet.start(name)
        (self.stopped.add if deed == "stop" else self.stopped.discard)(name)
        if not done or not killer.is_alive():
            # pm2's command line starts a supervisor of its own where it finds none.
            self.doubtful.add(name)

    def _die(self, name: str, *, while_down: bool) -> bool:
        if name in self.touched:
            return False
        pid, incarnation = self.fleet.runs()[name]
        if not is_alive(pid):
            return False
        self.touched.add(name)
        how = self.rng.choice((signal.SIGKILL, signal.SIGUSR1))
        self.deaths.append(Death(name, incarnation, how, while_down))
        os.kill(pid, how)
        return True

    def _die_while_down(self, before: dict[str, int]) -> list[str]:
        chosen = self.rng.sample(self.fleet.names, self.rng.randint(0, 2))
        dead = [name for name in chosen if name in before and self._die(name, while_down=True)]
        self.tally.ends_down += len(dead)
        return dead

    def _note_kept(self) -> None:
        """Which ends the next daemon can be told of by the kernel."""
        if isinstance(self.fleet, Agentd):
            kept = self.fleet.keeper.kept()
            for death in self.deaths:
                death.is_kept |= death.incarnation in kept

    def settle(self) -> None:
        """Wait until everyone who should runs, as far as its supervisor knows."""
        wanted = set(self.fleet.names) - self.stopped - self.doubtful
        end = time.monotonic() + SETTLE_S_MAX
        while time.monotonic() < end:
            self.beats.look(self.fleet.supervisor_pid())
            managed = self.fleet.managed()
            runs = self.fleet.runs()
            up = {name for name in managed if runs.get(name, (0, ""))[0] == managed[name]}
            if wanted <= up:
                break
            time.sleep(0.1)
        else:
            self._note(f"not up after {SETTLE_S_MAX} s: {sorted(wanted - up)}")
            self.tally.missing += len(wanted - up)
        time.sleep(TWICE_S)

    def _look(self, before: dict[str, int], stopped: set[str]) -> None:
        managed = self.fleet.managed()
        for name in before.keys() - self.touched - self.stopped:
            self.tally.untouched += 1
            if managed.get(name) != before[name]:
                self.tally.changed += 1
                self._note(f"{name}: pid {before[name]}, then {managed.get(name)}")
        first = self.fleet.copies()
        time.sleep(TWICE_S)
        second = self.fleet.copies()
        for name in self.fleet.names:
            both = set(first[name]) & set(second[name])
            if len(both) > 1:
                self.tally.doubled += 1
                self._note(f"{name}: {len(both)} copies, {sorted(both)}")
        undone = {name for name in stopped if first[name] and second[name]}
        for name in undone:
            self.tally.undone += 1
            self._note(f"{name} runs though it was stopped")
        self.stopped -= undone

    def _count_beats(self, fleet: Agentd) -> None:
        """Compare how many heartbeats it shows with how many its agents know of."""
        answered = self.beats.answered()
        shown = fleet.beats()
        for name, wrong in self.beats.judged(answered, shown):
            self.tally.miscounted += 1
            self._note(f"{name}: {wrong}")
        self.tally.beats = sum(answered.values())
        self.tally.beats_lost = sum(max(0, answered[name] - shown[name]) for name in shown)
        time.sleep(TWICE_S)
        self.beats.settled(shown)

    def _count_untold(self, dead: list[str], said: int) -> None:
        """How many of the ends while it was down are mentioned by the supervisor afterwards."""
        diary = self.fleet.diary()
        text = diary.read_bytes()[said:].decode(errors="replace") if diary.exists() else ""
        for name in dead:
            if not re.search(rf"{name}\b.*exit|exit.*{name}\b", text):
                self.tally.never_told += 1

    def _end_orphans(self) -> None:
        """End copies that nobody looks after, so that each round stands for itself."""
        managed = set(self.fleet.managed().values())
        for pids in self.fleet.copies().values():
            for pid in set(pids) - managed:
                os.kill(pid, signal.SIGKILL)

    def _learn_doubtful(self) -> None:
        if isinstance(self.fleet, Agentd):
            intents = self.fleet.intents()
            up = {name for name in self.doubtful if intents[name] == "up"}
        else:
            up = self.doubtful & self.fleet.managed().keys()
        self.stopped = (self.stopped | self.doubtful) - up

    def _note(self, told: str) -> None:
        self.tally.notes.append(f"round {self.tally.rounds}: {told}")

    # --- after all rounds

    def count_exits(self) -> None:
        """Compare every end that was told with how it really ended."""
        assert isinstance(self.fleet, Agentd)
        told = self.fleet.ends()
        for death in self.deaths:
            event = told.get(death.incarnation)
            if event is None:
                self.tally.never_told += 1
                self._note(f"no end told of {death}")
                continue
            data = event["data"]
            assert isinstance(data, dict)
            seen = data["code"], data["signal"]
            if seen == death.exit:
                kind = "exact"
            elif event["reason"] == "UNKNOWN" and seen == (None, None):
                kind = "withheld" if death.is_kept and KERNEL_REMEMBERS else "unknown"
            else:
                kind = "invented"
            if kind != "exact":
                self._note(f"{death} was told as {event}")
            self.tally.exits[f"{kind}, {'down' if death.while_down else 'up'}"] += 1

    def count_lines(self) -> None:
        """Compare each agent's own numbers with the log that its supervisor has."""
        for name in self.fleet.names:
            own = numbers_in(self.fleet.home / "counted" / name)
            logged = numbers_in(self.fleet.log_of(name))
            for run, numbers in own.items():
                self.tally.written += len(numbers)
                there = Counter(logged.get(run, []))
                self.tally.gaps += numbers != list(range(1, len(numbers) + 1))
                self.tally.lost += sum(not there[number] for number in numbers)
                self.tally.repeated += sum(count - 1 for count in there.values() if count > 1)


def numbers_in(path: Path) -> dict[str, list[int]]:
    """The numbers of each run of an agent, in their order."""
    found: dict[str, list[int]] = {}
    if path.exists():
        for line in path.read_bytes().splitlines():
            if (match := NUMBER.match(line)) is not None:
                found.setdefault(match[2].decode(), []).append(int(match[3]))
    return found


def play(fleet: Fleet, rounds: int, seed: int) -> Tally:
    """All rounds on a fleet that runs."""
    game = Play(fleet, random.Random(seed))
    game.settle()
    for number in range(rounds):
        game.one_round()
        if number % 10 == 9:
            print(f"  {fleet.name}: {number + 1} of {rounds} rounds", flush=True)
    if isinstance(fleet, Agentd):
        game.count_exits()
    # The agents end first, or they would write on while their lines are counted.
    fleet.end()
    game.count_lines()
    return game.tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *FLEETS], help="by default all")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--json", type=Path, help="keep what was seen in this file, too")
    parser.add_argument("--add", nargs="+", type=Path, help="add up such files; play no round")
    asked = parser.parse_args()
    if asked.add:
        report(added(map(read, asked.add)))
        return
    # Ended early, it takes along what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"--seed {asked.seed}", flush=True)
    tallies: dict[str, Tally] = {}
    for name in asked.names or FLEETS:
        with FLEETS[name](asked.agents) as fleet:
            tallies[name] = tally = play(fleet, asked.rounds, asked.seed)
        print("\n".join(tally.notes[:40]), flush=True)
        if asked.json:
            asked.json.write_text(written(tallies))
    report(tallies)


def report(tallies: dict[str, Tally]) -> None:
    """Print what docs/reliability.md has of them."""
    print(table(tallies))
    if "agentd" in tallies:
        print(f"\n{told(tallies['agentd'])}")


if __name__ == "__main__":
    main()
