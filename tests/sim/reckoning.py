"""An account of its own of what agents spend, and of the verdicts that must follow from it.

Rules are written down here a second time, as plainly as they can be, and compared with what
the core counts and tells. Where a daemon has just been started, the core's own word is where
this account goes on from; what was durable may not have shrunk by then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from operator import attrgetter
from statistics import median

from agentd.core import budgets
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.accounts import PICOS
from agentd.core.agent import Agent, Presence
from agentd.core.draining import is_draining
from agentd.core.lines import Call, Heartbeat, Line
from agentd.core.records import Durable, Mark, Record
from agentd.core.states import Intent
from agentd.core.supervisor import Supervisor
from tests.sim.world import Broken

CIVIL = ("hour", "day", "month")
UP_WORDS = ("start", "restart", "resume")
# After these, accounts are looked at even where nothing in them moved.
NEWS = (ev.PeriodsBegan, ev.Requested, ev.Configured)
_ACCOUNTED = attrgetter(
    *("incarnation", "tokens", "cost_micros", "cycle_from_tokens", "cycle_from_micros"),
    *("run", "hour", "day", "month", "budgets_exceeded", "budgets_overridden"),
)


@dataclass
class Usual:
    """The last cycles that were no spike, in tokens and, where they are known, in dollars."""

    tokens: list[int] = field(default_factory=list)
    micros: list[int] = field(default_factory=list)
    spiking: bool = False

    def spikes(self, agent: Agent, tokens: int, micros: int) -> bool:
        """Take in a cycle: more than so many times the median of the last ones is a spike."""
        config = agent.config.cost
        if not tokens and not micros:
            return False
        in_dollars = micros > 0 and len(self.micros) >= config.cycles_min
        seen, amount = (self.micros, micros) if in_dollars else (self.tokens, tokens)
        if len(seen) >= config.cycles_min:
            usual = median(seen[-config.window :])
            if amount > config.spike_factor * usual:
                begins, self.spiking = not self.spiking, True
                return begins
        self.spiking = False
        if tokens:
            self.tokens.append(tokens)
        if micros:
            self.micros.append(micros)
        return False


@dataclass
class Account:
    """What is known of one agent's spending from outside."""

    incarnation: int = 0
    calls: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Calls ended in the running cycle: (tokens, micro-dollars)."""
    called: tuple[int, int] = (0, 0)
    """What they add up to, with those of a name that was used again."""
    unpriced: int = 0
    """Calls of the running cycle that didn't say their cost."""
    usual: Usual = field(default_factory=Usual)
    told: set[str] = field(default_factory=set)
    """Budgets of whose running period an excess was told, or that a person overrode."""
    warned: set[str] = field(default_factory=set)
    tokens: int = 0
    micros: int = 0
    marks: dict[str, Mark | None] = field(default_factory=dict)
    against: int = 0
    """Judgements in a row that it is no closer to its goal, each sure enough."""
    stood: tuple[object, ...] = ()

    def moved(self, agent: Agent) -> bool:
        """Whether anything that budgets are judged by is not as it was when last asked."""
        now = _ACCOUNTED(agent.durable)
        moved, self.stood = now != self.stood, now
        return moved


class Reckoning:
    """Watches spending, budgets, spikes and the judge in every step of one world."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}

    def before_step(self, core: Supervisor, event: ev.Event) -> dict[str, tuple[int, int]] | None:
        """Return what each agent has spent so far, where the step's lines can be reckoned."""
        if not isinstance(event, ev.LinesReceived):
            return None
        agent = core.agents.get(event.agent)
        if agent is None or not _is_heard(agent, event.incarnation):
            return None
        return {agent.name: (agent.durable.tokens, agent.durable.cost_micros)}

    def after_step(
        self,
        core: Supervisor,
        event: ev.Event,
        effects: list[do.Effect],
        before: dict[str, tuple[int, int]] | None,
        now_ms: int,
    ) -> None:
        """Compare what was counted and told with what had to be."""
        if isinstance(event, ev.Started):
            self.accounts.clear()  # `over_crash` goes on from there
            return
        records = [effect.record for effect in effects if isinstance(effect, do.Journal)]
        for effect in effects:
            if isinstance(effect, do.Forget):
                self.accounts.pop(effect.agent, None)
        for name, agent in core.agents.items():
            account = self.accounts.setdefault(name, Account())
            if account.incarnation != agent.incarnation:
                account.incarnation, account.against = agent.incarnation, 0
                _begin_cycle(account)
            mine = [record for record in records if record.agent == name]
            if before is not None and name in before and isinstance(event, ev.LinesReceived):
                found = self._spent(agent, account, event.lines, before[name], now_ms)
                told = any(record.event == "cost.spike" for record in mine)
                if told is not found:
                    raise Broken(f"{name}: spike {told}, by reckoning {found}: {account.usual}")
            if _is_let_go_on(event, mine):
                account.usual.spiking = False  # the next spike is news to whoever let it go on
            if mine or account.moved(agent) or isinstance(event, NEWS):
                self._periods(agent, account, event)
                self._budgets(agent, account, event, mine)
            self._judged(agent, account, event, mine)

    # -- what was spent ------------------------------------------------------

    def _spent(
        self,
        agent: Agent,
        account: Account,
        lines: Iterable[Line],
        before: tuple[int, int],
        now_ms: int,
    ) -> bool:
        """The larger of the calls and the heartbeat; each call once; nothing twice. Whether a
        spike begins.
        """
        tokens, micros = before
        spiked = False
        for line in lines:
            if isinstance(line, Call):
                more = _call(account, line)
            elif isinstance(line, Heartbeat):
                more, begins = self._cycle(agent, account, line, now_ms)
                spiked = spiked or begins
            else:
                continue
            tokens, micros = tokens + more[0], micros + more[1]
        found = (agent.durable.tokens, agent.durable.cost_micros)
        if found != (tokens, micros):
            raise Broken(f"{agent.name}: {before} and {lines} are {(tokens, micros)}, not {found}")
        return spiked

    def _cycle(
        self, agent: Agent, account: Account, beat: Heartbeat, now_ms: int
    ) -> tuple[tuple[int, int], bool]:
        """What a heartbeat adds to its calls, and whether its cycle is a spike."""
        if beat.off_thread and beat.tokens is None and beat.cost_micros is None:
            return (0, 0), False
        called = account.called
        more_tokens = max(0, (beat.tokens or 0) - called[0])
        more_micros = max(0, (beat.cost_micros or 0) - called[1])
        known = beat.cost_micros is not None or not (more_tokens or account.unpriced)
        _begin_cycle(account)
        spiked = False
        if not is_draining(agent, now_ms):
            micros = called[1] + more_micros if known else 0
            spiked = account.usual.spikes(agent, called[0] + more_tokens, micros)
        return (more_tokens, more_micros), spiked

    # -- periods and budgets -------------------------------------------------

    def _periods(self, agent: Agent, account: Account, event: ev.Event) -> None:
        """INV11: what is spent never shrinks in its period, and is nothing when the next begins."""
        durable = agent.durable
        if durable.tokens < account.tokens or durable.cost_micros < account.micros:
            raise Broken(f"INV11 {agent.name}: totals shrank by {event}")
        account.tokens, account.micros = durable.tokens, durable.cost_micros
        olds = dict(account.marks)
        for period in (*CIVIL, "run"):
            mark: Mark | None = getattr(durable, period)
            old = olds.get(period)
            account.marks[period] = mark
            if old is None or mark is None:
                continue
            began = _spends(mark) != _spends(old)
            if period in CIVIL:
                self._civil(agent, event, period, olds, began=began)
            elif began and not _begins_run(event):
                raise Broken(f"INV11 {agent.name}: its run was forgotten by {event}")
            if began:
                _forget(account, period)
            if began and period == "run":
                calls = dict(account.calls)  # the process that told them may tell them again
                _begin_cycle(account)
                account.calls = calls

    def _civil(
        self,
        agent: Agent,
        event: ev.Event,
        period: str,
        olds: Mapping[str, Mark | None],
        *,
        began: bool,
    ) -> None:
        """A civil period ends when its own end has come, or a longer one's, and never else."""
        if not isinstance(event, ev.PeriodsBegan):
            if began:
                raise Broken(f"INV11 {agent.name}: its {period} was forgotten by {event}")
            return
        over = False
        for each in CIVIL[CIVIL.index(period) :]:
            old, span = olds.get(each), getattr(event.periods, each)
            over = over or (old is not None and span.begins_ms >= (old.ends_ms or 0))
        if began and not over:
            raise Broken(f"INV11 {agent.name}: its {period} {olds[period]} ended by {event}")
        mark: Mark = getattr(agent.durable, period)
        stale = [name for name in agent.durable.budgets_overridden if name.endswith(f"_{period}")]
        if over and stale:
            raise Broken(f"{agent.name}: {stale} overridden beyond the {period}")
        if over and (mark.tokens, mark.micros) != (agent.durable.tokens, agent.durable.cost_micros):
            raise Broken(f"{agent.name}: its {period} is over, and {mark} stands")

    def _budgets(
        self, agent: Agent, account: Account, event: ev.Event, records: list[Record]
    ) -> None:
        """Whatever is exceeded was told, once in its period; whatever is nearly spent, too."""
        for record in records:
            name = str(record.data.get("budget"))
            if record.event == "budget.exceeded":
                account.told.add(name)
                self._stopped(agent, name)
            elif record.event == "budget.warning":
                account.warned.add(name)
        for limit in budgets.standing(agent):
            spent, name = budgets.used(agent.durable, limit), limit.name
            by_hand = isinstance(event, ev.Requested) and event.cmd in UP_WORDS
            if spent > limit.amount and by_hand:
                account.told.add(name)
            if spent > limit.amount and name not in account.told:
                raise Broken(f"{agent.name}: {spent} of {limit} spent, and nobody is told: {event}")
            if not 0 < spent <= limit.amount or name in account.warned | account.told:
                continue
            share = Fraction(str(agent.config.budget.warn_at))
            if spent >= limit.amount * share:
                raise Broken(f"{agent.name}: {spent} of {limit}, and nobody is warned: {event}")

    def _stopped(self, agent: Agent, budget: str) -> None:
        action = agent.config.budget.on_exceeded
        if action != "alert" and agent.intent is Intent.UP and not agent.config.external:
            raise Broken(f"{agent.name}: {budget} is exceeded, and it goes on in spite of {action}")

    # -- the judge -----------------------------------------------------------

    def _judged(
        self, agent: Agent, account: Account, event: ev.Event, records: list[Record]
    ) -> None:
        """Drift is confirmed by so many judgements in a row, each sure enough."""
        mine = isinstance(event, ev.Judged) and event.agent == agent.name
        if mine and isinstance(event, ev.Judged) and event.incarnation == agent.incarnation:
            sure = event.confidence >= agent.config.judge.confidence
            if not event.error:
                account.against = account.against + 1 if sure and not event.closer else 0
        for record in records:
            if record.event != "drift.detected":
                continue
            if account.against < agent.config.judge.confirm:
                raise Broken(f"{agent.name}: drift after {account.against} judgements")

    # -- a daemon's start ----------------------------------------------------

    def over_crash(self, before: dict[str, Durable], core: Supervisor) -> None:
        """INV11 over a crash; then this account goes on from what the daemon knows."""
        for name, agent in core.agents.items():
            old, durable = before.get(name), agent.durable
            if old is not None:
                if (durable.tokens, durable.cost_micros) < (old.tokens, old.cost_micros):
                    raise Broken(f"INV11 {name}: totals shrank in a crash")
                if durable.run != old.run and durable.execution == old.execution:
                    raise Broken(f"INV11 {name}: what its run has spent was forgotten in a crash")
            account = self.accounts[name] = Account(
                agent.incarnation, tokens=durable.tokens, micros=durable.cost_micros
            )
            spikes = agent.spending.spikes
            micros = [picos // PICOS for picos in spikes.picos.kept]
            account.usual = Usual(list(spikes.tokens.kept), micros)
            account.unpriced = durable.cycle_unpriced
            account.called = (
                durable.tokens - durable.cycle_from_tokens,
                durable.cost_micros - durable.cycle_from_micros,
            )
            account.told = {*durable.budgets_exceeded, *durable.budgets_overridden}
            account.warned = set(durable.budgets_warned)
            account.marks = {period: getattr(durable, period) for period in (*CIVIL, "run")}


def _call(account: Account, line: Call) -> tuple[int, int]:
    """What the end of a call adds; told again, it adds what it tells more."""
    if line.start:
        account.calls.pop(line.call, None)
        return 0, 0
    if line.usage is None and line.cost_micros is None:
        return 0, 0
    account.unpriced += line.cost_micros is None
    was = account.calls.get(line.call, (0, 0))
    now = line.usage.total_tokens if line.usage else 0, line.cost_micros or 0
    account.calls[line.call] = (max(was[0], now[0]), max(was[1], now[1]))
    more = max(0, now[0] - was[0]), max(0, now[1] - was[1])
    account.called = account.called[0] + more[0], account.called[1] + more[1]
    return more


def _begin_cycle(account: Account) -> None:
    account.calls.clear()
    account.called, account.unpriced = (0, 0), 0
    _forget(account, "cycle")


def _spends(mark: Mark) -> tuple[int, int]:
    return mark.tokens, mark.micros


def _is_let_go_on(event: ev.Event, records: list[Record]) -> bool:
    """Whether a person resumed it in this step."""
    resumed = any(record.event == "agent.resumed" for record in records)
    return resumed and isinstance(event, ev.Requested) and event.cmd == "resume"


def _begins_run(event: ev.Event) -> bool:
    """A person's word may, and so may a start after a run that was completed: also one that
    waited for other hosts.
    """
    waited = ev.Requested | ev.Ticked | ev.Configured | ev.HostsSeen
    return isinstance(event, waited) or _is_about_process(event)


def _forget(account: Account, period: str) -> None:
    over = {name for name in account.told | account.warned if name.endswith(f"_{period}")}
    account.told -= over
    account.warned -= over


def _is_heard(agent: Agent, incarnation: int) -> bool:
    if agent.config.external:
        return incarnation == 0
    return agent.presence is Presence.ALIVE and incarnation == agent.incarnation


def _is_about_process(event: ev.Event) -> bool:
    return isinstance(event, ev.ProcessEvent | ev.LinesReceived | ev.AgentAsked | ev.StorageChanged)
