"""All open incidents, and those that ended lately: what joins which, what is over, what is due.

One incident is about one cause. Trouble of an agent that has an open incident is part of it;
else it joins the incident of what the agent depends on, of the breaker that explains it, the
one that it had until just now, or that of others who failed in the same way within seconds.
An agent is in one open incident at most, and leaves it as soon as it is proven to be well.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from agentd.config.units import format_duration
from agentd.core import incident as rules
from agentd.core.agent import Agent
from agentd.core.breaker import BreakerState
from agentd.core.causes import Ended
from agentd.core.incident import Trouble
from agentd.core.records import IncidentRecord, Member, Record, first_clause
from agentd.core.register import News, Register, member_of, names, news_of

OPEN_MAX: Final = 1_000
MEMBERS_MAX: Final = 1_000


@dataclass(slots=True)
class Incidents(Register):
    """The registry with its judgement."""

    # -- what happened -------------------------------------------------------

    def take(self, record: Record, agent: Agent | None, now_ms: int, *, told: bool) -> list[News]:
        """Find the incident of a record, and say what that means for it."""
        if not self.begun:
            return []
        name = agent.name if agent is not None else rules.subject_of(record)
        trouble = rules.trouble_of(record, agent, told=told)
        news: list[News] = []
        if name and trouble is not None:
            news = self._troubled(record, agent, name, trouble, now_ms, told=told)
        record.incident = self.bound.get(name)
        if record.incident is not None:
            self.to_review[name] = None
            if record.event == "agent.restarting":
                incident = self.opened[record.incident]
                self._put(replace(incident, restarts=incident.restarts + 1))
        return news

    def _troubled(
        self,
        record: Record,
        agent: Agent | None,
        name: str,
        trouble: Trouble,
        now_ms: int,
        *,
        told: bool,
    ) -> list[News]:
        """Let new trouble be part of an incident, a new one if need be."""
        news: list[News] = []
        number = self.bound.get(name)
        joins = number is None
        if number is None:
            number = self.causes.find(record, agent, name, trouble, now_ms)
        if number in self.opened and joins and len(self.opened[number].members) >= MEMBERS_MAX:
            number = None
        if number is None and not told:
            return []  # it was explained to people before, and what explained it is over
        before = self.opened.get(number) if number is not None else None
        if number is None:
            news = self._make_room(now_ms)
            number = self._open(record, agent, name, now_ms)
        elif before is None:
            self._open_again(number, now_ms)
        named = rules.who(self.opened[number])
        self._bind(number, agent, name, record, now_ms)
        self._worsen(number, record, before=named, name=name)
        self.causes.note_alike(record, number, now_ms)
        return news + self._tell(number, before, record, agent if joins else None)

    # -- opening and growing -------------------------------------------------

    def _worsen(self, number: int, record: Record, *, before: str, name: str) -> None:
        """Severity only rises; it is called by what is worst, and of that by what says most."""
        incident = self.opened[number]
        incident = replace(incident, summary=rules.renamed(incident, before))
        worse = rules.rank(record.severity) > rules.rank(incident.severity)
        if incident.agent == name and rules.tells_more(record, incident):
            told = rules.summary_of(record, rules.who(incident))
            incident = replace(incident, summary=told)
        if worse:
            incident = replace(incident, severity=record.severity)
        if record.reason and incident.agent == name and "." in incident.cause:
            incident = replace(incident, cause=record.reason)
        self._put(incident)

    def _tell(
        self, number: int, before: IncidentRecord | None, record: Record, joined: Agent | None
    ) -> list[News]:
        """Say what became of an incident by what was told."""
        now = self.opened[number]
        said = first_clause(record.message)[: rules.MESSAGE_CHARS_MAX]
        if before is None:
            came = first_clause(rules.summary_of(record, record.agent or ""))
            told = f"opened again, as it came back: {came}" if now.reopened else now.summary
            return [news_of(now, "incident.opened", told, now.severity, reopened=now.reopened)]
        if joined is not None:
            again = " again" if joined.name in before.agents else ""
            told = f"{joined.name} is part of it{again}: {said}"
            return [news_of(now, "incident.updated", told, now.severity, joined=joined.name)]
        if before.severity != now.severity:
            told = f"{now.severity} now: {said}"
            return [news_of(now, "incident.updated", told, now.severity)]
        return []

    def _make_room(self, now_ms: int) -> list[News]:
        """Close the oldest where too many are open: what isn't looked at must not pile up."""
        if len(self.opened) < OPEN_MAX:
            return []
        oldest = next(iter(self.opened))
        for name in [name for name, number in self.bound.items() if number == oldest]:
            self._leave(name, now_ms)
        return self._resolve(oldest, f"closed unresolved: {OPEN_MAX} others are open", now_ms)

    # -- an operator ---------------------------------------------------------

    def heed(self, agent: Agent, cmd: str, who: str, now_ms: int) -> list[News]:
        """An operator has acted on an agent: its incident is in somebody's hands."""
        incident = self.of(agent.name)
        if incident is None:
            return []
        news = []
        if not incident.acknowledged_by:
            news = self._acknowledge(incident, who, f"acknowledged by {who}, with `{cmd}`", now_ms)
        incident = self.opened[incident.number]
        member = member_of(incident, agent.name)
        assert member is not None, agent.name
        if cmd in ("stop", "kill") and not rules.is_stuck(agent):
            self._leave(agent.name, now_ms)
            over = self._close_if_over(incident.number, f"{cmd} by {who}", now_ms)
            return over or news  # its end says who ended it
        if cmd in ("resume", "reset"):
            self._put_member(incident, replace(member, troubles=rules.of_health(member)))
            self.look_at(agent.name)
        return news

    def acknowledge(
        self, number: int, who: str, reason: str, now_ms: int
    ) -> tuple[str, list[News]]:
        """Take note that somebody has it in hand; return what to tell them.

        `KeyError`: there never was an incident of this number.
        """
        if not 1 <= number < self.number_next:
            raise KeyError(number)
        incident = self.opened.get(number)
        if incident is None:
            return f"incident {number} is resolved already", []
        if incident.acknowledged_by:
            return f"acknowledged already by {incident.acknowledged_by}", []
        return "acknowledged: no more reminders", self._acknowledge(
            incident, who, f"acknowledged by {who}" + (f": {reason}" if reason else ""), now_ms
        )

    def _acknowledge(
        self, incident: IncidentRecord, who: str, told: str, now_ms: int
    ) -> list[News]:
        taken = replace(incident, acknowledged_by=who, acknowledged_at_ms=now_ms, remind_at_ms=None)
        self._put(taken)
        return [
            news_of(
                taken, "incident.updated", told, "info", kind="acknowledge", acknowledged_by=who
            )
        ]

    # -- what is over --------------------------------------------------------

    def settle(self, now_ms: int) -> list[News]:
        """Look at whoever something happened to, and at what is due; say what that changes."""
        late = []
        if self.next_due_ms is not None and self.next_due_ms <= now_ms:
            late = [number for number, due_ms in self.due.items() if due_ms <= now_ms]
        if not late and not self.to_review:
            return []
        news: list[News] = []
        for number in late:
            self.to_review |= dict.fromkeys(self._parts(number))
            news += self._close_if_over(number, "its agents are in trouble no more", now_ms)
        looked, self.to_review = list(self.to_review), {}
        touched: dict[int, list[str]] = {number: [] for number in late}
        for name in looked:
            part_of = self.bound.get(name)
            if part_of is not None:
                touched.setdefault(part_of, []).append(name)
                news += self._review(part_of, name, now_ms)
        for number, reviewed in touched.items():
            if number in self.opened:
                news += self._remind(number, now_ms)
                if number in late or number in self.changed:
                    self._arm(number, now_ms)
                else:
                    self._arm_sooner(number, reviewed, now_ms)
        return news

    def restore(self, incidents: Iterable[IncidentRecord], number_next: int, now_ms: int) -> None:
        """Go on with what was open when the daemon before ended; all of it is looked at.

        What was resolved by then may be opened again.
        """
        self.begun = True
        self.number_next = number_next
        for incident in incidents:
            self.number_next = max(self.number_next, incident.number + 1)
            if incident.resolved_at_ms is not None:
                self._restore_resolved(incident, incident.resolved_at_ms)
                continue
            self.opened[incident.number] = incident
            self._due(incident.number, now_ms)
            if incident.subject and incident.subject_over:
                ended = Ended(incident.number, now_ms, rules.SUBJECT_KINDS)
                self.causes.note_end(incident.subject, ended)
            elif incident.subject:
                self.bound[incident.subject] = incident.number
                self.told[incident.subject] = now_ms
            for member in incident.members:
                if member.left_at_ms is None:
                    self.bound[member.agent] = incident.number
                else:
                    self._restore_end(incident, member, member.left_at_ms)

    def _restore_resolved(self, incident: IncidentRecord, resolved_at_ms: int) -> None:
        self.resolved[incident.number] = incident
        if incident.subject:
            ended = Ended(incident.number, resolved_at_ms, rules.SUBJECT_KINDS)
            self.causes.note_end(incident.subject, ended)
        for member in incident.members:
            left_ms = member.left_at_ms
            self._restore_end(incident, member, resolved_at_ms if left_ms is None else left_ms)

    def _restore_end(self, incident: IncidentRecord, member: Member, left_at_ms: int) -> None:
        ended = Ended(incident.number, left_at_ms, rules.kinds_of(member))
        self.causes.note_end(member.agent, ended)

    def shift(self, gap_ms: int, now_ms: int) -> None:
        """Time that nobody watched proves nothing."""
        for number, incident in list(self.opened.items()):
            for member in incident.members:
                if member.well_since_ms is not None and self.bound.get(member.agent) == number:
                    since_ms = min(now_ms, member.well_since_ms + gap_ms)
                    self._put_member(self.opened[number], replace(member, well_since_ms=since_ms))
            self._arm(number, now_ms)

    def _review(self, number: int, name: str, now_ms: int) -> list[News]:
        """See whether somebody is well again, and for long enough."""
        incident, agent = self.opened[number], self.fleet.get(name)
        if name == incident.subject:
            over = self._subject_over(name, now_ms)
            if over:
                self._leave(name, now_ms)
            return self._close_if_over(number, over, now_ms) if over else []
        member = member_of(incident, name)
        assert member is not None, name
        gone = "it was removed" if agent is None else rules.rests(agent, member)
        if agent is None or (gone and not rules.is_stuck(agent)):
            self._leave(name, now_ms)
            return self._close_if_over(number, gone, now_ms)
        left = rules.troubles_left(agent, member, now_ms)
        if left:
            self._put_member(incident, replace(member, troubles=left, well_since_ms=None))
            return []
        since_ms = member.well_since_ms if member.well_since_ms is not None else now_ms
        self._put_member(incident, replace(member, troubles=(), well_since_ms=since_ms))
        if now_ms < since_ms + rules.proof_ms(agent, incident.reopened):
            return []
        self._leave(name, now_ms)
        return self._close_if_over(number, "healthy again", now_ms)

    def _subject_over(self, subject: str, now_ms: int) -> str:
        """Return why what is no agent is well again; empty: it isn't."""
        kind, _, name = subject.partition(" ")
        if kind == "breaker":
            breaker = self.breakers.known.get(name)
            closed = breaker is None or breaker.state is BreakerState.CLOSED
            return "the dependency answers again" if closed else ""
        if subject == "daemon storage":
            return "" if self.storage_failed else "the storage works again"
        if rules.lost_host(subject):
            return self._host_over(rules.lost_host(subject), now_ms)
        if subject == rules.FLEET_BUDGET_SUBJECT:
            return self._budget_over()
        faded = now_ms >= self.told[subject] + rules.FADES_MS
        return f"not seen again for {format_duration(rules.FADES_MS)}" if faded else ""

    def _host_over(self, host: str, now_ms: int) -> str:
        """Return why a lost host is waited for no more; empty: it is."""
        if not self.hosts.configured:
            return rules.NO_OTHERS
        if host in self.hosts.here:
            return "the host is back"
        forgotten = self.hosts.connected and host not in self.hosts.lost
        if forgotten and now_ms >= self.told[rules.host_subject(host)] + rules.HOST_FORGOTTEN_MS:
            return "no host knows of it any more"
        return ""

    def _budget_over(self) -> str:
        """Return why the budget over all hosts is exceeded no more; empty: it is."""
        hosts = self.hosts
        unknown = hosts.is_unheard and hosts.budget_micros is not None
        if hosts.over_budget or unknown:
            return ""
        return "there is room in the fleet's budget again" if hosts.configured else rules.NO_OTHERS

    def _close_if_over(self, number: int, how: str, now_ms: int) -> list[News]:
        return [] if self._parts(number) else self._resolve(number, how, now_ms)

    def _parts(self, number: int) -> list[str]:
        """Return what and who is part of an open incident, and hasn't left it."""
        return [name for name in names(self.opened[number]) if self.bound.get(name) == number]
