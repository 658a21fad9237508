"""The simulated system under the core: processes, what is on disk, and what is on its way."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.accounts import Periods
from agentd.core.host_views import FleetSpending
from agentd.core.records import Baseline, Durable, IncidentRecord
from tests.sim.chance import Rates
from tests.sim.lives import lines_of, sample_of
from tests.sim.talk import Talk

SIGKILL = 9
SIGTERM = 15
LATE_MS_MAX = 60_000
# Civil periods of a world that lasts some minutes: hours, days and months in small.
PERIODS_MS = (20_000, 60_000, 240_000)
# So seldom that quiet time passes quickly, and often enough that nobody seems silent.
HEALED_BEAT_MS = 2_500


class Broken(AssertionError):  # noqa: N818 - named after what became of the invariant
    """An invariant does not hold."""


@dataclass
class Process:
    """One incarnation's tree: leader and, maybe, survivors."""

    agent: str
    incarnation: int
    life: str
    pid: int
    run: str = ""
    """The id that its environment names."""
    gated: bool = True
    """It waits before exec; if the daemon dies now, it never was."""
    leader: bool = True
    survivors: int = 0
    frozen: bool = False
    stuck: bool = False
    """In state D: not even SIGKILL ends it before the world heals."""
    code: int | None = None
    signal: int | None = None
    oom: bool = False
    pending_term: bool = False
    pending_kill: bool = False
    talks: bool = False
    """It says more than that it lives."""
    rounds: int = 0
    """How often its work loop came round."""

    @property
    def lives(self) -> bool:
        return self.leader or self.survivors > 0


@dataclass(frozen=True)
class Deliver:
    """An event on its way to the core; lost when the daemon dies."""

    event: ev.Event


@dataclass(frozen=True)
class Dies:
    """The leader ends by itself, or of a signal."""

    process: int
    code: int | None
    signal: int | None


@dataclass(frozen=True)
class Beats:
    """The work loop comes round."""

    process: int


Coming = Deliver | Dies | Beats


@dataclass
class World:
    """Everything that is not the core. It outlives the daemon."""

    random: Random
    rates: Rates
    talk: Talk
    now_ms: int = 0
    wall_ahead_ms: int = 1_000_000
    """What the wall clock shows, less `now_ms`."""
    healed: bool = False
    beat_ms: int = 1_000
    """How often a work loop comes round."""
    disk: dict[str, Durable] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    """Incarnation recorded as having a process, by agent."""
    lazily: dict[str, Durable] = field(default_factory=dict)
    baselines: dict[str, Baseline] = field(default_factory=dict)
    incidents: dict[int, IncidentRecord] = field(default_factory=dict)
    checkpoints: dict[tuple[str, str], int] = field(default_factory=dict)
    """The last state kept of each execution, by its number."""
    spending: FleetSpending | None = None
    """What all hosts had spent, as it was written down last."""
    answers: dict[str, bool] = field(default_factory=dict)
    """Requests of operators whose answer is kept, so that none is carried out twice."""
    processes: dict[int, Process] = field(default_factory=dict)
    queue: list[tuple[int, int, Coming]] = field(default_factory=list)
    _count: int = 0

    # -- what is on its way --------------------------------------------------

    def later(self, coming: Coming, after_ms: int | None = None) -> None:
        """Let it come after a while; None: as the world likes."""
        if after_ms is None:
            after_ms = self.random.randint(0, 0 if self.healed else self.rates.delay_ms_max)
        self._count += 1
        heapq.heappush(self.queue, (self.now_ms + after_ms, self._count, coming))

    def tell(self, event: ev.Event) -> None:
        """Report to the core, soon; sometimes twice, the second time late."""
        self.later(Deliver(event))
        if self._chance(self.rates.duplicate):
            self.later(Deliver(event), self.random.randint(0, LATE_MS_MAX))

    # -- the calendar --------------------------------------------------------

    def periods(self) -> Periods:
        """The civil periods that it is now, by the wall clock."""
        wall_ms = self.now_ms + self.wall_ahead_ms
        spans = [(wall_ms // length * length, length) for length in PERIODS_MS]
        hour, day, month = ((begins, begins + length) for begins, length in spans)
        return Periods.of(hour, day, month, f"day {day[0]}")

    def next_period_ms(self) -> int:
        """When the next period begins, unless the clock is set before."""
        return self.periods().hour.ends_ms - self.wall_ahead_ms

    def lose_inbox(self) -> None:
        self.queue = [entry for entry in self.queue if not isinstance(entry[2], Deliver)]
        heapq.heapify(self.queue)

    def _chance(self, rate: float) -> bool:
        return not self.healed and self.random.random() < rate

    # -- processes -----------------------------------------------------------

    def living(self, agent: str) -> Iterator[Process]:
        return (one for one in self.processes.values() if one.agent == agent and one.lives)

    def find(self, agent: str, incarnation: int) -> Process | None:
        for one in self.living(agent):
            if one.incarnation == incarnation:
                return one
        return None

    def spawn(self, effect: do.Spawn) -> None:
        """Fork a child that waits for its record; or fail, for one reason or another."""
        agent, incarnation = effect.agent, effect.incarnation
        for other in self.living(agent):
            raise Broken(f"INV1 {agent}: spawn {incarnation} while {other} lives")
        if self._chance(self.rates.spawn_shortage):
            self.tell(ev.SpawnFailed(agent, incarnation, "EAGAIN", shortage=True))
        elif self._chance(self.rates.spawn_fails):
            self.tell(ev.SpawnFailed(agent, incarnation, "ENOENT"))
        else:
            lives = {"good": 1.0} if self.healed else self.rates.lives
            life = self.random.choices(list(lives), [rate + 0.001 for rate in lives.values()])[0]
            self._count += 1
            pid = 1_000 + self._count
            talks = not self.healed and self.random.random() < 0.6
            self.processes[pid] = Process(
                agent, incarnation, life, pid, effect.incarnation_id, talks=talks
            )
            self.tell(ev.Spawned(agent, incarnation, pid))

    def release(self, event: ev.Spawned) -> None:
        """Its record is durable: it goes on to exec, and lives as it likes."""
        process = self.processes.get(event.pid)
        if process is None or not process.gated:
            return
        process.gated = False
        self.rows[process.agent] = process.incarnation
        process.stuck = self._chance(self.rates.stuck)
        if process.life != "never_ready":
            self.later(Beats(process.pid), self.random.randint(0, 900))
        if process.life in ("crash", "spin"):
            longest_ms = 50 if process.life == "spin" else 30_000
            self.later(
                Dies(process.pid, self.random.choice((1, 3)), None),
                self.random.randint(0, longest_ms),
            )
        elif process.life == "done":
            self.later(Dies(process.pid, 0, None), self.random.randint(0, 20_000))

    def dies(self, coming: Dies) -> None:
        """The leader ends; what of its tree is left is told with it."""
        process = self.processes.get(coming.process)
        if process is None or not process.leader or process.gated:
            return
        if process.frozen and coming.signal != SIGKILL:
            process.pending_term = coming.signal is not None
            return
        process.leader = False
        process.code, process.signal = coming.code, coming.signal
        if coming.signal != SIGKILL and self._chance(self.rates.survivors):
            process.survivors = 2
        evidence = ev.ExitEvidence(oom_kills=int(process.oom), survivors=process.survivors)
        exited = ev.Exited(process.agent, process.incarnation, coming.code, coming.signal, evidence)
        empty = ev.TreeEmpty(process.agent, process.incarnation)
        if process.survivors:
            self.tell(exited)
        elif self._chance(self.rates.reorder):
            self.tell(empty)
            self.tell(exited)
        else:
            self._in_order(exited, empty)

    def _in_order(self, exited: ev.Exited, empty: ev.TreeEmpty) -> None:
        first_ms = self.random.randint(0, 0 if self.healed else self.rates.delay_ms_max)
        self.later(Deliver(exited), first_ms)
        self.later(Deliver(empty), first_ms)
        if self._chance(self.rates.duplicate):
            self.later(Deliver(empty), self.random.randint(first_ms, LATE_MS_MAX))

    def kill_tree(self, process: Process) -> None:
        """SIGKILL to all of it; something in state D stays until the world heals."""
        if process.stuck:
            process.pending_kill = True
            self.tell(ev.KillStuck(process.agent, process.incarnation, "state D"))
            return
        if process.leader:
            self.dies(Dies(process.pid, None, SIGKILL))
        elif process.survivors:
            process.survivors = 0
            self.tell(ev.TreeEmpty(process.agent, process.incarnation))

    def signal(self, process: Process, name: str) -> None:
        if name == "SIGTERM" and process.life != "deaf":
            if process.frozen:
                process.pending_term = True
            else:
                self.later(Dies(process.pid, None, SIGTERM), self.random.randint(0, 400))

    def thaw(self, process: Process) -> None:
        process.frozen = False
        if process.pending_term:
            process.pending_term = False
            self.later(Dies(process.pid, None, SIGTERM), self.random.randint(0, 400))

    def beats(self, coming: Beats) -> None:
        """Send a heartbeat if it is one that does, and come round again."""
        process = self.processes.get(coming.process)
        if process is None or not process.leader:
            return
        if not process.frozen:
            process.rounds += 1
            lines = lines_of(self, process)
            if lines:
                if process.talks and not self.healed:
                    for event in self.talk.events(process.agent, process.incarnation):
                        self.later(Deliver(event), 0)
                heard = ev.LinesReceived(process.agent, process.incarnation, lines)
                self.later(Deliver(heard), 0)
            sample = sample_of(process)
            if sample is not None and not self.healed:
                sampled = ev.Sampled(process.agent, process.incarnation, *sample)
                self.later(Deliver(sampled), 0)
        self.later(coming, max(self.beat_ms, HEALED_BEAT_MS) if self.healed else self.beat_ms)

    def heal(self) -> None:
        """No more trouble: what was stuck can be killed, what hung beats again."""
        self.healed = True
        for process in self.processes.values():
            process.stuck = False
            if process.pending_kill and process.lives:
                self.kill_tree(process)
            elif process.leader:
                process.life = "good"

    # -- the daemon's end, and its beginning ---------------------------------

    def commit(self, event: ev.Event, effects: list[do.Effect]) -> None:
        """One transaction: what a step wants kept, and the end of a process with it."""
        self._commit_rows(event)
        for effect in effects:
            if isinstance(effect, do.Persist) and effect.lazy:
                self.lazily[effect.agent] = effect.durable
            elif isinstance(effect, do.Persist):
                self.disk[effect.agent] = effect.durable
                self.lazily.pop(effect.agent, None)
            elif isinstance(effect, do.PersistBaseline):
                self.baselines[effect.agent] = effect.baseline
            elif isinstance(effect, do.PersistIncident | do.PersistSpending):
                self._commit_spending(effect)
            elif isinstance(effect, do.Reply) and isinstance(event, ev.Requested):
                self.answers[effect.request] = effect.error is None
            elif isinstance(effect, do.SaveCheckpoint):
                self.checkpoints[effect.agent, effect.execution] = effect.seq
            elif isinstance(effect, do.Forget):
                self.disk.pop(effect.agent, None)
                self.lazily.pop(effect.agent, None)
                self.baselines.pop(effect.agent, None)

    def _commit_rows(self, event: ev.Event) -> None:
        """Which incarnations have a process, by what is decided on with it."""
        if isinstance(event, ev.TreeEmpty | ev.SpawnFailed):
            if self.rows.get(event.agent) == event.incarnation:
                del self.rows[event.agent]
        elif isinstance(event, ev.Started):
            for name, fate in event.fates.items():
                if fate.alive:
                    self.rows[name] = fate.durable.incarnation

    def _commit_spending(self, effect: do.PersistIncident | do.PersistSpending) -> None:
        """What is about more than one agent."""
        if isinstance(effect, do.PersistIncident):
            self.incidents[effect.incident.number] = effect.incident
        else:
            self.spending = effect.spending

    def known_incidents(self) -> tuple[list[IncidentRecord], int]:
        """What a starting daemon finds of incidents, and the number of the next one."""
        return list(self.incidents.values()), max(self.incidents, default=0) + 1

    def flush(self) -> None:
        """What may wait a while is on disk by now."""
        self.disk |= self.lazily
        self.lazily.clear()

    def crash(self) -> None:
        """The daemon is gone: its inbox, its gated children, and what it wrote lazily."""
        self.lose_inbox()
        self.lazily.clear()
        for process in [one for one in self.processes.values() if one.gated]:
            del self.processes[process.pid]

    def lose_news(self) -> None:
        """Nobody was there to hear of what happened; lines wait in their sockets."""
        said = (ev.LinesReceived, ev.AgentAsked)
        self.queue = [
            entry
            for entry in self.queue
            if not isinstance(entry[2], Deliver) or isinstance(entry[2].event, said)
        ]
        heapq.heapify(self.queue)

    def handed_over(self) -> None:
        """The daemon became another, and gated children end."""
        self.lose_news()
        for process in [one for one in self.processes.values() if one.gated]:
            del self.processes[process.pid]

    def reboot(self) -> None:
        self.crash()
        self.processes.clear()
        self.queue.clear()

    def fates(self, *, rebooted: bool) -> dict[str, ev.Fate]:
        """What a starting daemon finds out; left-over trees without a leader are swept."""
        found = {}
        for name, durable in self.disk.items():
            process = self._recorded(name)
            kept, baseline = replace(durable), self.baselines.get(name)
            if process is not None and process.leader:
                found[name] = ev.Fate(
                    kept, True, process.pid, stands=process.frozen, baseline=baseline
                )
            elif self.rows.get(name) == durable.incarnation:
                seen = process is not None and self.random.random() < 0.5
                found[name] = ev.Fate(
                    kept,
                    code=process.code if process is not None and seen else None,
                    signal=process.signal if process is not None and seen else None,
                    ended=True,
                    rebooted=rebooted,
                    baseline=baseline,
                )
                del self.rows[name]
            else:
                found[name] = ev.Fate(kept, baseline=baseline)
            if process is not None and not process.leader:
                process.survivors = 0
        return found

    def _recorded(self, agent: str) -> Process | None:
        incarnation = self.rows.get(agent)
        # The latest: an agent that was removed and came back counts its incarnations anew.
        for process in reversed(self.processes.values()):
            if process.agent == agent and process.incarnation == incarnation:
                return process
        return None
