"""What must be true of incidents in every world, seen from outside as far as that goes."""

from collections import Counter
from random import Random

import msgspec

from agentd.config.schema import AlertsConfig, Config
from agentd.config.units import Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.agent import After, Agent, local_dependencies
from agentd.core.breaker import BreakerState
from agentd.core.records import IncidentRecord, Record
from agentd.core.states import Health, Intent, State, StopReason
from agentd.core.supervisor import Supervisor
from tests.sim.world import Broken, World

HARMLESS = frozenset(
    {StopReason.USER_PAUSED, StopReason.USER_KILLED, StopReason.USER_STOPPED}
    | {StopReason.USER_RESTARTED, StopReason.CONFIG_CHANGED, StopReason.DAEMON_STOPPED}
    | {StopReason.HOST_REBOOTED}
)
HEALTH = frozenset(
    ("agent.degraded", "agent.unreachable", "agent.exited", "agent.escalated", "agent.completed")
)
BY_TIME = ("agent.degraded", "agent.unreachable")
STUCK = "agent.stopping"


class Incidents:
    """Watches the incidents of one world."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        # Of its own, so that whoever acknowledges changes nothing of what the world draws.
        self.random = Random(f"incidents {seed}")  # noqa: S311 - a world is drawn, not a secret
        self.remind_every_ms = self.random.choice((20_000, 60_000, 3_600_000))
        self.open: dict[int, str] = {}
        """Number → key, by the journal."""
        self.last = 0
        self.well_since: dict[str, int] = {}
        self.seen: dict[int, IncidentRecord] = {}
        """Open incidents as they were when looked at last: much of them seldom changes."""
        self.wakes_ms: int | None = None

    def reminding(self, config: Config) -> Config:
        """Let people be reminded sooner than worlds end, in most."""
        alerts = AlertsConfig(remind_every_ms=Milliseconds(self.remind_every_ms))
        return msgspec.structs.replace(config, alerts=alerts)

    def acknowledged(self, request: str, core: Supervisor) -> ev.Requested | None:
        """Sometimes somebody takes an incident in hand, or one that isn't there."""
        if self.random.random() > 0.1:
            return None
        numbers = [*core.incidents.opened, self.last, self.last + 1]
        return ev.Requested(request, "ack", "ada", options={"id": self.random.choice(numbers)})

    def after_step(self, core: Supervisor, event: ev.Event, effects: list[do.Effect]) -> None:
        """Check one step whose effects are durable."""
        cause: Record | None = None
        for effect in effects:
            if isinstance(effect, do.Journal):
                if effect.record.event.startswith("incident."):
                    self._changed(core, event, effect.record, cause)
                else:
                    cause = effect.record
            elif isinstance(effect, do.Alert):
                self._alerted(core, effect)
        if isinstance(event, ev.Requested):
            self._answered(core, event, effects)
        for name, agent in core.agents.items():
            self._watch(core, name, agent)
        self.wakes_ms = core.next_deadline_ms()
        for incident in core.incidents.opened.values():
            self._stands(core, incident)
        for name, number in core.incidents.bound.items():
            self._part(core, name, number)

    def count(self, effects: list[do.Effect], sometimes: Counter[str]) -> None:
        """Note the rare things that happened to incidents."""
        for effect in effects:
            if isinstance(effect, do.Alert) and effect.kind != "trigger":
                sometimes[f"alert {effect.kind}"] += 1
            if isinstance(effect, do.PersistIncident):
                incident = effect.incident
                sometimes["incident again"] += incident.reopened > 0
                sometimes["incident of many"] += len(incident.members) > 1
                sometimes["incident of a breaker"] += incident.subject.startswith("breaker")
                sometimes["incident acknowledged"] += bool(incident.acknowledged_by)
                sometimes["incident that cannot be killed"] += any(
                    STUCK in member.troubles for member in incident.members
                )

    def over_crash(self, core: Supervisor) -> None:
        """What is open is open in the next daemon under the same number and key."""
        for number, key in self.open.items():
            found = core.incidents.opened.get(number)
            if found is None or found.key != key:
                raise Broken(f"incident {number} was forgotten by the next daemon")

    # -- what is told --------------------------------------------------------

    def _changed(
        self, core: Supervisor, event: ev.Event, record: Record, cause: Record | None
    ) -> None:
        number = record.incident or 0
        kept = self.world.incidents.get(number)
        if kept is None:
            raise Broken(f"{record.event} {number}: it is not on disk")
        if record.event == "incident.opened":
            again = bool(record.data["reopened"])
            if number in self.open or (number != self.last + 1 and not again):
                raise Broken(f"incident {number} opened after {self.last}, open: {self.open}")
            self.last = max(self.last, number)
            self.open[number] = kept.key
            if cause is None:
                raise Broken(f"incident {number} opened by nothing")
            self._justified(core, event, cause, again=again)
        elif number not in self.open:
            raise Broken(f"{record.event} {number}: it isn't open")
        elif record.event == "incident.resolved":
            del self.open[number]
            if "healthy again" in kept.resolution:
                self._proven(core, kept)

    def _justified(self, core: Supervisor, event: ev.Event, cause: Record, *, again: bool) -> None:
        """It is not what an operator did, nor a symptom of what is open already."""
        if cause.reason in HARMLESS and cause.event not in (STUCK, "agent.held"):
            raise Broken(f"an incident was opened by {cause}")
        if isinstance(event, ev.Requested) and cause.event not in BY_TIME:
            raise Broken(f"an incident was opened by {event}: {cause}")
        agent = core.agents.get(cause.agent or "")
        if agent is None or cause.event not in HEALTH or again:
            return
        for name in local_dependencies(agent):
            number = core.incidents.bound.get(name)
            if number is not None and number < self.last:
                raise Broken(f"{agent.name}: {name} explains it, incident {number}; {cause}")

    def _proven(self, core: Supervisor, kept: IncidentRecord) -> None:
        """Whoever was well last has been well for long enough."""
        waits = [self._short_ms(core, name, kept) for name in kept.agents]
        if waits and min(waits) > 0:
            raise Broken(f"incident {kept.number} was resolved {waits} ms too early: {kept}")

    def _short_ms(self, core: Supervisor, name: str, kept: IncidentRecord) -> int:
        agent = core.agents.get(name)
        if agent is None:
            return 0
        stable_ms = int(agent.config.restart.stable_after_ms)
        beats = agent.config.heartbeat.required or agent.config.external
        wanted_ms = 0 if beats else min(30_000, stable_ms)
        if kept.reopened:
            wanted_ms = min(stable_ms, 60_000 * 2 ** (kept.reopened - 1))
        since_ms = self.well_since.get(name, self.world.now_ms)
        return max(0, wanted_ms - (self.world.now_ms - since_ms))

    def _alerted(self, core: Supervisor, alert: do.Alert) -> None:
        record = alert.record
        if alert.kind == "reminder":
            assert alert.incident is not None
            if record.incident not in self.open or alert.incident.acknowledged_by:
                raise Broken(f"reminded in vain: {alert}")
        elif alert.kind == "resolve":
            if alert.incident is None or alert.incident.resolved_at_ms is None:
                raise Broken(f"resolved, and open: {alert}")
        elif (
            record.event in HEALTH
            and record.severity != "info"
            and record.incident is None
            and not _is_kept_down(core.agents.get(record.agent or ""))
        ):
            raise Broken(f"people are told of trouble that is in no incident: {record}")

    def _answered(self, core: Supervisor, event: ev.Requested, effects: list[do.Effect]) -> None:
        """Whoever acted on an agent has its incident in hand."""
        mine = (
            one for one in effects if isinstance(one, do.Reply) and one.request == event.request
        )
        reply = next(mine, None)
        if reply is None or reply.result is None:
            return
        if event.cmd == "ack":
            number = event.options["id"]
            kept = self.world.incidents.get(number if isinstance(number, int) else 0)
            if kept is None or (kept.resolved_at_ms is None and not kept.acknowledged_by):
                raise Broken(f"acknowledged, and not on disk: {kept}")
            return
        rows = reply.result.get("agents", []) if event.cmd != "wait" else []
        assert isinstance(rows, list)
        for row in rows:
            incident = core.incidents.of(row["name"])
            opened = incident is not None and incident.opened_at_ms == self.world.now_ms
            if "error" in row or row.get("skipped") or incident is None or opened:
                continue
            if not incident.acknowledged_by and not incident.reopened:
                raise Broken(f"{event.cmd} of {row['name']}: {incident} is in nobody's hands")

    # -- what stands ---------------------------------------------------------

    def _watch(self, core: Supervisor, name: str, agent: Agent) -> None:
        """Note since when it is well, and that trouble has its incident."""
        if _is_well(agent):
            self.well_since.setdefault(name, self.world.now_ms)
        else:
            self.well_since.pop(name, None)
        if name in core.incidents.bound or agent.intent is not Intent.UP or agent.stop is not None:
            return
        silent = agent.noted is Health.UNREACHABLE and (agent.has_process or agent.config.external)
        if silent or agent.noted is Health.DEGRADED or agent.state is State.ESCALATED:
            raise Broken(f"{name}: {agent.state}, {agent.noted}, and no incident is open")

    def _stands(self, core: Supervisor, incident: IncidentRecord) -> None:
        """An open incident is about somebody who isn't proven to be well, and wakes the core."""
        number = incident.number
        kept = self.world.incidents.get(number)
        if kept is not incident and kept != incident:
            raise Broken(f"incident {number} is not on disk as it is: {incident}")
        if number not in self.open:
            raise Broken(f"incident {number} is open, and nobody was told")
        if number not in core.incidents.bound.values():
            raise Broken(f"incident {number} is about nobody any more")
        if self.seen.get(number) is not incident:
            self.seen[number] = incident
            names = incident.agents
            if len(set(names)) != len(names):
                raise Broken(f"incident {number} counts an agent twice: {names}")
        if incident.remind_at_ms is not None and not incident.acknowledged_by:
            self._wakes(incident.remind_at_ms, "a reminder")

    def _part(self, core: Supervisor, name: str, number: int) -> None:
        incident = core.incidents.opened[number]
        if name == incident.subject:
            breaker = core.breakers.known.get(name.removeprefix("breaker "))
            over = breaker is None or breaker.state is BreakerState.CLOSED
            if name.startswith("breaker ") and over:
                raise Broken(f"incident {number}: {name} is closed")
            return
        agent = core.agents.get(name)
        member = next(one for one in incident.members if one.agent == name)
        if agent is None:
            raise Broken(f"incident {number}: {name} is gone")
        if _is_kept_down(agent) and not _is_stuck(agent):
            raise Broken(f"incident {number}: {name} is {agent.intent} by its operator")
        well = _is_well(agent)
        if not member.troubles:
            if not well or member.well_since_ms is None:
                raise Broken(f"incident {number}: nothing ails {name}, and it isn't well")
            short_ms = self._short_ms(core, name, incident)
            # A gap of the daemon's own proves nothing, and puts the end of a proof off.
            late_ms = 600_000
            self._wakes(self.world.now_ms + short_ms + late_ms, "a proof")
        elif well and HEALTH.issuperset(member.troubles):
            raise Broken(f"incident {number}: {name} is well, not {member.troubles}")

    def _wakes(self, due_ms: int, what: str) -> None:
        if self.wakes_ms is None or self.wakes_ms > max(due_ms, self.world.now_ms):
            raise Broken(f"{what} is due at {due_ms}, the core sleeps till {self.wakes_ms}")


def _is_kept_down(agent: Agent | None) -> bool:
    """Whether an operator wants it down, or it is leaving for good."""
    if agent is None:
        return True
    if agent.stop is not None and agent.stop.after is After.REMOVE:
        return True
    return agent.intent in (Intent.STOPPED, Intent.KILLED) and agent.durable.intent_by == "ada"


def _is_stuck(agent: Agent) -> bool:
    return bool(agent.stuck)


def _is_well(agent: Agent) -> bool:
    if agent.stop is not None or agent.noted is not Health.HEALTHY:
        return False
    beats = agent.config.external or agent.config.heartbeat.required
    return agent.beat_at_ms is not None or not beats
