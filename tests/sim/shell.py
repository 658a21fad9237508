"""Trouble that comes to the core through its own shell: reloads, repeated commands, late news,
shortages told, bugs of ours, an upgrade in place.
"""

import msgspec

from agentd.config.agent import AgentConfig
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.pricing import PriceTable
from agentd.core.records import Record
from agentd.core.supervisor import Supervisor
from tests.sim.chance import draw_agent
from tests.sim.minutes import Minutes
from tests.sim.troubles import Troubles
from tests.sim.world import Broken, Process

# What of an agent may change at any time and is followed at once.
SETTINGS = ("loop", "judge", "pause", "stop_timeout_ms", "startup_timeout_ms")
# What the shell journals on its own: (event, severity, whether it is about an agent).
NOTES = (
    ("daemon.fault", "critical", True),
    ("daemon.fault", "critical", False),
    ("alert.failed", "critical", False),
    ("alert.sent", "info", False),
    ("report.sent", "info", False),
    ("config.applied", "info", False),
    ("config.rejected", "warning", False),
    ("security.refused", "warning", True),
)
# An event that changes nothing, for watchers of what the shell itself has written.
NOTHING = ev.ReaderLeft("nobody")


class Shell(Troubles):
    """The part of a swarm that plays the daemon's outer half on a bad day."""

    minutes: Minutes
    gone: dict[str, AgentConfig]

    def _take_down(self, core: Supervisor, event: ev.Event, effects: list[do.Effect]) -> None:
        raise NotImplementedError

    # -- configuration -------------------------------------------------------

    def _trouble_reload(self) -> None:
        """Somebody edits the files: one change, or several at once."""
        agents = dict(self.config.agents)
        restart: set[str] = set()
        applied: set[str] = set()
        for _ in range(self.random.choice((1, 1, 1, 3))):
            self._edit(agents, restart, applied)
        self.config = msgspec.structs.replace(self.config, agents=agents)
        self._step(ev.Configured(self.config, frozenset(restart), frozenset(applied)))

    def _edit(self, agents: dict[str, AgentConfig], restart: set[str], applied: set[str]) -> None:
        name = self.random.choice(list(agents))
        what = self.random.random()
        needed = any(name in other.depends_on for other in agents.values())
        if what < 0.15 and len(agents) > 1 and not needed:
            self.gone[name] = agents.pop(name)
            restart.discard(name)
            applied.discard(name)
        elif what < 0.25:
            agents[f"b{next(self._requests)}"] = draw_agent(self.random, list(agents))
        elif what < 0.35 and self.gone:
            back, config = self.gone.popitem()
            known = [one for one in config.depends_on if one in agents]
            agents[back] = msgspec.structs.replace(config, depends_on=known)
        elif what < 0.6:
            restart.add(name)
        elif what < 0.8:
            self.sometimes["reload of depends_on"] += 1
            agents[name] = self._other_order(agents, name)
            restart.add(name)
        else:
            other = draw_agent(self.random, [])
            changed = {setting: getattr(other, setting) for setting in SETTINGS}
            agents[name] = msgspec.structs.replace(agents[name], **changed)
            applied.add(name)

    def _other_order(self, agents: dict[str, AgentConfig], name: str) -> AgentConfig:
        """Let it depend on others than before, with no circle: on earlier ones of the file."""
        earlier = list(agents)[: list(agents).index(name)]
        free = [one for one in earlier if name not in _needs(agents, one)]
        chosen = [one for one in free if self.random.random() < 0.5]
        return msgspec.structs.replace(agents[name], depends_on=chosen)

    # -- commands ------------------------------------------------------------

    def _trouble_again(self) -> None:
        """A client that got no answer asks the same again; what was answered is not done twice."""
        if not self.asked:
            return
        asked = self.random.choice(list(self.asked))
        if asked.request in self.world.answers:
            self.sometimes["command repeated, told again"] += 1
            return  # the shell tells the answer that was kept; the core is not asked
        self.sometimes["command repeated, carried out"] += 1
        self._step(asked)

    # -- news ----------------------------------------------------------------

    def _trouble_shell(self) -> None:
        """One of the many small things that a shell tells its core."""
        process, choice = self._some_process(), self.random.randrange(7)
        if choice == 0:
            self._note_of_shell()
        elif choice == 1:
            self._step(ev.PricesRead(PriceTable()))
        elif choice == 2:
            self._step(ev.ReaderLeft(f"r{self.random.randrange(1, 200)}"))
        elif choice == 3:
            lag_ms = self.random.randint(250, 2_000)
            self.world.now_ms += lag_ms
            self._step(ev.Gap(lag_ms, "lag"))
        elif process is not None:
            self._about(process, choice)

    def _about(self, process: Process, choice: int) -> None:
        agent, incarnation = process.agent, process.incarnation
        if choice == 4:
            self.world.tell(ev.OomChild(agent, incarnation, "oom_kill 0 -> 1"))
        elif choice == 5:
            self.world.tell(ev.LinesDropped(agent, incarnation, self.random.randint(1, 500)))
        else:
            spurious = (
                ev.Ticked(),
                ev.Froze(agent, incarnation, "EINTR"),
                ev.KillStuck(agent, incarnation, "state D"),
                ev.Spawned(agent, incarnation, process.pid),
                ev.Diagnosed(agent, incarnation, "stall", 0),
                ev.Validated(agent, incarnation, ok=False, evidence="late"),
            )
            self._step(self.random.choice(spurious))

    def _note_of_shell(self) -> None:
        """The shell journals something of its own, a bug of ours for one."""
        core = self.core
        if core is None or not core.agents:
            return
        event, severity, of_agent = self.random.choice(NOTES)
        agent = self.random.choice(list(core.agents)) if of_agent else None
        record = Record(event, severity, "told by the shell", agent=agent)
        self._take_down(core, NOTHING, core.note(record, self.world.now_ms))

    def _trouble_reexec(self) -> None:
        """The daemon replaces itself: it writes down what it knows, and loses no line."""
        core = self.core
        if core is None or core.closing:
            return
        self._commit()
        if self.core is not core:
            return
        if self.commits.refuses:
            self._trouble_crash()  # what it knows, and could not write down, ends with it
            return
        self.sometimes["re-exec"] += 1
        words = core.last_words(self.world.now_ms)
        self.world.commit(NOTHING, words)
        self.world.flush()
        self.minutes.after_commit(self.world.disk, words, self.world.now_ms)
        self.core = None
        self.world.handed_over()
        self.world.now_ms += self.random.choice((50, 1_000, 3_000))
        self._start(rebooted=False)

    def _end_in_the_tick(self) -> None:
        """A16: the end is told again in the very moment in which the restart is due."""
        core, cooling = self.core, self._cooling()
        if core is None or not cooling:
            return
        agent = core.agents[self.random.choice(cooling)]
        until_ms, incarnation = agent.durable.cooldown_until_ms, agent.incarnation
        if until_ms is None or until_ms < self.world.now_ms:
            return
        while self.core is core and self._next(until_ms - 1):
            pass  # what comes before that moment
        if self.core is not core or agent.durable.cooldown_until_ms != until_ms:
            return
        self.sometimes["fault A16"] += 1
        self.world.now_ms = until_ms
        ends = (
            ev.TreeEmpty(agent.name, incarnation),
            ev.Ticked(),
            ev.Exited(agent.name, incarnation, code=1),
            ev.TreeEmpty(agent.name, incarnation),
        )
        for event in ends:
            self._step(event)

    def _trouble_old_exit(self) -> None:
        """An end of an incarnation that is gone, or of one that never was."""
        core = self.core
        if core is None or not core.agents:
            return
        if self.random.random() < 0.3:
            self._end_in_the_tick()
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


def _needs(agents: dict[str, AgentConfig], name: str) -> set[str]:
    """Return all that must be ready before it, however far away."""
    found: set[str] = set()
    left = list(agents[name].depends_on)
    while left:
        one = left.pop()
        if one not in found and one in agents:
            found.add(one)
            left += agents[one].depends_on
    return found
