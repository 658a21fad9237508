"""All agents, and the one door to the core: `step(event, now_ms)` → effects.

No clock, no I/O, no chance: the moment comes in with each event, what is decided goes out
as plain data. A late event about an incarnation that is gone changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agentd.config.schema import Config
from agentd.core import (
    acknowledging,
    boot,
    breakers,
    cost,
    diagnosis,
    ends,
    fleet_budget,
    gaps,
    hearing,
    hosts_news,
    judging,
    late_starts,
    ledger,
    lifecycle,
    minutes,
    operating,
    pausing,
    reloading,
    remains,
    verdicts,
    waiting,
)
from agentd.core import events as ev
from agentd.core.accounts import Periods
from agentd.core.agent import Agent
from agentd.core.breaker import Breakers
from agentd.core.deadlines import Deadlines
from agentd.core.effects import Effect, Exit, Persist, PersistBaseline, Reply
from agentd.core.hosts import Hosts
from agentd.core.incidents import Incidents
from agentd.core.pricing import Prices
from agentd.core.records import Record
from agentd.core.select import SelectError, select
from agentd.core.states import State, StopReason
from agentd.core.turn import CRITICAL, INFO, Turn
from agentd.core.waiting import Waiter

# Counters are durable at least this often (FAULTS §4: five seconds).
FLUSH_MS: Final = 4_000


@dataclass(slots=True)
class Supervisor:
    """The whole state of the core. `jitter` returns a number in [0, 1), `new_id` a fresh id."""

    config: Config
    jitter: Callable[[], float]
    new_id: Callable[[], str]
    agents: dict[str, Agent] = field(default_factory=dict)
    deadlines: Deadlines = field(default_factory=Deadlines)
    waiters: dict[str, Waiter] = field(default_factory=dict)
    leaving: dict[str, tuple[StopReason, str]] = field(default_factory=dict)
    unflushed: dict[str, Agent] = field(default_factory=dict)
    put_off: dict[str, Agent] = field(default_factory=dict)
    """Agents whose start waits for something, and a few that no longer do."""
    breakers: Breakers = field(default_factory=Breakers)
    hosts: Hosts = field(default_factory=Hosts)
    incidents: Incidents = field(init=False)
    prices: Prices = field(default_factory=Prices)
    periods: Periods | None = None
    """The civil periods that it is now; None: nobody has said."""
    flush_at_ms: int | None = None
    minute_ms: int | None = None
    """When the running minute began, by the wall clock; None: none has ended yet."""
    closing: bool = False
    exit_asked: bool = False

    def __post_init__(self) -> None:
        remind_every_ms = int(self.config.alerts.remind_every_ms)
        self.incidents = Incidents(
            self.agents, self.breakers, self.new_id, remind_every_ms, self.hosts
        )
        self.hosts.configure(self.config.fleet, 0)
        self.breakers.configure(self.config.breakers)
        self.prices.use(own=self.config.prices)

    def step(self, event: ev.Event, now_ms: int) -> list[Effect]:
        """Take one event in, and return what is to be done about it, in order."""
        turn = self._turn(now_ms)
        if isinstance(event, ev.LinesReceived):
            self._hear(turn, event)
        elif isinstance(event, ev.AgentAsked):
            self._asked(turn, event)
        else:
            self._dispatch(turn, event)
        if turn.touched or turn.effects or self.waiters or self.leaving or self.closing:
            self._settle(turn)
        for name in turn.touched:
            self.incidents.look_at(name)
        if self.incidents.has_work(now_ms):
            turn.announce(self.incidents.settle(now_ms))
        for agent in turn.touched.values():
            minutes.note(agent, now_ms)
        return turn.finish()

    def note(self, record: Record, now_ms: int) -> list[Effect]:
        """Take in an entry of the shell's own: a bug or a failing disk is an incident, too."""
        turn = self._turn(now_ms)
        told = record.severity == CRITICAL
        turn.write(record, self.agents.get(record.agent or ""), told=told)
        turn.announce(self.incidents.settle(now_ms))
        return turn.finish()

    def _turn(self, now_ms: int) -> Turn:
        return Turn(
            now_ms,
            self.agents,
            self.jitter,
            self.new_id,
            leaving=self.leaving,
            closing=self.closing,
            breakers=self.breakers,
            incidents=self.incidents,
            prices=self.prices,
            hosts=self.hosts,
        )

    def last_words(self, now_ms: int) -> list[Effect]:
        """What a daemon that ends would lose otherwise: counters, and what work usually costs."""
        words: list[Effect] = [
            Persist(one.name, one.snapshot(), lazy=True) for one in self.unflushed.values()
        ]
        words += (
            PersistBaseline(agent.name, agent.spending.write_down(now_ms))
            for agent in self.agents.values()
            if agent.spending.baseline_is_old
        )
        if self.minute_ms is not None:
            words += minutes.end(self.agents.values(), self.minute_ms, now_ms)
        return words

    def next_deadline_ms(self) -> int | None:
        """When a `Ticked` is wanted next; None: never, by time alone."""
        moments = [self.deadlines.earliest_ms(), self.flush_at_ms, self.breakers.next_change_ms]
        moments += (self.incidents.next_due_ms, self.hosts.patience_ends_ms)
        moments += [waiter.until_ms for waiter in self.waiters.values()]
        return min((moment for moment in moments if moment is not None), default=None)

    def _hear(self, turn: Turn, event: ev.LinesReceived) -> None:
        """The hot path: lines of one incarnation."""
        agent = self.agents.get(event.agent)
        if agent is None or not hearing.is_current(agent, event.incarnation):
            return
        hearing.hear(turn, agent, event.lines)
        self.incidents.look_at(agent.name)
        self.unflushed[agent.name] = agent
        self._flush_soon(turn.now_ms)
        verdicts.judge(turn, agent)
        self.deadlines.arm(agent, turn.now_ms)

    def _flush_soon(self, now_ms: int) -> None:
        if self.flush_at_ms is None:
            self.flush_at_ms = now_ms + FLUSH_MS

    def _roll(self) -> None:
        """Let each agent's accounts know which hour, day and month it is."""
        for agent in self.agents.values():
            if ledger.roll(agent, self.periods):
                self.unflushed[agent.name] = agent

    def _dispatch(self, turn: Turn, event: ev.Event) -> None:
        match event:
            case ev.Ticked():
                self._tick(turn)
            case ev.Requested():
                self._request(turn, event)
            case ev.Gap():
                gaps.pass_over(turn, self.agents.values(), self.deadlines, event)
            case ev.Started():
                self.hosts.begin(event.spending, turn.now_ms)
                boot.start(turn, self.agents, self.config, event)
                self._roll()
                fleet_budget.begin(turn, event.fates, self.periods)
            case ev.Configured():
                self._configure(turn, event)
            case ev.Judged() | ev.Diagnosed():
                self._answered(turn, event)
            case (
                ev.PeriodsBegan()
                | ev.MinuteEnded()
                | ev.PricesRead()
                | ev.StorageChanged()
                | ev.ReaderLeft()
                | ev.HostsSeen()
            ):
                self._take_news(turn, event)
            case ev.ShutdownAsked():
                self._close(turn, event)
            case ev.LinesReceived() | ev.AgentAsked():
                raise AssertionError("lines are heard, not dispatched")
            case _:
                self._about_process(turn, event)

    def _configure(self, turn: Turn, event: ev.Configured) -> None:
        self.config = event.config
        self.breakers.configure(event.config.breakers)
        self.prices.use(own=event.config.prices)
        self.incidents.remind_every(int(event.config.alerts.remind_every_ms), turn.now_ms)
        hosts_news.configure(turn, event.config.fleet)
        fleet_budget.take_limit(turn, self.periods)
        fleet_budget.judge(turn, self.periods)  # before anybody starts on whom it pauses
        reloading.apply(turn, self.agents, event)
        self._roll()
        for agent in self.agents.values():  # also one that is restarted, or brought back
            cost.judge_budgets(turn, agent)
        self._make_up(turn)

    def _make_up(self, turn: Turn) -> None:
        """Make the starts that waited, but none on whom the fleet's budget pauses right now."""
        fleet_budget.judge(turn, self.periods)
        late_starts.make_up(turn, self.put_off)
        fleet_budget.judge(turn, self.periods)  # also those that start with this

    def _take_news(
        self,
        turn: Turn,
        event: (
            ev.PeriodsBegan
            | ev.MinuteEnded
            | ev.PricesRead
            | ev.StorageChanged
            | ev.ReaderLeft
            | ev.HostsSeen
        ),
    ) -> None:
        """What is about no agent."""
        match event:
            case ev.PeriodsBegan():
                self.periods = event.periods
                self._roll()
                self._flush_soon(turn.now_ms)
                fleet_budget.judge(turn, self.periods)
            case ev.MinuteEnded(begins_ms):
                self.minute_ms = begins_ms + minutes.MINUTE_MS
                turn.effects += minutes.end(self.agents.values(), begins_ms, turn.now_ms)
            case ev.PricesRead():
                self.prices.use(table=event.table)
            case ev.StorageChanged():
                self.incidents.storage_failed = not event.ok
                told = "works again" if event.ok else f"failed: {event.evidence}"
                severity = INFO if event.ok else CRITICAL
                turn.journal("daemon.storage", None, f"storage {told}", severity=severity)
            case ev.ReaderLeft():
                self.waiters.pop(event.request, None)
            case ev.HostsSeen():
                hosts_news.take(turn, event, self.periods)
                self._make_up(turn)

    def _asked(self, turn: Turn, event: ev.AgentAsked) -> None:
        agent = self.agents.get(event.agent)
        hearing.answer_question(turn, agent, event)
        if agent is not None:
            verdicts.judge(turn, agent)
            self.deadlines.arm(agent, turn.now_ms)

    def _answered(self, turn: Turn, event: ev.Judged | ev.Diagnosed) -> None:
        """A judge or a look has come back, if only after the run that it was about.

        What a judge costs is the agent's all the same; so is what its end left behind.
        """
        agent = self.agents.get(event.agent)
        if agent is None:
            return
        if isinstance(event, ev.Judged):
            judging.on_judged(turn, agent, event)
            self.unflushed[agent.name] = agent
            self._flush_soon(turn.now_ms)
        else:
            diagnosis.take(turn, agent, event)
        verdicts.judge(turn, agent)
        self.deadlines.arm(agent, turn.now_ms)

    def _about_process(self, turn: Turn, event: ev.ProcessEvent) -> None:
        agent = self.agents.get(event.agent)
        if agent is None or agent.incarnation != event.incarnation:
            return  # late: that incarnation is gone
        self.incidents.look_at(agent.name)
        if isinstance(event, ev.LinesDropped):
            self.unflushed[agent.name] = agent
            self._flush_soon(turn.now_ms)
        elif not isinstance(event, ev.Sampled):
            turn.touch(agent)
        match event:
            case ev.Spawned():
                lifecycle.on_spawned(turn, agent, event)
                hearing.hear_early(turn, agent)
            case ev.SpawnFailed():
                self._spawn_failed(turn, agent, event)
            case ev.Exited():
                ends.on_exited(turn, agent, event)
            case ev.TreeEmpty():
                ends.on_tree_empty(turn, agent)
            case ev.Validated():
                refused = lifecycle.on_validated(turn, agent, event)
                if refused is not None:
                    ends.fail_start(turn, agent, StopReason.STATE_INVALID, refused)
            case _:
                verdicts.on_observation(turn, agent, event)
        verdicts.judge(turn, agent)
        self.deadlines.arm(agent, turn.now_ms)

    def _spawn_failed(self, turn: Turn, agent: Agent, event: ev.SpawnFailed) -> None:
        if not agent.has_process:
            return
        if event.shortage and agent.stop is None:
            lifecycle.on_shortage(turn, agent, event)
        else:
            ends.fail_start(turn, agent, StopReason.SPAWN_FAILED, event.error)

    def _tick(self, turn: Turn) -> None:
        for name in self.deadlines.take_due(turn.now_ms):
            agent = self.agents.get(name)
            if agent is None:
                continue
            agent.armed_ms = None
            verdicts.on_deadline(turn, agent)
            verdicts.judge(turn, agent)
            self.deadlines.arm(agent, turn.now_ms)
        next_breaker_ms = self.breakers.next_change_ms
        if next_breaker_ms is not None and turn.now_ms >= next_breaker_ms:
            breakers.on_time(turn)
        if self.hosts.give_up(turn.now_ms):
            self._make_up(turn)
        if self.flush_at_ms is not None and turn.now_ms >= self.flush_at_ms:
            self.flush_at_ms = None
            fleet_budget.judge(turn, self.periods)
            for agent in self.unflushed.values():
                if agent.name not in self.agents:
                    continue
                if agent.name not in turn.touched:
                    turn.do(Persist(agent.name, agent.snapshot(), lazy=True))
                if agent.spending.is_baseline_due(turn.now_ms):
                    turn.do(PersistBaseline(agent.name, agent.spending.write_down(turn.now_ms)))
            self.unflushed.clear()

    def _request(self, turn: Turn, asked: ev.Requested) -> None:
        if asked.cmd == acknowledging.CMD:
            acknowledging.acknowledge(turn, asked)
            return
        try:
            names = select(self.agents, asked.select)
        except SelectError as error:
            turn.do(Reply(asked.request, error=("no_such_agent", str(error), error.hint)))
            return
        if asked.cmd == "wait":
            waiting.begin(turn, self.waiters, asked, names)
        else:
            operating.carry_out(turn, self.deadlines, asked, names)

    def _close(self, turn: Turn, asked: ev.ShutdownAsked) -> None:
        self.closing = turn.closing = True
        who = f" by {asked.who}" if asked.who else ""
        turn.journal("daemon.stopping", None, f"agentd is stopping{who}")
        for agent in self.agents.values():
            if agent.stop is None and (agent.has_process or agent.state is State.STARTING):
                self.leaving[agent.name] = (StopReason.DAEMON_STOPPED, "agentd is stopping")

    def _settle(self, turn: Turn) -> None:
        """What follows from the whole fleet: ordered stops, starts that were put off, answers."""
        for name in list(self.leaving):
            agent = self.agents.get(name)
            if agent is None or (not agent.has_process and agent.state is not State.STARTING):
                del self.leaving[name]
            else:
                pausing.bring_down(turn, agent, *self.leaving[name])
                self.deadlines.arm(agent, turn.now_ms)
        late_starts.make_up(turn, self.put_off)
        for name in [name for name, agent in turn.touched.items() if agent.durable.removed]:
            gone = self.agents.pop(name)
            self.unflushed.pop(name, None)  # one that comes back by this name is another
            if self.minute_ms is not None:
                turn.effects += minutes.end([gone], self.minute_ms, turn.now_ms)
            fleet_budget.carry(turn, [gone.durable], self.periods)
            reloading.forget(turn, gone)
        if self.waiters:
            waiting.settle(turn, self.waiters)
        for agent in list(turn.touched.values()):
            verdicts.judge(turn, agent)
            self.deadlines.arm(agent, turn.now_ms)
        if self.closing and not self.exit_asked:
            agents = self.agents.values()
            self.exit_asked = all(not one.has_process or one.is_given_up for one in agents)
            if self.exit_asked:
                remains.tell_left(turn, agents)
                turn.do(Exit())
