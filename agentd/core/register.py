"""The open incidents as they are kept, and those that may be opened again; no judgement.

Whatever changes here is noted, so that it is durable with the step that changed it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from agentd.config.units import format_duration
from agentd.core import incident as rules
from agentd.core.agent import Agent
from agentd.core.breaker import Breakers
from agentd.core.causes import Causes, Ended
from agentd.core.hosts import Hosts
from agentd.core.records import IncidentRecord, Member, Record

REMIND_EVERY_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class News:
    """A record to be journaled, and whether people are told of it."""

    record: Record
    incident: IncidentRecord
    kind: Literal["reminder", "acknowledge", "resolve"] | None = None


@dataclass(slots=True)
class Register:
    """`new_id` makes keys; fleet and breakers are those of the supervisor."""

    fleet: Mapping[str, Agent] = field(default_factory=dict)
    breakers: Breakers = field(default_factory=Breakers)
    new_id: Callable[[], str] = lambda: ""
    remind_every_ms: int = REMIND_EVERY_MS
    hosts: Hosts = field(default_factory=Hosts)
    begun: bool = False
    """The numbers given so far are known."""
    number_next: int = 1
    opened: dict[int, IncidentRecord] = field(default_factory=dict)
    causes: Causes = field(init=False)
    told: dict[str, int] = field(default_factory=dict)
    """Subject → when its trouble was told last."""
    resolved: dict[int, IncidentRecord] = field(default_factory=dict)
    """Those that may be opened again."""
    storage_failed: bool = False
    due: dict[int, int] = field(default_factory=dict)
    """Open incident → when time alone changes something."""
    next_due_ms: int | None = None
    """The first of these moments."""
    changed: dict[int, IncidentRecord] = field(default_factory=dict)
    """What has to be made durable with this step."""
    to_review: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.causes = Causes(self.fleet, self.breakers, self.hosts, self.opened)

    @property
    def bound(self) -> dict[str, int]:
        """Agent (or subject) → the open incident that it is part of."""
        return self.causes.bound

    def of(self, agent: str) -> IncidentRecord | None:
        """Return the open incident that an agent is part of."""
        number = self.bound.get(agent)
        return self.opened[number] if number is not None else None

    def of_lately(self, agent: str, since_ms: int) -> IncidentRecord | None:
        """Return the incident that an agent is part of, or has been since then."""
        ended = self.causes.ended.get(agent)
        if agent in self.bound or ended is None or ended.at_ms < since_ms:
            return self.of(agent)
        return self.known(ended.number)

    def known(self, number: int | None) -> IncidentRecord | None:
        """Return an incident that is open, or was until lately."""
        return None if number is None else self.opened.get(number) or self.resolved.get(number)

    def look_at(self, agent: str) -> None:
        """Something happened to an agent that may be well again now."""
        if agent in self.bound:
            self.to_review[agent] = None

    def has_work(self, now_ms: int) -> bool:
        """Whether somebody is to be looked at, or something is due."""
        due_ms = self.next_due_ms
        return bool(self.to_review) or (due_ms is not None and due_ms <= now_ms)

    def take_changed(self) -> list[IncidentRecord]:
        """Return what has to be made durable, once."""
        changed, self.changed = list(self.changed.values()), {}
        return changed

    # -- one incident --------------------------------------------------------

    def _open(self, record: Record, agent: Agent | None, name: str, now_ms: int) -> int:
        number = self.number_next
        self.number_next += 1
        named = agent.name if agent is not None else ""
        self._put(
            IncidentRecord(
                number=number,
                key=self.new_id(),
                cause=record.reason or record.event,
                severity=record.severity,
                summary=rules.summary_of(record, named),
                began_at_ms=_began_ms(record, agent, now_ms),
                opened_at_ms=now_ms,
                agent=agent.name if agent is not None else None,
                subject="" if agent is not None else name,
                shared_key=rules.shared_key(name) if agent is None else "",
                remind_at_ms=self._remind_ms(now_ms),
            )
        )
        return number

    def _open_again(self, number: int, now_ms: int) -> None:
        """It was resolved too early; whoever had acknowledged it did so for what was then."""
        incident = self.resolved.pop(number)
        self._put(
            replace(
                incident,
                recovered_at_ms=None,
                resolved_at_ms=None,
                resolution="",
                acknowledged_by="",
                acknowledged_at_ms=None,
                reopened=incident.reopened + 1,
                remind_at_ms=self._remind_ms(now_ms),
            )
        )

    def _bind(
        self,
        number: int,
        agent: Agent | None,
        name: str,
        record: Record,
        now_ms: int,
    ) -> None:
        """Note what ails it, and that it is part of this incident."""
        self.bound[name] = number
        if agent is None:
            self.told[name] = now_ms
            self._put_subject(number, name, over=False)
            return
        incident = self.opened[number]
        old = member_of(incident, name) or Member(name, now_ms)
        others = tuple(each for each in old.troubles if each not in (record.event, rules.UNWELL))
        had = rules.kinds_of(old) if old.left_at_ms is None else frozenset()
        member = Member(
            name,
            old.joined_at_ms,
            (*others, record.event),
            told_at_ms=now_ms,
            incarnation=agent.incarnation,
            kinds=tuple(sorted({*had, rules.TROUBLES[record.event].kind.value})),
        )
        self._put_member(incident, member)

    def _leave(self, name: str, now_ms: int) -> None:
        """It is no part of its incident any more."""
        number = self.bound.pop(name)
        self.told.pop(name, None)
        member = member_of(self.opened[number], name)
        kinds = rules.SUBJECT_KINDS if member is None else rules.kinds_of(member)
        self.causes.note_end(name, Ended(number, now_ms, kinds))
        self._put_subject(number, name, over=True)
        if member is not None:
            since_ms = member.well_since_ms if member.well_since_ms is not None else now_ms
            well = replace(member, troubles=(), well_since_ms=since_ms, left_at_ms=now_ms)
            self._put_member(self.opened[number], well)

    def _resolve(self, number: int, how: str, now_ms: int) -> list[News]:
        incident = self.opened.pop(number)
        self._due(number, None)
        wells = [each.well_since_ms for each in incident.members if each.well_since_ms is not None]
        recovered_ms = max(wells, default=now_ms)
        resolution = how
        if incident.restarts:
            times = "restart" if incident.restarts == 1 else "restarts"
            resolution += f", after {incident.restarts} {times}"
        done = replace(
            incident,
            recovered_at_ms=recovered_ms,
            resolved_at_ms=now_ms,
            resolution=resolution,
            remind_at_ms=None,
        )
        self.resolved[number] = self.changed[number] = done
        wanted = self.causes.forget_old()
        self.resolved = {other: one for other, one in self.resolved.items() if other in wanted}
        lasted_s = max(0, recovered_ms - done.began_at_ms) // 1000
        lasted = format_duration(lasted_s * 1000) if lasted_s else "less than a second"
        told = f"resolved: {resolution}; it lasted {lasted}"
        return [news_of(done, "incident.resolved", told, "info", kind="resolve")]

    # -- time ----------------------------------------------------------------

    def remind_every(self, every_ms: int, now_ms: int) -> None:
        """Take over `[alerts] remind_every`; a shorter one counts from now."""
        if every_ms == self.remind_every_ms:
            return
        self.remind_every_ms = every_ms
        for number, incident in list(self.opened.items()):
            if not incident.acknowledged_by:
                self._put(replace(incident, remind_at_ms=self._remind_ms(now_ms)))
                self._arm(number, now_ms)

    def _remind_ms(self, now_ms: int) -> int | None:
        return now_ms + self.remind_every_ms if self.remind_every_ms > 0 else None

    def _remind(self, number: int, now_ms: int) -> list[News]:
        incident = self.opened[number]
        if incident.remind_at_ms is None or incident.remind_at_ms > now_ms:
            return []
        incident = replace(incident, remind_at_ms=self._remind_ms(now_ms))
        self._put(incident)
        lasted = format_duration((now_ms - incident.opened_at_ms) // 1000 * 1000)
        told = f"still open after {lasted}: {incident.summary}"
        return [news_of(incident, "incident.updated", told, incident.severity, kind="reminder")]

    def _arm(self, number: int, now_ms: int) -> None:
        """Find when time alone changes something about an open incident."""
        incident = self.opened[number]
        moments = [incident.remind_at_ms, self._fades_ms(incident, now_ms)]
        moments += [self._moment(incident, member) for member in incident.members]
        due = [max(each, now_ms) for each in moments if each is not None]
        self._due(number, min(due, default=None))

    def _fades_ms(self, incident: IncidentRecord, now_ms: int) -> int | None:
        """Return when what is no agent is looked at again, by time alone."""
        subject = incident.subject
        if self.bound.get(subject) != incident.number:
            return None
        if subject == "daemon fault":
            return self.told[subject] + rules.FADES_MS
        if rules.lost_host(subject):  # while nobody can ask the others, it stays as it is
            due_ms = self.told[subject] + rules.HOST_FORGOTTEN_MS
            return due_ms if due_ms > now_ms else now_ms + rules.FADES_MS
        return None

    def _arm_sooner(self, number: int, looked_at: Iterable[str], now_ms: int) -> None:
        """As `_arm`, where nothing changed but, perhaps, the health of a few members.

        A heartbeat must not cost a look at all members. A moment that moved away costs one look
        too early, and that finds the next one.
        """
        incident, soonest_ms = self.opened[number], self.due.get(number)
        members = (member_of(incident, name) for name in looked_at)
        for moment_ms in (self._moment(incident, each) for each in members if each is not None):
            if moment_ms is not None and (soonest_ms is None or moment_ms < soonest_ms):
                soonest_ms = max(moment_ms, now_ms)
        if soonest_ms != self.due.get(number):
            self._due(number, soonest_ms)

    def _moment(self, incident: IncidentRecord, member: Member) -> int | None:
        """Return when time alone changes something about one member; None: it doesn't."""
        agent = self.fleet.get(member.agent)
        if agent is None or self.bound.get(member.agent) != incident.number:
            return None
        if member.well_since_ms is not None:
            return member.well_since_ms + rules.proof_ms(agent, incident.reopened)
        return rules.fades_ms(member) if rules.is_well(agent) else None

    def _due(self, number: int, at_ms: int | None) -> None:
        """Note when an incident is to be looked at; None: time changes nothing about it."""
        self.due.pop(number, None)
        if at_ms is not None:
            self.due[number] = at_ms
        self.next_due_ms = min(self.due.values(), default=None)

    # -- records -------------------------------------------------------------

    def _put(self, incident: IncidentRecord) -> None:
        if self.opened.get(incident.number) != incident:
            self.opened[incident.number] = self.changed[incident.number] = incident

    def _put_subject(self, number: int, name: str, *, over: bool) -> None:
        """Keep whether what an incident is about is well again; `name` may be another's."""
        incident = self.opened[number]
        if incident.subject == name:
            self._put(replace(incident, subject_over=over))

    def _put_member(self, incident: IncidentRecord, member: Member) -> None:
        if member_of(incident, member.agent) == member:
            return  # as with nearly every heartbeat
        members = {each.agent: each for each in incident.members} | {member.agent: member}
        self._put(replace(incident, members=tuple(members.values())))


def names(incident: IncidentRecord) -> Iterator[str]:
    """Yield what and whom an incident is about, those who are well again too."""
    if incident.subject:
        yield incident.subject
    yield from incident.agents


def member_of(incident: IncidentRecord, name: str) -> Member | None:
    """Return the part that an agent has in an incident."""
    return next((each for each in incident.members if each.agent == name), None)


def _began_ms(record: Record, agent: Agent | None, now_ms: int) -> int:
    """Return when trouble began: with the last sign of life, or with what is told of."""
    silent = record.event in ("agent.degraded", "agent.unreachable")
    if agent is None or not silent or agent.alive_at_ms is None:
        return now_ms
    return min(now_ms, agent.alive_at_ms)


def news_of(
    incident: IncidentRecord,
    event: str,
    message: str,
    severity: str,
    *,
    kind: Literal["reminder", "acknowledge", "resolve"] | None = None,
    **data: object,
) -> News:
    """Return the record of what became of an incident."""
    known: dict[str, object] = {"agents": list(incident.agents), "cause": incident.cause}
    record = Record(
        event=event,
        severity=severity,
        message=message,
        agent=incident.agent,
        reason=None if "." in incident.cause else incident.cause,
        data=known | data,
        incident=incident.number,
    )
    return News(record, incident, kind)
