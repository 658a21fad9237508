"""The decision core of the daemon, driven in virtual time by a trace.

Time jumps from one thing that happens to the next: a line of the trace, a death in the
simulated system, a deadline of the core. What is due at a moment is done before the lines
of that moment; lines of equal time apply in their order.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from types import MappingProxyType
from typing import Final

from agentd.config.schema import Config
from agentd.config.units import SIZE_BYTES_MAX
from agentd.core import events as ev
from agentd.core.effects import (
    Diagnose,
    Effect,
    Exit,
    Forget,
    Freeze,
    Judge,
    KillTree,
    Persist,
    PersistBaseline,
    PersistIncident,
    PersistSpending,
    Recall,
    SaveCheckpoint,
    Signal,
    Spawn,
    Thaw,
    Validate,
)
from agentd.core.exits import SIGKILL
from agentd.core.host_views import FleetSpending
from agentd.core.lines import Question
from agentd.core.records import Baseline, Durable, IncidentRecord
from agentd.core.supervisor import Supervisor
from agentd.simulate.calendar import Calendar
from agentd.simulate.hosts import Seen
from agentd.simulate.requests import Refused, notified, requested, wanted
from agentd.simulate.story import Story
from agentd.simulate.trace import (
    Changed,
    Commanded,
    Daemon,
    Ended,
    Finished,
    Measured,
    Notified,
    Said,
    Start,
    TraceLine,
)
from agentd.simulate.world import Process, World
from agentd.wire.lines import BadLine, decode_line

# Steps without any time passing: beyond that the core is going round in circles.
STEPS_AT_ONCE_MAX: Final = 100_000


class Simulation:
    """One run of one trace. The daemon may crash in it; the world and the disk stay."""

    def __init__(self, config: Config, write: Callable[[str], object]) -> None:
        self.now_ms = 0
        self.world = World()
        self.disk: dict[str, Durable] = {}
        self._baselines: dict[str, Baseline] = {}
        self._incidents: dict[int, IncidentRecord] = {}
        """On disk as well."""
        self._spending: FleetSpending | None = None
        """What all hosts had spent, on disk."""
        self._calendar = Calendar(config.daemon.timezone)
        self.core: Supervisor | None = None
        self._config = config
        self._story = Story(write, self.world.ordinal)
        self._inbox: deque[ev.Event] = deque()
        self._jitter = random.Random(0)  # noqa: S311 - the same trace tells the same story
        self._ids = count(1)
        self._states: dict[tuple[str, str], str] = {}
        """The last checkpoint of each execution of each agent, on disk."""
        self._questions = count(1)
        self._judged: list[tuple[int, int, ev.Judged]] = []
        """What judges will have said: when, a number of its own, what."""
        self._begun = False
        self._steps_at_once = 0

    def run(self, trace: Sequence[TraceLine]) -> None:
        """Play the whole trace; it ends with its last line, or with its `end`.

        Without a `start` all begins at 0, in the world that lines at 0 before all others make.
        """
        waits = any(isinstance(line.what, Start) for line in trace)
        for line in trace:
            if not (waits or self._begun or (line.t_ms == 0 and isinstance(line.what, Changed))):
                self._begin()
            self._pass_time(line.t_ms)
            if isinstance(line.what, Finished):
                return
            self._apply(line)
            self._work()
            self._pass_time(line.t_ms)
        if not (waits or self._begun):
            self._begin()

    def _pass_time(self, until_ms: int) -> None:
        """Let everything happen that is due up to and at `until_ms`."""
        while True:
            death_ms = self.world.next_death_ms()
            deadline_ms = self.core.next_deadline_ms() if self.core is not None else None
            period_ms = self._calendar.next_ms if self.core is not None else None
            judged_ms = self._judged[0][0] if self._judged else None
            moments = (death_ms, deadline_ms, period_ms, judged_ms)
            due = [moment_ms for moment_ms in moments if moment_ms is not None]
            if not due or min(due) > until_ms:
                break
            at_ms = max(self.now_ms, min(due))
            self._advance(at_ms)
            if death_ms is not None and death_ms <= at_ms:
                self._ended(self.world.next_dead())
            elif judged_ms is not None and judged_ms <= at_ms:
                self._inbox.append(heapq.heappop(self._judged)[2])
            elif period_ms is not None and period_ms <= at_ms:
                self._inbox.append(ev.PeriodsBegan(self._calendar.periods(self.now_ms)))
            else:
                self._inbox.append(ev.Ticked())
            self._work()
        self._advance(until_ms)

    def _advance(self, at_ms: int) -> None:
        if at_ms > self.now_ms:
            self.now_ms = at_ms
            self._steps_at_once = 0

    def _work(self) -> None:
        """Give the core its events, one after the other, and do what it says."""
        while self._inbox:
            event = self._inbox.popleft()
            if self.core is None:
                continue
            self._steps_at_once += 1
            if self._steps_at_once > STEPS_AT_ONCE_MAX:
                raise RuntimeError(f"the core stands still at t={self.now_ms / 1000:g}: {event}")
            if isinstance(event, ev.TreeEmpty):
                self.world.processes[event.agent].booked = True
            for effect in self.core.step(event, self.now_ms):
                self._story.tell(effect, self.now_ms)
                self._perform(effect)

    def _apply(self, line: TraceLine) -> None:
        what, agent = line.what, line.agent
        if isinstance(what, Start):
            if what.at_ms is not None:
                self._set_clock(what.at_ms)
            if not self._begun:
                self._begin(what.intents)
        elif isinstance(what, Changed):
            self.world.change(agent, what.settings)
        elif isinstance(what, Daemon):
            self._daemon(up=what.up)
        elif isinstance(what, Commanded | Seen):
            self._command(what, line.number)
        else:
            assert agent is not None, line.number
            if isinstance(what, Said | Notified):
                self._say(agent, what)
            elif isinstance(what, Measured):
                self._measure(agent, what)
            elif isinstance(what, Ended):
                self._end(agent, what)

    def _set_clock(self, wall_ms: int) -> None:
        self._calendar.set(wall_ms, self.now_ms)
        if self.core is not None:
            self._inbox.append(ev.PeriodsBegan(self._calendar.periods(self.now_ms)))

    def _begin(self, intents: Mapping[str, str] = MappingProxyType({})) -> None:
        """Start the daemon for the first time, on what operators are said to have wanted."""
        self._begun = True
        for name, word in intents.items():
            agent = self._config.agents.get(name)
            if agent is not None and not agent.external and not (word == "up" and agent.autostart):
                self.disk[name] = wanted(word)
        self._daemon(up=True)
        self._work()

    # -- the daemon ----------------------------------------------------------

    def _daemon(self, *, up: bool) -> None:
        """Crash it, or start it on what its disk and the world say."""
        self._inbox.clear()
        self._judged.clear()
        if not up:
            self.core = None
            return
        if self.core is None:
            self.core = Supervisor(self._config, self._jitter.random, self._new_id)
            fates = {name: self._fate(name, durable) for name, durable in self.disk.items()}
            self._inbox.append(ev.PeriodsBegan(self._calendar.periods(self.now_ms)))
            still_open = [one for one in self._incidents.values() if one.resolved_at_ms is None]
            number_next = max(self._incidents, default=0) + 1
            self._inbox.append(ev.Started(fates, still_open, number_next, self._spending))

    def _new_id(self) -> str:
        return f"{next(self._ids):08x}"

    def _fate(self, name: str, durable: Durable) -> ev.Fate:
        """Return what a starting daemon finds out about a recorded agent."""
        fate = ev.Fate(replace(durable), baseline=self._baselines.get(name))
        process = self.world.processes.get(name)
        if process is None or process.booked or process.incarnation != durable.incarnation:
            return fate
        if process.alive:
            return replace(fate, alive=True, pid=process.pid)
        evidence = "killed for memory" if process.oom else ""
        return replace(
            fate, code=process.code, signal=process.signal, ended=True, evidence=evidence
        )

    # -- what the core asks for ----------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case (
                Persist()
                | PersistBaseline()
                | PersistSpending()
                | PersistIncident()
                | Forget()
                | SaveCheckpoint()
            ):
                self._keep(effect)
            case Spawn(agent, incarnation):
                self._spawn(agent, incarnation)
            case Validate(agent, incarnation):
                fails = self.world.habits_of(agent).validate_fails
                told = "the validate command exited 1" if fails else ""
                self._inbox.append(ev.Validated(agent, incarnation, not fails, told))
            case Judge():
                self._judge(effect)
            case Diagnose(agent, incarnation, kind, asked_at_ms, context):
                seen = ev.Diagnosed(agent, incarnation, kind, asked_at_ms, evidence=context)
                self._inbox.append(seen)
            case Recall(_, agent, execution):
                self._story.recall(effect, self._states.get((agent, execution)), self.now_ms)
            case Signal() | KillTree() | Freeze() | Thaw():
                process = self.world.alive(effect.agent, effect.incarnation)
                if process is not None:
                    self._handle(process, effect)
            case Exit():
                self._daemon(up=False)
            case _:
                pass  # for people, or for connections that are not simulated

    def _keep(
        self,
        effect: (
            Persist | PersistBaseline | PersistSpending | PersistIncident | Forget | SaveCheckpoint
        ),
    ) -> None:
        match effect:
            case Persist(agent, durable):
                self.disk[agent] = durable
            case PersistBaseline(agent, baseline):
                self._baselines[agent] = baseline
            case PersistIncident(incident):
                self._incidents[incident.number] = incident
            case PersistSpending(spending):
                self._spending = spending
            case Forget(agent):
                self.disk.pop(agent, None)
                self._baselines.pop(agent, None)
            case SaveCheckpoint(agent, execution, _, _, state):
                self._states[agent, execution] = state

    def _judge(self, asked: Judge) -> None:
        """Let the judge answer when it has taken its time, or when that is up."""
        habits = self.world.habits_of(asked.agent)
        timeout_ms = self._config.agents[asked.agent].judge.timeout_ms
        judged = habits.judged(asked.agent, asked.incarnation, timeout_ms)
        at_ms = self.now_ms + min(habits.judge_takes_ms, timeout_ms)
        if at_ms > self.now_ms:
            heapq.heappush(self._judged, (at_ms, next(self._questions), judged))
        else:
            self._inbox.append(judged)

    def _spawn(self, agent: str, incarnation: int) -> None:
        process = self.world.spawn(agent, incarnation)
        if process is None:
            told = "ENOENT: the simulated world starts nothing"
            self._inbox.append(ev.SpawnFailed(agent, incarnation, told))
        else:
            self._inbox.append(ev.Spawned(agent, incarnation, process.pid))

    def _handle(self, process: Process, effect: Signal | KillTree | Freeze | Thaw) -> None:
        match effect:
            case Signal():
                self.world.signal(process, effect.signal, self.now_ms)
            case KillTree():
                self.world.end(process, code=None, signal=SIGKILL)
                self._ended(process)
            case Freeze():
                self.world.freeze(process)
                self._inbox.append(ev.Froze(process.agent, process.incarnation))
            case Thaw():
                self.world.thaw(process, self.now_ms)

    # -- what the trace says -------------------------------------------------

    def _say(self, agent: str, said: Said | Notified) -> None:
        try:
            decoded = decode_line(said.raw) if isinstance(said, Said) else notified(said.raw)
        except BadLine as bad:
            self._story.reject(bad.message, self.now_ms)
            return
        if decoded.agent not in (None, agent):
            self._story.reject(f'"{agent}" cannot speak for "{decoded.agent}"', self.now_ms)
            return
        process = self.world.alive(agent)
        external = self._config.agents[agent].external
        if (process is None or process.frozen) and not external:
            return  # whoever stands still says nothing, whatever was recorded under another policy
        incarnation = 0 if process is None else process.incarnation
        if decoded.id is not None and isinstance(decoded.line, Question):
            request = f"question {next(self._questions)}"
            self._story.expect(request, decoded.id)
            self._inbox.append(ev.AgentAsked(agent, incarnation, request, decoded.line))
        else:
            self._inbox.append(ev.LinesReceived(agent, incarnation, (decoded.line,)))

    def _measure(self, agent: str, measured: Measured) -> None:
        process, rss = self.world.alive(agent), measured.rss_bytes
        if process is None or rss is None or not 0 <= rss <= SIZE_BYTES_MAX:
            return
        process.rss_bytes = int(rss)
        self._inbox.append(
            ev.Sampled(
                agent,
                process.incarnation,
                int(rss),
                cpu_ms=measured.cpu_ms,
                io_bytes=measured.io_bytes,
            )
        )
        self._work()
        limit_bytes = self.world.habits_of(agent).memory_limit_bytes
        if limit_bytes is not None and rss >= limit_bytes and process.alive:
            # The kernel's limit: nothing lives beyond it.
            self.world.end(process, code=None, signal=SIGKILL, oom=True)
            self._ended(process)

    def _end(self, agent: str, ended: Ended) -> None:
        process = self.world.alive(agent)
        if process is None or ended.incarnation not in (None, process.ordinal):
            return  # late: it ended before
        self.world.end(process, code=ended.code, signal=ended.signal, oom=ended.oom)
        self._ended(process)

    def _ended(self, process: Process) -> None:
        """Tell the core of an end: of the leader, and of the tree, which is one process."""
        agent, incarnation = process.agent, process.incarnation
        evidence = ev.ExitEvidence(
            oom_kills=int(process.oom),
            oom_source="memory.events oom_kill 0 -> 1 (simulated)" if process.oom else "",
            rss_bytes=process.rss_bytes,
            limit_bytes=self.world.habits_of(agent).memory_limit_bytes,
        )
        self._inbox.append(ev.Exited(agent, incarnation, process.code, process.signal, evidence))
        self._inbox.append(ev.TreeEmpty(agent, incarnation))

    def _command(self, commanded: Commanded | Seen, number: int) -> None:
        if self.core is None:
            self._story.reject("agentd is not running", self.now_ms)
            return
        if isinstance(commanded, Seen):
            self._inbox.append(commanded.told(number, self._calendar.periods(self.now_ms)))
            return
        try:
            self._inbox.append(requested(commanded.raw, number))
        except Refused as refused:
            self._story.reject(str(refused), self.now_ms)


def simulate(
    config: Config, trace: Sequence[TraceLine], write: Callable[[str], object]
) -> Mapping[str, Durable]:
    """Play a trace against a config; `write` gets each printed line. Returns what is on disk."""
    simulation = Simulation(config, write)
    simulation.run(trace)
    return simulation.disk
