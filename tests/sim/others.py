"""Other hosts around a simulated one: what its link tells of them, and what must follow from it.

Drawn from numbers of their own, so that a world without a link is what it would be without
this file. What must hold is written down here a second time, as plainly as it can be.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from random import Random

import msgspec

from agentd.config.agent import AgentConfig
from agentd.config.schema import Config, FleetBudgetConfig, FleetConfig
from agentd.config.units import MicroDollars, Milliseconds
from agentd.core import accounts
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.agent import Agent
from agentd.core.host_views import FleetSpending, HostsView, RemoteAgent, RemoteBreaker, RemoteHost
from agentd.core.records import Durable, Record
from agentd.core.states import Intent
from agentd.core.supervisor import Supervisor
from tests.sim.world import Broken, World

TTL_MS = 4_000
EVERY_MS = TTL_MS // 2
PATIENCE_MS = 3 * TTL_MS
LINKED_SHARE = 0.35
FLAPPING_SHARE = 0.5
HOSTS = ("m1", "m2")
BUDGET = "fleet_usd_per_day"
SUBJECT = "fleet budget"
UP_WORDS = ("start", "restart", "resume")


class Others:
    """The other hosts, and a watch over what the core makes of them."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(f"others {seed}")  # noqa: S311 - a world is drawn, not a secret
        self.linked = self.random.random() < LINKED_SHARE
        self.budget = self.random.choice((None, 20_000, 60_000, 150_000))
        self.mode = "whole"
        """What the link has to say: a whole view, that it is cut off, or nothing (`dead`)."""
        flaps = Random(f"flaps {seed}")  # noqa: S311 - as above
        self.flaps = flaps if flaps.random() < FLAPPING_SHARE else None
        """Its link is cut and comes back many times a day; None: it holds."""
        self.hosts_total = 1 + len(HOSTS)
        if self.flaps is not None and self.budget is not None:
            # A small share of much: exceeded when cut off, and room again when the link is back.
            self.budget, self.hosts_total = 150_000, 20
        self.lost: set[str] = set()
        self.announces = self.random.random() < 0.7
        self.ready = dict.fromkeys(HOSTS, self.random.random() < 0.5)
        self.spent = 0
        self.day = ""
        """The day in which others have spent that."""
        self.breakers: set[str] = set()
        self.next_ms = 0
        self.number = 0
        # What is known from outside of what the core was told.
        self.seen: HostsView | None = None
        self.patience_ends_ms = 0
        self.spending: FleetSpending | None = None
        self.let_go: set[str] = set()
        """Agents that a person has let go on over the fleet's budget."""
        self.paused: set[str] = set()
        self.today = ""
        """The day in which people have said that."""
        self.agents: dict[str, Durable] = {}
        """As they were after the last step: the next one may remove some."""
        self.gone: tuple[int, int] = (0, 0)
        """What agents that are here no more have spent, in the day that began then."""
        self.known: set[str] = set()
        """Hosts of which people have been told that they are lost, and not that they are back."""

    # -- the world -----------------------------------------------------------

    def shaped(self, config: Config) -> Config:
        """Let a fleet have a link, a budget over all hosts, and some who depend on others."""
        if not self.linked:
            return config
        budget = None if self.budget is None else MicroDollars(self.budget)
        link = FleetConfig(
            nats=["nats://here"],
            ttl_ms=Milliseconds(TTL_MS),
            budget=FleetBudgetConfig(usd_per_day_micros=budget),
        )
        agents = {name: self._dependent(agent) for name, agent in config.agents.items()}
        return msgspec.structs.replace(config, fleet=link, agents=agents)

    def _dependent(self, agent: AgentConfig) -> AgentConfig:
        there = [f"{host}/x" for host in HOSTS if self.random.random() < 0.25]
        if agent.external or not there:
            return agent
        return msgspec.structs.replace(agent, depends_on=[*agent.depends_on, *there])

    def change(self) -> None:
        """Sometimes something happens elsewhere."""
        if not self.linked or self.world.healed or self.random.random() > 0.3:
            return
        host = self.random.choice(HOSTS)
        match self.random.randrange(5):
            case 0:
                self.mode = self.random.choice(("whole", "whole", "cut", "cut", "dead"))
            case 1:
                self.lost ^= {host}
            case 2:
                self.ready[host] = not self.ready[host]
            case 3:
                self.spent += self.random.choice((1_000, 5_000, 30_000))
            case _:
                self.breakers ^= {host}

    def let_one_go(self, core: Supervisor) -> ev.Requested | None:
        """Where the link comes and goes, a person soon lets one go on that the budget paused."""
        there = [name for name in sorted(self.paused) if name in core.agents]
        if self.flaps is None or not there or self.flaps.random() < 0.3:
            return None
        self.number += 1
        return ev.Requested(f"over {self.number}", "resume", "ada", (self.flaps.choice(there),))

    def heal(self) -> None:
        """All is well elsewhere, and whether anybody here is told of it must not matter."""
        self.mode = self.random.choice(("whole", "cut", "dead"))
        self.lost.clear()
        self.breakers.clear()
        self.ready = dict.fromkeys(HOSTS, True)

    def due_ms(self) -> int | None:
        """When the link has its say next; None: it has none."""
        return self.next_ms if self.linked and self.mode != "dead" else None

    def message(self, core: Supervisor) -> ev.HostsSeen:
        """What the link says now."""
        self.next_ms = self.world.now_ms + EVERY_MS
        self.number += 1
        request = f"fleet {self.number}"
        if self.flaps is not None and not self.world.healed and self.flaps.random() < 0.15:
            self.mode = "whole" if self.mode == "cut" else "cut"
        if self.mode == "cut":
            return ev.HostsSeen(request, HostsView(connected=False))
        today = core.periods.date if core.periods is not None else ""
        if today != self.day:
            self.day, self.spent = today, 0
        stale = self.random.random() < 0.1
        hosts = tuple(
            RemoteHost(
                name,
                lost=name in self.lost,
                announce=name in self.lost and self.announces,
                agents=(RemoteAgent("x", self.ready[name], "EXITED"), RemoteAgent("y")),
            )
            for name in HOSTS
        )
        view = HostsView(
            connected=True,
            hosts=hosts,
            date="yesterday" if stale else today,
            others_micros=self.spent,
            hosts_total=self.hosts_total,
            breakers=tuple(RemoteBreaker(name, "openai") for name in sorted(self.breakers)),
        )
        return ev.HostsSeen(request, view)

    # -- the watch -----------------------------------------------------------

    def restarted(self) -> None:
        """A daemon begins: nothing is known, and it has its patience whole."""
        self.seen = None
        self.known = {name for name in HOSTS if self._is_told(name)}
        self.next_ms = self.world.now_ms + EVERY_MS
        self.patience_ends_ms = self.world.now_ms + PATIENCE_MS
        self.spending = self.world.spending
        self.agents = dict(self.world.disk)

    def after_step(
        self,
        core: Supervisor,
        event: ev.Event,
        effects: list[do.Effect],
        sometimes: Counter[str],
    ) -> None:
        """Check one step whose effects are durable."""
        if not self.linked:
            return
        self._note_gone(core, effects)
        records = [one.record for one in effects if isinstance(one, do.Journal)]
        known, self.known = self.known, {name for name in HOSTS if self._is_told(name)}
        if isinstance(event, ev.Gap):
            self.patience_ends_ms += event.gap_ms
        elif isinstance(event, ev.HostsSeen):
            self._take(core, event.view)
        elif isinstance(event, ev.Requested):
            self._heed(event, effects)
        for record in records:
            self._told(core, event, record, known, sometimes)
        if isinstance(event, ev.HostsSeen):
            self._follows(core, event, effects, known)
            sometimes["cut off"] += not event.view.connected

    def _note_gone(self, core: Supervisor, effects: list[do.Effect]) -> None:
        """What was said of an agent ends with the day, or with it; what it spent stays spent."""
        periods = core.periods
        assert periods is not None, "told before anything else"
        if periods.date != self.today:
            self.today = periods.date
            self.let_go.clear()
            self.paused.clear()
        for one in effects:
            if isinstance(one, do.Forget):
                self.let_go.discard(one.agent)
                self.paused.discard(one.agent)
                durable = replace(self.agents[one.agent])
                accounts.roll(durable, periods)
                begins_ms, before = periods.day.begins_ms, self._gone(core)
                if _spent(durable) > 0:
                    self.gone = (begins_ms, before + _spent(durable))
        self.agents = {name: agent.durable for name, agent in core.agents.items()}

    def _gone(self, core: Supervisor) -> int:
        begins_ms, micros = self.gone
        today = core.periods is not None and core.periods.day.begins_ms == begins_ms
        return micros if today else 0

    def _own(self, core: Supervisor) -> int:
        return self._gone(core) + sum(_spent(agent.durable) for agent in core.agents.values())

    def may_start(self, dependencies: Iterable[str]) -> bool:
        """Whether a start may be made, as far as agents of other hosts go."""
        there = [one for one in dependencies if "/" in one]
        if not self.linked or self.world.now_ms >= self.patience_ends_ms:
            return True
        return all(self._is_ready(one) for one in there)

    def _is_ready(self, dependency: str) -> bool:
        host, _, name = dependency.partition("/")
        for one in self.seen.hosts if self.seen is not None else ():
            if one.name == host and not one.lost:
                return any(agent.name == name and agent.ready for agent in one.agents)
        return False

    def _is_told(self, host: str) -> bool:
        """Whether people know that a host is lost: its incident is about it still, on disk."""
        return any(
            one.subject == f"host {host}" and one.resolved_at_ms is None and not one.subject_over
            for one in self.world.incidents.values()
        )

    def _take(self, core: Supervisor, view: HostsView) -> None:
        if not view.connected:
            return
        self.seen, self.patience_ends_ms = view, self.world.now_ms + PATIENCE_MS
        if core.periods is not None:
            others = view.others_micros if view.date == core.periods.date else 0
            begins_ms = core.periods.day.begins_ms
            self.spending = FleetSpending(begins_ms, self._own(core), others, view.hosts_total)

    def _heed(self, event: ev.Requested, effects: list[do.Effect]) -> None:
        """A person's word that an agent is to go on holds, whatever others spend today."""
        replies = [one for one in effects if isinstance(one, do.Reply) and one.result is not None]
        rows = (replies[0].result or {}).get("agents", []) if replies else []
        assert isinstance(rows, list)
        for row in rows if event.cmd in UP_WORDS else ():
            if "error" not in row and row["name"] in self.paused:
                self.paused.discard(row["name"])
                self.let_go.add(row["name"])

    def _told(
        self,
        core: Supervisor,
        event: ev.Event,
        record: Record,
        known: set[str],
        sometimes: Counter[str],
    ) -> None:
        host = str(record.data.get("host"))
        if record.event == "agent.starting" and "cause" in record.data:
            needs = core.agents[record.agent or ""].config.depends_on
            if not self.may_start(needs):
                raise Broken(f"{record.agent}: starts before {needs} are ready, by {event}")
        elif record.event in ("host.lost", "host.back"):
            view = event.view if isinstance(event, ev.HostsSeen) else None
            if view is None or not view.connected:
                raise Broken(f"{record.event} {host}, told by {event}")
            one = next(each for each in view.hosts if each.name == host)
            lost = record.event == "host.lost"
            if one.lost is not lost or (lost and not one.announce) or (host in known) is lost:
                raise Broken(f"{record.event} {host}, known: {known}, by {event}")
        elif record.event == "agent.paused" and record.data.get("budget") == BUDGET:
            sometimes["paused by the fleet's budget"] += 1
            self.paused.add(record.agent or "")
            if record.agent in self.let_go:
                raise Broken(f"{record.agent}: paused in spite of a person's word, by {event}")
        elif record.event == "agent.starting" and record.severity == "warning":
            sometimes["started without word of others"] += "depends_on" in record.data

    def _follows(
        self, core: Supervisor, event: ev.HostsSeen, effects: list[do.Effect], known: set[str]
    ) -> None:
        """What a word of the link must bring about."""
        replies = [one.result for one in effects if isinstance(one, do.Reply)]
        own = {"date": self.today, "own": round(self._own(core) / 1e6, 6)}
        if not any(one is not None and one.get("spent_usd_day") == own for one in replies):
            raise Broken(f"{event} is not answered with {own}: {replies}")
        told = {
            str(one.record.data["host"])
            for one in effects
            if isinstance(one, do.Journal) and one.record.event in ("host.lost", "host.back")
        }
        for host in event.view.hosts:
            due = host.announce and host.name not in known if host.lost else host.name in known
            if due and host.name not in told:
                raise Broken(f"{host} is not told of")
        over = self._is_over(core, event.view)
        if not over:
            self.paused.clear()  # with room, a word that brings them up is no word over it
        for agent in core.agents.values():
            self._held_to_budget(agent, effects, over=over)
        spenders = [agent.name for agent in core.agents.values() if _spent(agent.durable) > 0]
        if over and spenders and SUBJECT not in core.incidents.bound:
            raise Broken(f"the fleet's budget is exceeded by {spenders}, and no incident is open")

    def _is_over(self, core: Supervisor, view: HostsView) -> bool:
        """Whether no more may be spent: of all that is allowed, or cut off of an equal share."""
        if self.budget is None or core.periods is None:
            return False
        spending = self.spending
        today = spending is not None and spending.day_begins_ms == core.periods.day.begins_ms
        others = spending.others_micros if spending is not None and today else 0
        then = spending.own_micros if spending is not None and today else 0
        if view.connected:
            return self._own(core) + others >= self.budget
        share = max(0, self.budget - then - others) // (spending.hosts_total if spending else 1)
        return self._own(core) >= then + share

    def _held_to_budget(self, agent: Agent, effects: list[do.Effect], *, over: bool) -> None:
        paused = any(
            isinstance(one, do.Journal)
            and one.record.agent == agent.name
            and one.record.event == "agent.paused"
            and one.record.data.get("budget") == BUDGET
            for one in effects
        )
        if paused and not over:
            raise Broken(f"{agent.name}: paused, though there is room in the fleet's budget")
        overridden = BUDGET in agent.durable.budgets_overridden
        if agent.name in self.let_go and not overridden:
            raise Broken(f"{agent.name}: a person's word over the fleet's budget is forgotten")
        runs = agent.has_process and agent.intent is Intent.UP and not agent.config.external
        if over and runs and _spent(agent.durable) > 0 and not overridden:
            raise Broken(f"{agent.name}: goes on over the fleet's budget")


def _spent(durable: Durable) -> int:
    return durable.cost_micros - durable.day.micros if durable.day is not None else 0
