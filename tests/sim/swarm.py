"""One simulated world from one seed: first everything breaks, then it heals and must converge.

The driver plays the daemon around the core: it delivers events, makes durable what a step
wants kept, does the deeds, and may die at any point between these.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count
from random import Random

import msgspec

from agentd.config.schema import Config
from agentd.config.units import Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.lines import Heartbeat
from agentd.core.states import Intent, State
from agentd.core.supervisor import Supervisor
from tests.sim.chance import draw_agent, draw_config, draw_rates
from tests.sim.invariants import Invariants
from tests.sim.world import Beats, Broken, Deliver, Dies, Process, World

STEPS_CHAOS = 220
STEPS_HEAL_MAX = 20_000
STEPS_AT_ONCE_MAX = 2_000
HEAL_MS = 400_000
COMMANDS = (
    *("start", "stop", "restart", "kill", "pause", "resume", "resume", "hold", "unhold"),
    *("reset", "signal", "wait"),
)

Note = Callable[[str], None]


class Swarm:
    """One world, one core, one seed."""

    def __init__(self, seed: int, note: Note | None = None) -> None:
        self.random = Random(seed)  # noqa: S311 - a world is drawn, not a secret
        self.rates = draw_rates(self.random)
        self.world = World(self.random, self.rates)
        self.config = draw_config(self.random)
        self.invariants = Invariants(self.world)
        self.sometimes: Counter[str] = Counter()
        self.core: Supervisor | None = None
        self._note = note
        self._ids = count(1)
        self._requests = count(1)
        self._at_once = 0

    # -- the story -----------------------------------------------------------

    def run(self) -> Counter[str]:
        """Break everything, heal, demand convergence. A broken invariant is `Broken`."""
        self._start(rebooted=False)
        for _ in range(STEPS_CHAOS):
            if self.random.random() < 0.25:
                self._trouble()
            self._next()
        self._say("the world heals")
        self.world.heal()
        if self.core is None or self.core.closing:
            self._crash()
            self._start(rebooted=False)
        self._step(ev.StorageChanged(ok=True))
        for process in list(self.world.processes.values()):
            if process.lives and not process.leader:
                self.world.kill_tree(process)
        until_ms = self.world.now_ms + HEAL_MS
        for _ in range(STEPS_HEAL_MAX):
            if not self._next(until_ms):
                break
        self._converged()
        return self.sometimes

    def _say(self, text: str) -> None:
        if self._note is not None:
            self._note(f"{self.world.now_ms / 1000:10.3f}  {text}")

    # -- time ----------------------------------------------------------------

    def _next(self, until_ms: int | None = None) -> bool:
        """Let the next thing happen; False: nothing is left before `until_ms`."""
        queue, core = self.world.queue, self.core
        coming_ms = queue[0][0] if queue else None
        tick_ms = core.next_deadline_ms() if core is not None else None
        if tick_ms is not None and self._chance(self.rates.late_tick):
            tick_ms += self.random.randint(0, 500)
        moments = [at_ms for at_ms in (coming_ms, tick_ms) if at_ms is not None]
        if not moments or (until_ms is not None and min(moments) > until_ms):
            return False
        self._advance(min(moments))
        if coming_ms is not None and coming_ms <= self.world.now_ms:
            self._arrives(heapq.heappop(queue)[2])
        else:
            self._step(ev.Ticked())
        return True

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
                self.world.release(coming.event)
            self._step(coming.event)

    # -- the daemon ----------------------------------------------------------

    def _start(self, *, rebooted: bool) -> None:
        """Start the daemon on what its disk and the world say."""
        before = dict(self.world.disk)
        self.core = Supervisor(self.config, self.random.random, lambda: f"i{next(self._ids)}")
        fates = self.world.fates(rebooted=rebooted)
        core = self.core
        self._step(ev.Started(fates))
        if self.core is core:
            self.invariants.over_crash(before, core)

    def _crash(self) -> None:
        self._say("agentd dies")
        self.sometimes["crash"] += 1
        self.core = None
        self.world.crash()

    def _step(self, event: ev.Event) -> None:
        """One step of the core, its transaction, its deeds; the daemon may die between them."""
        core = self.core
        if core is None:
            return
        self._say(f"> {event}")
        effects = core.step(event, self.world.now_ms)
        if self._chance(self.rates.crash_in_step):
            self.sometimes["crash before the commit"] += 1
            self._crash()
            self._start(rebooted=False)
            return
        self.world.commit(event, effects)
        self.invariants.after_step(core, event, effects)
        self._count(effects)
        for effect in effects:
            if self._chance(self.rates.crash_in_step):
                self.sometimes["crash between deeds"] += 1
                self._crash()
                self._start(rebooted=False)
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
        elif isinstance(effect, do.Exit):
            self.sometimes["exit"] += 1
            self._crash()

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

    def _count(self, effects: list[do.Effect]) -> None:
        """Note which branches were reached, so that a rare one is known to be tested."""
        for effect in effects:
            if isinstance(effect, do.Journal):
                self.sometimes[effect.record.event] += 1
                if effect.record.event == "agent.exited":
                    self.sometimes[f"exited {effect.record.reason}"] += 1
            else:
                self.sometimes[type(effect).__name__] += 1

    # -- trouble -------------------------------------------------------------

    def _trouble(self) -> None:
        """Do something to the fleet that it did not ask for."""
        kinds = list(self.rates.troubles)
        weights = [rate + 0.01 for rate in self.rates.troubles.values()]
        kind = self.random.choices(kinds, weights)[0]
        self.sometimes[f"trouble {kind}"] += 1
        getattr(self, f"_trouble_{kind}")()

    def _some_process(self) -> Process | None:
        running = [one for one in self.world.processes.values() if one.leader and not one.gated]
        return self.random.choice(running) if running else None

    def _trouble_operator(self) -> None:
        cmd = self.random.choice(COMMANDS)
        names = self._in_between() or list(self.config.agents)
        select = ("all",) if self.random.random() < 0.1 else (self.random.choice(names),)
        options: dict[str, object] = {}
        if cmd == "signal":
            options["signal"] = "SIGUSR1"
        if cmd == "start" and self.random.random() < 0.2:
            options["fresh"] = True
        if cmd == "wait":
            options = {"for": self.random.choice(("ready", "healthy", "stopped"))}
            options["timeout_ms"] = self.random.randint(0, 20_000)
        request = f"r{next(self._requests)}"
        self._step(ev.Requested(request, cmd, "ada", select, "", options))
        if self.random.random() < 0.01:
            self._step(ev.ShutdownAsked("ada"))

    def _in_between(self) -> list[str]:
        """Sometimes, agents that are on their way somewhere: there a word is most awkward."""
        if self.core is None or self.random.random() < 0.4:
            return []
        restless = (State.COOLDOWN, State.STARTING, State.STOPPING, State.PARKED, State.PAUSED)
        return [name for name, agent in self.core.agents.items() if agent.state in restless]

    def _trouble_exit(self) -> None:
        process = self._some_process()
        if process is not None:
            code = self.random.choice((0, 1, None))
            self.world.dies(Dies(process.pid, code, None if code is not None else 11))

    def _trouble_oom(self) -> None:
        process = self._some_process()
        if process is not None:
            process.oom = True
            self.world.dies(Dies(process.pid, None, 9))

    def _trouble_sample(self) -> None:
        process = self._some_process()
        if process is not None:
            rss_bytes = self.random.randint(0, 120 << 20)
            self.world.tell(ev.Sampled(process.agent, process.incarnation, rss_bytes))

    def _trouble_crash(self) -> None:
        self._crash()
        self.world.now_ms += self.random.choice((0, 10, 5_000, 60_000))
        while self.world.queue and self.world.queue[0][0] <= self.world.now_ms:
            self._arrives(heapq.heappop(self.world.queue)[2])
        self._start(rebooted=False)

    def _trouble_reboot(self) -> None:
        if self.random.random() < 0.2:
            self._say("the host reboots")
            self.core = None
            self.world.reboot()
            self.world.now_ms += self.random.randint(0, 60_000)
            self._start(rebooted=True)

    def _trouble_gap(self) -> None:
        gap_ms = self.random.choice((3_000, 30_000))
        self.world.now_ms += gap_ms
        self._step(ev.Gap(gap_ms, self.random.choice(("stall", "suspend"))))

    def _trouble_reload(self) -> None:
        agents = dict(self.config.agents)
        names = list(agents)
        name = self.random.choice(names)
        needed = any(name in other.depends_on for other in agents.values())
        restart: frozenset[str] = frozenset()
        applied: frozenset[str] = frozenset()
        what = self.random.random()
        if what < 0.2 and len(agents) > 1 and not needed:
            del agents[name]
        elif what < 0.4:
            agents[f"b{next(self._requests)}"] = draw_agent(self.random, names)
        elif what < 0.7:
            restart = frozenset({name})
        else:
            grace_ms = Milliseconds(self.random.choice((500, 3_000)))
            agents[name] = msgspec.structs.replace(agents[name], stop_timeout_ms=grace_ms)
            applied = frozenset({name})
        self.config = Config(agents=agents)
        self._step(ev.Configured(self.config, restart, applied))

    def _trouble_storage(self) -> None:
        self._step(ev.StorageChanged(self.random.random() < 0.5, "ENOSPC"))

    def _trouble_old_exit(self) -> None:
        """An end of an incarnation that is gone, or of one that never was."""
        core = self.core
        if core is None or not core.agents:
            return
        agent = core.agents[self.random.choice(list(core.agents))]
        incarnation = agent.incarnation + self.random.choice((-1, -1, -2, 1))
        late: ev.Event = self.random.choice(
            (
                ev.Exited(agent.name, incarnation, code=1),
                ev.TreeEmpty(agent.name, incarnation),
                ev.Spawned(agent.name, incarnation, 99),
                ev.Validated(agent.name, incarnation, ok=True),
                ev.SpawnFailed(agent.name, incarnation, "ENOENT"),
            )
        )
        before = (agent.state, agent.presence, agent.durable.failures)
        self._step(late)
        if self.core is core and before != (agent.state, agent.presence, agent.durable.failures):
            raise Broken(f"{agent.name}: a late {late} changed {before}")

    def _trouble_line(self) -> None:
        """A line of an incarnation that may be gone."""
        core = self.core
        if core is not None and core.agents:
            agent = core.agents[self.random.choice(list(core.agents))]
            incarnation = 0 if agent.config.external else agent.incarnation - 1
            self._step(ev.LinesReceived(agent.name, incarnation, (Heartbeat(),)))

    # -- the end -------------------------------------------------------------

    def _converged(self) -> None:
        """Everything that is meant to be up is up, and nothing else is."""
        core = self.core
        if core is None:
            raise Broken("agentd is not running")
        for agent in core.agents.values():
            if agent.config.external:
                continue
            living = list(self.world.living(agent.name))
            told = f"{agent.name}: {agent.intent}/{agent.state} {agent.presence} {living}"
            if len(living) > 1:
                raise Broken(f"INV1 {told}")
            if agent.intent in (Intent.KILLED, Intent.STOPPED) and living:
                raise Broken(f"INV3 {told}")
            if agent.intent is Intent.PAUSED and agent.state is not State.PAUSED:
                raise Broken(f"INV4 {told}")
            if living and agent.state not in (State.RUNNING, State.PAUSED):
                raise Broken(f"not settled {told}")
            if agent.intent is Intent.UP and not living:
                self._excused(core, agent.name, told)

    def _excused(self, core: Supervisor, name: str, told: str) -> None:
        """INV2: what is meant to be up and is not has a reason that a person can see."""
        agent = core.agents[name]
        resting = agent.state in (State.ESCALATED, State.COMPLETED)
        waits = bool(agent.awaiting) and (
            agent.durable.held or not all(core.agents[d].is_ready for d in agent.config.depends_on)
        )
        held = agent.durable.held and agent.state in (State.COOLDOWN, State.STOPPED)
        never = agent.config.restart.policy == "never" and agent.state is State.STOPPED
        if not (resting or waits or held or never):
            raise Broken(f"INV2 {told} awaiting={agent.awaiting!r}")
