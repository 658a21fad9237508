"""What is done to a world that it did not ask for: people, crashes, clocks, late news."""

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from random import Random

from agentd.config.schema import Config
from agentd.core import events as ev
from agentd.core.lines import ActionBegun, Heartbeat
from agentd.core.states import State, StopReason
from agentd.core.supervisor import Supervisor
from tests.sim.chance import Rates
from tests.sim.commits import Commits
from tests.sim.world import Beats, Deliver, Dies, Process, World

COMMANDS = (
    *("start", "stop", "restart", "kill", "pause", "resume", "resume", "hold", "unhold"),
    *("reset", "signal", "wait"),
)


class Troubles:
    """The part of a swarm that makes trouble."""

    random: Random
    rates: Rates
    world: World
    config: Config
    core: Supervisor | None
    sometimes: Counter[str]
    commits: Commits
    asked: deque[ev.Requested]
    _requests: Iterator[int]

    def _say(self, text: str) -> None:
        raise NotImplementedError

    def _step(self, event: ev.Event) -> None:
        raise NotImplementedError

    def _arrives(self, coming: Deliver | Dies | Beats) -> None:
        raise NotImplementedError

    def _start(self, *, rebooted: bool) -> None:
        raise NotImplementedError

    def _crash(self) -> None:
        raise NotImplementedError

    def _next(self, until_ms: int | None = None) -> bool:
        raise NotImplementedError

    def _commit(self) -> None:
        raise NotImplementedError

    def _periods(self) -> None:
        raise NotImplementedError

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
        stopped, cooling = self._over_budget(), self._cooling()
        if stopped and self.random.random() < 0.3:
            cmd, names = "resume", stopped
        elif cooling and self.random.random() < 0.3:
            cmd, names = self.random.choice(("pause", "resume") * 3 + ("kill",)), cooling
        select: tuple[str, ...] = (self.random.choice(names),)
        if self.random.random() < 0.2:
            select = self.random.choice((("all",), ("*",), (names[0], names[-1])))
        options: dict[str, object] = {}
        if cmd == "signal":
            options["signal"] = "SIGUSR1"
        if cmd == "start" and self.random.random() < 0.2:
            options["fresh"] = True
        if cmd == "wait":
            options = {"for": self.random.choice(("ready", "healthy", "stopped"))}
            options["timeout_ms"] = self.random.randint(0, 20_000)
        asked = ev.Requested(f"r{next(self._requests)}", cmd, "ada", select, "", options)
        self.asked.append(asked)
        if cmd == "kill" and names == cooling:
            self.sometimes["fault K3"] += 1
        self._step(asked)
        self._last_words(select[0])
        if self.random.random() < 0.01:
            self._step(ev.ShutdownAsked("ada"))

    def _last_words(self, name: str) -> None:
        """What was said just before the operator's word, and is heard just after it."""
        for process in list(self.world.living(name)):
            if process.leader and not process.gated and process.talks and not self.world.healed:
                lines = self.world.talk.last_words()
                self._step(ev.LinesReceived(name, process.incarnation, lines))

    def _over_budget(self) -> list[str]:
        """Agents that wait for a person to let them spend more."""
        agents = self.core.agents.values() if self.core is not None else ()
        return [one.name for one in agents if one.durable.reason is StopReason.BUDGET_EXCEEDED]

    def _cooling(self) -> list[str]:
        """Agents in a cooldown, also if paused in it: seldom met by chance, and soon over."""
        agents = self.core.agents.values() if self.core is not None else ()
        return [
            one.name
            for one in agents
            if (one.durable.cooldown_until_ms or one.durable.cooldown_left_ms) is not None
        ]

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
            cpu_ms = self.random.choice((None, 0, self.world.now_ms))
            io_bytes = self.random.choice((None, 0, rss_bytes))
            sampled = ev.Sampled(process.agent, process.incarnation, rss_bytes, cpu_ms, io_bytes)
            self.world.tell(sampled)

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
            self.commits.tear(self.sometimes)
            self.world.reboot()
            self.world.now_ms += self.random.randint(0, 60_000)
            self._start(rebooted=True)

    def _trouble_gap(self) -> None:
        gap_ms = self.random.choice((3_000, 30_000))
        self.world.now_ms += gap_ms
        self._step(ev.Gap(gap_ms, self.random.choice(("stall", "suspend"))))

    def _trouble_storage(self) -> None:
        self._step(ev.StorageChanged(self.random.random() < 0.5, "ENOSPC"))

    def _trouble_clock(self) -> None:
        """The wall clock is set, by a little or by days; or it was wrong and is put right."""
        days_ms = 10 * 86_400_000
        self.world.wall_ahead_ms += self.random.choice((-30_000, 5_000, 300_000, days_ms, -days_ms))
        self.world.wall_ahead_ms = max(1_000_000, self.world.wall_ahead_ms)
        self._periods()

    def _trouble_line(self) -> None:
        """A line of an incarnation that may be gone."""
        core = self.core
        if core is not None and core.agents:
            agent = core.agents[self.random.choice(list(core.agents))]
            incarnation = 0 if agent.config.external else agent.incarnation - 1
            self._step(ev.LinesReceived(agent.name, incarnation, (Heartbeat(),)))
            request = f"q-late-{next(self._requests)}"
            asked = ActionBegun("late", "pay")
            self._step(ev.AgentAsked(agent.name, incarnation, request, asked))
