"""One simulated world from one seed: first everything breaks, then it heals and must converge.

The driver plays the daemon around the core: it delivers events, makes durable what a step
wants kept, does the deeds, and may die at any point between these.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from random import Random

from agentd.config.agent import AgentConfig
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.states import State
from agentd.core.supervisor import Supervisor
from tests.sim import strays
from tests.sim.chance import draw_config, draw_rates
from tests.sim.commits import Commits
from tests.sim.dependencies import Dependencies
from tests.sim.encounters import met, met_by_end, met_by_start
from tests.sim.ending import converged, let_go
from tests.sim.incidents import Incidents
from tests.sim.invariants import Invariants
from tests.sim.kinds import draw_kind, shape_chances, shaped
from tests.sim.looks import Looks
from tests.sim.minutes import Minutes
from tests.sim.others import Others
from tests.sim.promises import Promises
from tests.sim.reach import counting_arrows, reached
from tests.sim.reckoning import Reckoning
from tests.sim.shell import Shell
from tests.sim.silence import Silence
from tests.sim.talk import Talk
from tests.sim.world import Beats, Broken, Deliver, Dies, Process, World

STEPS_HEAL_MAX = 20_000
STEPS_AT_ONCE_MAX = 2_000
# A world that heals is watched for longer than most of its clocks run, and no longer than
# the longest of them (cooldowns of a minute, three in a row) may take.
HEAL_MS_MIN = 90_000
HEAL_MS_STEP = 50_000
HEAL_MS_MAX = 400_000
Note = Callable[[str], None]


class Swarm(Shell):
    """One world, one core, one seed."""

    def __init__(self, seed: int, note: Note | None = None) -> None:
        self.random = Random(seed)  # noqa: S311 - a world is drawn, not a secret
        self.rates = draw_rates(self.random)
        self.kind = draw_kind(seed)
        self.world = World(self.random, self.rates, Talk.draw(self.random))
        self.world.beat_ms = self.kind.beat_ms
        shape_chances(self.rates, self.world.talk, self.kind, self.random)
        self.config = shaped(draw_config(self.random), self.kind, self.random)
        self.invariants = Invariants(self.world)
        self.promises = Promises(self.world)
        self.reckoning = Reckoning()
        self.minutes = Minutes()
        self.dependencies = Dependencies()
        self.looks = Looks.draw(self.world, seed)
        self.incidents = Incidents(self.world, seed)
        self.config = self.incidents.reminding(self.config)
        self.silence = Silence(self.world)
        self.others = Others(self.world, seed)
        self.config = self.others.shaped(self.config)
        watchers = (self.invariants, self.promises, self.minutes, self.incidents, self.others)
        self.commits = Commits.draw(self.world, seed, watchers)
        self.sometimes: Counter[str] = Counter()
        self.core: Supervisor | None = None
        self._note = note
        self._ids = count(1)
        self._requests = count(1)
        self.asked: deque[ev.Requested] = deque(maxlen=5)
        self.gone: dict[str, AgentConfig] = {}
        self._at_once = 0
        self._told_periods = self.world.periods()

    # -- the story -----------------------------------------------------------

    def run(self) -> Counter[str]:
        """Break everything, heal, demand convergence. A broken invariant is `Broken`."""
        with counting_arrows(self.sometimes):
            self._break_and_heal()
        return self.sometimes

    def _break_and_heal(self) -> None:
        self._start(rebooted=False)
        for _ in range(self.kind.steps):
            if self.random.random() < self.kind.trouble_rate:
                self._trouble()
                self._acknowledge()
                self.others.change()
            if self.commits.is_doom():
                self._crash()
                self._start(rebooted=False)
            self._next()
        self._say("the world heals")
        self.world.heal()
        self.others.heal()
        self._commit()
        if self.core is None or self.core.closing:
            self._crash()
            self._start(rebooted=False)
        self._step(ev.StorageChanged(ok=True))
        for process in list(self.world.processes.values()):
            if process.lives and not process.leader:
                self.world.kill_tree(process)
        self._converge()

    def _converge(self) -> None:
        """Let quiet time pass until all is as it is meant to be; there is a bound to that."""
        latest_ms = self.world.now_ms + HEAL_MS_MAX
        until_ms = self.world.now_ms + HEAL_MS_MIN
        steps = 0
        while True:
            while self._next(until_ms):
                steps += 1
                if steps > STEPS_HEAL_MAX:
                    raise Broken("the core is never at rest")
            try:
                self.promises.all_answered()
                converged(self.world, self.core)
            except Broken:
                if until_ms >= latest_ms:
                    raise
                until_ms += HEAL_MS_STEP
            else:
                return

    def _say(self, text: str) -> None:
        if self._note is not None:
            self._note(f"{self.world.now_ms / 1000:10.3f}  {text}")

    # -- time ----------------------------------------------------------------

    def _next(self, until_ms: int | None = None) -> bool:
        """Let the next thing happen; False: nothing is left before `until_ms`."""
        if self.commits.is_time():
            self._commit()
        queue, core = self.world.queue, self.core
        coming_ms = queue[0][0] if queue else None
        tick_ms = core.next_deadline_ms() if core is not None else None
        if tick_ms is not None and self._chance(self.rates.late_tick):
            tick_ms += self.random.randint(0, 500)
        period_ms = self._period_due_ms() if core is not None else None
        link_ms = self.others.due_ms() if core is not None else None
        times = (coming_ms, tick_ms, period_ms, link_ms)
        moments = [at_ms for at_ms in times if at_ms is not None]
        if not moments or (until_ms is not None and min(moments) > until_ms):
            return False
        self._advance(min(moments))
        if coming_ms is not None and coming_ms <= self.world.now_ms:
            self._arrives(heapq.heappop(queue)[2])
        elif period_ms is not None and period_ms <= self.world.now_ms:
            self._periods()
        elif core is not None and link_ms is not None and link_ms <= self.world.now_ms:
            self._step(self.others.message(core))
        else:
            self._step(ev.Ticked())
        return True

    def _period_due_ms(self) -> int:
        """When the core is to be told of another period: at its begin, or where it was missed."""
        told = self.world.periods() == self._told_periods
        return self.world.next_period_ms() if told else self.world.now_ms

    def _periods(self) -> None:
        """It is another hour, day or month now, or the clock was set."""
        self._told_periods = self.world.periods()
        self._step(ev.PeriodsBegan(self._told_periods))
        self._step(ev.MinuteEnded(self.world.now_ms))  # never twice the same, and often

    def _advance(self, at_ms: int) -> None:
        if at_ms > self.world.now_ms:
            self.world.now_ms = at_ms
            self._at_once = 0
        self._at_once += 1
        if self._at_once > STEPS_AT_ONCE_MAX:
            raise Broken("the core stands still: no time passes between its steps")

    def _chance(self, rate: float) -> bool:
        return not self.world.healed and self.random.random() < rate

    def _arrives(self, coming: Deliver | Dies | Beats) -> None:
        if isinstance(coming, Dies):
            self.world.dies(coming)
        elif isinstance(coming, Beats):
            self.world.beats(coming)
        elif self.core is not None:
            if isinstance(coming.event, ev.Spawned):
                core = self.core
                self._commit()  # in one file, nothing overtakes: what came before is durable
                if self.core is not core:
                    return  # the daemon died in that, and its gated child with it
                self.world.release(coming.event)
            self._step(coming.event)

    # -- the daemon ----------------------------------------------------------

    def _start(self, *, rebooted: bool) -> None:
        """Start the daemon on what its disk and the world say."""
        self.sometimes["start"] += 1
        self.promises.open.clear()
        self.dependencies.known.clear()
        self.looks.restarted()
        self.others.restarted()
        self.silence.restarted()
        if self.world.rates.commit_fails:
            # An incarnation of which nothing was kept has the next one's number.
            self.world.lose_news()
        if self.commits.refuses:
            self.commits.hold()
            self.world.later(Deliver(ev.StorageChanged(ok=False, evidence="EIO")), 0)
        before = dict(self.world.disk)
        adopted = strays.found(self.world, self.config.agents)
        self.sometimes["adopted without a record"] += len(adopted)
        self.core = Supervisor(self.config, self.random.random, lambda: f"i{next(self._ids)}")
        fates = self.world.fates(rebooted=rebooted) | adopted
        self.sometimes["adopted standing still"] += any(
            fate.stands and fate.durable.state is not State.PAUSED for fate in fates.values()
        )
        core = self.core
        self._told_periods = self.world.periods()
        core.step(ev.PeriodsBegan(self._told_periods), self.world.now_ms)
        incidents, number_next = self.world.known_incidents()
        self._step(ev.Started(fates, incidents, number_next, self.world.spending))
        if self.core is core:
            self.incidents.over_crash(core)
            self.invariants.over_crash(before, core)
            self.reckoning.over_crash(before, core)
            self.promises.after_crash(core)
            self.sometimes.update(met_by_start(core))
            if not self.commits.waiting:
                let_go(self.world, core)

    def _acknowledge(self) -> None:
        if self.core is not None:
            asked = self.incidents.acknowledged(f"r{next(self._requests)}", self.core)
            if asked is not None:
                self._step(asked)
        if self.core is not None:
            asked = self.others.let_one_go(self.core)
            if asked is not None:
                self._step(asked)

    def _crash(self) -> None:
        self._say("agentd dies")
        self.sometimes["crash"] += 1
        self.sometimes.update(met_by_end(self.world))
        self.core = None
        self.commits.tear(self.sometimes)
        self.world.crash()

    def _step(self, event: ev.Event) -> None:
        """One step of the core, its transaction, its deeds; the daemon may die between them."""
        core = self.core
        if core is None:
            return
        if isinstance(event, ev.Requested) and self.commits.refused(event):
            self.sometimes["command refused"] += 1
            return
        if self._note is not None:  # the fleet's whole config may be in it
            self._say(f"> {event}")
        self.sometimes["steps"] += 1
        before = self.reckoning.before_step(core, event)
        effects = core.step(event, self.world.now_ms)
        if self._chance(self.rates.crash_in_step):
            self._crash_in(event, "before the commit")
            return
        self._take_down(core, event, effects, before)

    def _crash_in(self, event: ev.Event, when: str) -> None:
        """The daemon dies in a step, and the next one starts; also in the midst of a start."""
        self.sometimes[f"crash {when}"] += 1
        self.sometimes[f"crash in {type(event).__name__}"] += 1
        self._crash()
        self._start(rebooted=False)

    def _take_down(
        self,
        core: Supervisor,
        event: ev.Event,
        effects: list[do.Effect],
        before: dict[str, tuple[int, int]] | None = None,
    ) -> None:
        """What a step wants kept is written, all that watch look at it, then it is done."""
        self.commits.begin()
        told = self.commits.told(event, effects, self.promises.open)
        self.sometimes["commit refused"] += self.commits.refuses
        self.world.commit(event, self.commits.written(effects))
        self.minutes.after_commit(self.world.disk, effects, self.world.now_ms)
        if self._chance(0.05):
            self.world.flush()
        self.invariants.after_step(core, event, effects)
        self.promises.after_step(core, event, effects)
        self.looks.after_step(core, event, effects)
        self.others.after_step(core, event, effects, self.sometimes)
        self.silence.after_step(core, event, effects)
        self.incidents.after_step(core, event, effects)
        self.incidents.count(effects, self.sometimes)
        asked, now_ms = self.promises.open, self.world.now_ms
        self.dependencies.after_step(core, event, effects, asked, now_ms)
        self.reckoning.after_step(core, event, effects, before, self.world.now_ms)
        for effect in told:
            if isinstance(effect, do.Reply | do.Recall):
                self.promises.answered(effect)
        self.sometimes.update(reached(effects))
        self.sometimes.update(met(self.world, core, event, effects))
        due = self.commits.add(effects)
        if due is not None:
            self._perform(event, due)

    def _commit(self) -> None:
        """The commit that is under way ends."""
        self._perform(ev.Ticked(), self.commits.end())

    def _perform(self, event: ev.Event, effects: list[do.Effect]) -> None:
        """Do what was asked for, all of which is durable; the daemon may die in between."""
        for effect in effects:
            if self._chance(self.rates.crash_in_step):
                self._crash_in(event, "between deeds")
                return
            self._do(effect)

    def _do(self, effect: do.Effect) -> None:
        if isinstance(effect, do.Spawn):
            self._say(f"    {effect}")
            self.world.spawn(effect)
        elif isinstance(effect, do.Validate):
            refused = self._chance(self.rates.validate_fails)
            self.world.tell(ev.Validated(effect.agent, effect.incarnation, not refused, "no"))
        elif isinstance(effect, do.Signal | do.KillTree | do.Freeze | do.Thaw):
            self._say(f"    {effect}")
            process = self.world.find(effect.agent, effect.incarnation)
            if process is not None:
                self._handle(process, effect)
            elif isinstance(effect, do.KillTree):
                # The process layer answers for a tree that is gone already.
                self.world.tell(ev.TreeEmpty(effect.agent, effect.incarnation))
        elif isinstance(effect, do.Journal):
            self._say(f"    {effect.record.event} {effect.record.agent}: {effect.record.message}")
        elif isinstance(effect, do.Judge | do.Diagnose):
            self._ask(effect)
        elif isinstance(effect, do.Exit):
            self.sometimes["exit"] += 1
            self._crash()

    def _ask(self, effect: do.Judge | do.Diagnose) -> None:
        """Have somebody look, who takes his time, or never answers."""
        if isinstance(effect, do.Judge):
            self._judge(effect)
            return
        seen = self.looks.answer(effect)
        if seen is not None:
            self.world.later(Deliver(seen), self.looks.delay_ms())

    def _judge(self, effect: do.Judge) -> None:
        """The judge command takes its time, is sure or not, costs something, or fails."""
        random = self.random
        said = ev.Judged(effect.agent, effect.incarnation, cost_micros=random.choice((None, 500)))
        if self._chance(self.rates.judge_fails):
            said = replace(said, error="timed out")
        else:
            confidence = random.choice((0.5, 0.9, 0.95))
            said = replace(said, closer=random.random() < 0.4, confidence=confidence)
        self.world.tell(said)

    def _handle(
        self, process: Process, effect: do.Signal | do.KillTree | do.Freeze | do.Thaw
    ) -> None:
        match effect:
            case do.Signal():
                self.world.signal(process, effect.signal)
            case do.KillTree():
                self.world.kill_tree(process)
            case do.Freeze():
                process.frozen = True
                error = "EBUSY" if self._chance(0.2) else ""
                self.world.tell(ev.Froze(process.agent, process.incarnation, error))
            case do.Thaw():
                self.world.thaw(process)
