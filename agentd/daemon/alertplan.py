"""What to send next of the alerts that wait for one sink: pure, with times in ms of BOOTTIME.

Rule 1: what is told of one agent, and what is told of one incident, goes out in its order:
while an older alert is on its way or waits for its next try, a younger one waits behind it.
Rule 2: alerts of one incident that wait together are one message; but trouble that nobody was
told of yet is no footnote of its end: it is told first, and the end by a message of its own.
Rule 3: more messages a minute than `digest_after` are one digest, and then one a minute; but
the first critical word of each incident doesn't wait for it, up to as many again a minute.
A receiver that keeps incidents itself (`apart`) is given each change of state for itself and
no digest: a digest would leave incidents open there that are over here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agentd.core.incident import rank
from agentd.store.rows import Delivery

# What breaks together is told together: wait so long for company after each alert...
GATHER_MS: Final = 1_000
# ...and at most so long after the first of them.
GATHER_MS_MAX: Final = 4_000
MINUTE_MS: Final = 60_000

# So many alerts make up one message at most: fifty agents at once, several times over.
FOLDED_MAX: Final = 400

BACKOFF_FIRST_MS: Final = 2_000
BACKOFF_MS_MAX: Final = 300_000
# The share of a wait that is left to chance, so that hosts don't knock in step.
JITTER: Final = 0.5
_DOUBLINGS_MAX: Final = 16

# A week: a long weekend of a dead receiver is over by then.
GIVE_UP_MS: Final = 7 * 24 * 3_600_000

_QUIET: Final = ("acknowledge", "resolve")
_CRITICAL: Final = rank("critical")


@dataclass(slots=True)
class Waiting:
    """One alert that waits for one sink."""

    delivery: Delivery
    due_ms: int
    attempts: int = 0
    error: str = ""
    alone: bool = False
    """Refused for good in company: from now on it is sent by itself."""
    refused_ms: int | None = None
    """When it was first refused for good."""
    recorded: bool = True
    """False: the store did not take it, and nobody else knows of it."""
    order: tuple[int, int] = (0, 0)
    """Its place among all that wait for its sink."""

    @property
    def uid(self) -> str:
        return self.delivery.row.uid

    @property
    def kind(self) -> str:
        return self.delivery.row.kind

    @property
    def agent_key(self) -> tuple[str, str]:
        """Whose order it keeps; a daily report waits for nobody."""
        if self.is_report:
            return ("report", "")
        return ("agent", self.delivery.row.record.agent or "")

    @property
    def incident_key(self) -> tuple[str, str]:
        return ("incident", self.delivery.row.dedup_key)

    @property
    def is_report(self) -> bool:
        return self.kind == "digest"

    @property
    def rank(self) -> int:
        return rank(self.delivery.row.severity)

    @property
    def is_critical(self) -> bool:
        """Whether it is news, and of the worst kind."""
        return self.kind == "trigger" and self.rank >= _CRITICAL


@dataclass(frozen=True, slots=True)
class Planned:
    """One message: the alerts in it, the oldest first."""

    parts: tuple[Waiting, ...]
    storm: bool = False
    """Beyond `digest_after`: the next one waits for a minute."""

    @property
    def is_digest(self) -> bool:
        """Whether it tells of several incidents."""
        return len({part.incident_key for part in self.parts}) > 1

    @property
    def keys(self) -> frozenset[tuple[str, str]]:
        """Whose younger alerts have to wait while it is on its way."""
        return frozenset(key for part in self.parts for key in (part.agent_key, part.incident_key))

    @property
    def newest(self) -> Waiting:
        """The part whose id the message bears: with more in it, it is another message."""
        return self.parts[-1]

    @property
    def kind(self) -> str:
        """What it says of its incident: the last word, a reminder of what was told being none."""
        if self.is_digest:
            return "digest"
        states = [part.kind for part in self.parts if part.kind != "reminder"]
        return states[-1] if states else "reminder"

    @property
    def lead(self) -> Waiting:
        """The part that is the headline: the end of an incident, else the worst that is new."""
        if self.kind in _QUIET:
            return next(part for part in reversed(self.parts) if part.kind == self.kind)
        return max(self.parts, key=lambda part: (part.kind != "reminder", part.rank))

    @property
    def criticals(self) -> frozenset[tuple[str, str]]:
        """Incidents of which it tells something critical."""
        return frozenset(part.incident_key for part in self.parts if part.is_critical)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the sink was sent lately."""

    sent_ms: Sequence[int] = ()
    """When messages were begun that arrived, or are under way."""
    storm_ms: int | None = None
    """When the last message beyond `digest_after` was begun."""
    criticals: Sequence[tuple[int, frozenset[tuple[str, str]]]] = ()
    """When messages with something critical were begun, and of which incidents they told."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How one sink wants it."""

    digest_after: int
    """Messages a minute that are sent one by one."""
    apart: bool = False
    """It keeps incidents itself, see the head of the file."""
    free: int = 4
    """Messages that may be begun now."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send now, and when to look again; None: when something happens."""

    send: tuple[Planned, ...] = ()
    wake_ms: int | None = None


def backoff_ms(attempts: int, jitter: float) -> int:
    """Return how long to wait after so many attempts that failed; `jitter` is from 0 to 1."""
    assert attempts >= 1, attempts
    full_ms = min(BACKOFF_FIRST_MS << min(attempts - 1, _DOUBLINGS_MAX), BACKOFF_MS_MAX)
    return int(full_ms * (1 - JITTER * jitter))


def is_too_old(raised_wall_ms: int, now_wall_ms: int) -> bool:
    """Tell whether to give up after one more attempt that failed."""
    return now_wall_ms - raised_wall_ms >= GIVE_UP_MS


def plan(
    waiting: Sequence[Waiting],
    busy: Iterable[tuple[str, str]],
    traffic: Traffic,
    rules: Rules,
    now_ms: int,
) -> Plan:
    """Choose what to send; `waiting` is in order and without what is on its way (`busy`)."""
    if not waiting:
        return Plan()
    sorted_ = _Sorted(rules, now_ms, set(busy))
    for one in waiting:
        sorted_.add(one)
    ready = sorted_.ready()
    recent = sum(now_ms - at_ms < MINUTE_MS for at_ms in traffic.sent_ms)
    if ready and not rules.apart and recent + sorted_.messages > rules.digest_after:
        ready = _as_digest(ready, sorted_, traffic, now_ms)
    return Plan(tuple(ready[: max(0, rules.free)]), min(sorted_.wakes, default=None))


def _as_digest(
    ready: Sequence[Planned], found: "_Sorted", traffic: Traffic, now_ms: int
) -> list[Planned]:
    """Return one message in place of many; what can't wait, reports and the refused aside."""
    aside = [one for one in ready if one.parts[0].is_report or one.parts[0].alone]
    company = found.company()
    urgent = _urgent(company, traffic, found.digest_after, now_ms)
    taken = frozenset[tuple[str, str]]().union(*(one.keys for one in urgent))
    rest = _behind(company, taken)
    free_ms = now_ms if traffic.storm_ms is None else traffic.storm_ms + MINUTE_MS
    if not rest or len(aside) == len(ready):
        return [*urgent, *aside]
    if now_ms < free_ms:
        found.wakes.append(free_ms)
        return [*urgent, *aside]
    return [*urgent, *aside, Planned(tuple(rest), storm=True)]


def _urgent(
    company: Sequence[Waiting], traffic: Traffic, at_most: int, now_ms: int
) -> list[Planned]:
    """Return a message for each incident that turned critical, with what goes before it."""
    recent = [keys for at_ms, keys in traffic.criticals if now_ms - at_ms < MINUTE_MS]
    told = frozenset[tuple[str, str]]().union(*recent)
    taken: set[tuple[str, str]] = set()
    urgent: list[Planned] = []
    for at, one in enumerate(company):
        if len(recent) + len(urgent) >= at_most:
            break
        if not one.is_critical or one.incident_key in told or one.due_ms > now_ms:
            continue
        parts = _with_older(company[: at + 1])
        if any({part.agent_key, part.incident_key} & taken for part in parts):
            continue  # it follows on one that is sent now
        urgent.append(Planned(tuple(_fit(parts))))
        taken |= urgent[-1].keys
    return urgent


def _with_older(company: Sequence[Waiting]) -> list[Waiting]:
    """Return the last of them, behind all that has to be told before it."""
    keys: set[tuple[str, str]] = set()
    parts: list[Waiting] = []
    for one in reversed(company):
        own = {one.agent_key, one.incident_key}
        if not parts or own & keys:
            keys |= own
            parts.append(one)
    return parts[::-1]


def _behind(company: Sequence[Waiting], taken: frozenset[tuple[str, str]]) -> list[Waiting]:
    """Return what is left to tell: nothing of whom something is on its way."""
    held, left = set(taken), []
    for one in company:
        keys = {one.agent_key, one.incident_key}
        if keys & held:
            held |= keys
        else:
            left.append(one)
    return _fit(left)


def _fit(parts: Sequence[Waiting]) -> list[Waiting]:
    """Return what may be one message: of several incidents it tells the trouble of each."""
    if len({one.incident_key for one in parts}) > 1:
        return list(parts)
    return list(_before_its_end(parts))


class _Sorted:
    """What waits, sorted into messages: one an incident, and what has to wait for those."""

    def __init__(self, rules: Rules, now_ms: int, busy: set[tuple[str, str]]) -> None:
        self._rules = rules
        self._now_ms = now_ms
        self._blocked = busy
        """Agents and incidents of which something is on its way, or waits for its next try."""
        self._later: set[tuple[str, str]] = set()
        """Agents and incidents of which something follows on a message that is sent first."""
        self._messages: dict[tuple[str, str], list[Waiting]] = {}
        self._message_of: dict[tuple[str, str], tuple[str, str]] = {}
        """In which message an agent is told of."""
        self._order: list[Waiting] = []
        self.wakes: list[int] = []

    @property
    def digest_after(self) -> int:
        return self._rules.digest_after

    @property
    def messages(self) -> int:
        """How many messages there would be one by one, in the end; a report is none of them."""
        return len({one.incident_key for one in self._order if not one.is_report})

    def add(self, one: Waiting) -> None:
        """Sort in the next one, which is younger than all before."""
        agent, incident = one.agent_key, one.incident_key
        in_backoff = one.attempts > 0 and one.due_ms > self._now_ms
        message = self._messages.get(incident)
        if {agent, incident} & self._blocked or (in_backoff and message is None):
            if in_backoff:
                self.wakes.append(one.due_ms)
            self._blocked |= {agent, incident}
            return
        self._order.append(one)
        if {agent, incident} & self._later or not self._fits(one, message):
            self._later |= {agent, incident}
        else:
            self._messages.setdefault(incident, []).append(one)
            self._message_of[agent] = incident

    def _fits(self, one: Waiting, message: list[Waiting] | None) -> bool:
        if self._message_of.get(one.agent_key, one.incident_key) != one.incident_key:
            return False  # something older of its agent goes first, in another message
        if message is None:
            return True
        if len(message) >= FOLDED_MAX or one.alone or message[0].alone:
            return False
        if _hides(one, message):
            return False
        return not self._rules.apart or _state(one) == _state(message[0])

    def ready(self) -> list[Planned]:
        """Return the messages that have waited for company long enough."""
        ready = []
        for parts in self._messages.values():
            fresh = [part.due_ms for part in parts if part.attempts == 0]
            at_ms = min(max(fresh, default=0), parts[0].due_ms + GATHER_MS_MAX - GATHER_MS)
            if at_ms <= self._now_ms or parts[0].attempts > 0:
                ready.append(Planned(tuple(parts)))
            else:
                self.wakes.append(at_ms)
        return ready

    def company(self) -> list[Waiting]:
        """Return all that may be told together, the oldest first."""
        fit: list[Waiting] = []
        held: set[tuple[str, str]] = set()
        for one in self._order:
            keys = {one.agent_key, one.incident_key}
            if one.alone or keys & held:
                held |= keys
            elif not one.is_report:
                fit.append(one)
        return fit[:FOLDED_MAX]


def _hides(one: Waiting, message: Sequence[Waiting]) -> bool:
    """Whether a message would be headed by an end, or a word, whose trouble nobody knows of."""
    return one.kind in _QUIET and any(part.kind == "trigger" for part in message)


def _before_its_end(parts: Iterable[Waiting]) -> Iterator[Waiting]:
    """Yield what of one incident may be one message."""
    told: list[Waiting] = []
    for part in parts:
        if _hides(part, told):
            return
        told.append(part)
        yield part


def _state(one: Waiting) -> str:
    """Return what an alert says of its incident; a reminder says it again."""
    return one.kind if one.kind in _QUIET else "trigger"
