"""What must hold after each step, judged by what was said and done, not by the core's word.

An invariant is named by its number where it is raised; HELD_ELSEWHERE has those that the core
can't see, and where they are proven.
"""

from dataclasses import dataclass, field

from agentd.core import deadlines, liveness
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.agent import After, Agent, Presence, local_dependencies
from agentd.core.dependencies import is_due
from agentd.core.records import Durable, Record
from agentd.core.remains import GIVE_UP_MS
from agentd.core.restart import SPAWN_GAP_MS
from agentd.core.states import Intent, State, StopReason
from agentd.core.supervisor import Supervisor
from tests.sim.world import Broken, World

HELD_ELSEWHERE = {
    "INV6": ("event ids are the store's", "tests/store", "tests/faults/guard.py"),
    "INV9": ("which process a pidfd is", "tests/daemon/test_processes_trees.py"),
    "INV12": ("zombies, files and cgroups", "tests/faults/guard.py", "tests/guest"),
}
"""What of an invariant lies outside the core, and the tests of real processes that hold it."""
DOWN_WORDS = ("kill", "stop", "pause")
UP_WORDS = ("start", "restart", "resume")
BY_HAND = (StopReason.USER_RESTARTED, StopReason.CONFIG_CHANGED)
IN_ORDER = (StopReason.USER_STOPPED, StopReason.DAEMON_STOPPED)
UNCHARGED = (*BY_HAND, *IN_ORDER, StopReason.USER_KILLED, StopReason.HOST_REBOOTED)
FORGIVING = frozenset({"reset", *UP_WORDS})


@dataclass
class Ledger:
    """What is known of one agent from outside."""

    word: str = ""
    """The operator's (or the policy's) last word that keeps it down."""
    held: bool = False
    started: set[int] = field(default_factory=set)
    exited: set[int] = field(default_factory=set)
    escalated: bool = False
    failures: int = 0
    restarted_at_ms: int | None = None
    spawned_at_ms: int | None = None
    forgiven: bool = True
    """Something since the last automatic restart began the row anew."""
    cooldown_until_ms: int | None = None
    """When the present cooldown ends, as of the last step."""
    cooldown_left_ms: int | None = None
    """What was left of it when the agent was paused."""
    frozen: tuple[int, int | None] | None = None
    """Of a frozen incarnation: its number, and how long it had been silent."""
    thawed: int | None = None
    """Its incarnation that was let go last, and not frozen since."""


class Invariants:
    """Watches every step of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledgers: dict[str, Ledger] = {}

    def of(self, agent: str) -> Ledger:
        return self.ledgers.setdefault(agent, Ledger())

    def after_step(self, core: Supervisor, event: ev.Event, effects: list[do.Effect]) -> None:
        """Check one step whose effects are durable, before any of them is done."""
        if isinstance(event, ev.Requested):
            self._heed(core, event, effects)
        for effect in effects:
            if isinstance(effect, do.Journal) and effect.record.agent is not None:
                self._journalled(core, event, effect.record)
            elif isinstance(effect, do.Spawn):
                self._spawned(core, effect)
            elif isinstance(effect, do.Signal | do.KillTree | do.Freeze | do.Thaw):
                self._aimed(core, effect)
                self._clocks(core, effect)
            elif isinstance(effect, do.Forget):
                self.ledgers.pop(effect.agent, None)
        for agent in core.agents.values():
            self._failures(agent, event)
            cools = agent.state is State.COOLDOWN
            until_ms = agent.durable.cooldown_until_ms if cools else None
            before_ms = self.of(agent.name).cooldown_until_ms
            if isinstance(event, ev.Gap | ev.PeriodsBegan) and before_ms not in (None, until_ms):
                raise Broken(f"INV8 {agent.name}: its cooldown moved by {event}")
            self.of(agent.name).cooldown_until_ms = until_ms
        self._awake(core)

    def _heed(self, core: Supervisor, event: ev.Requested, effects: list[do.Effect]) -> None:
        """Note what an operator was promised."""
        replies = [effect for effect in effects if isinstance(effect, do.Reply)]
        mine = [reply for reply in replies if reply.request == event.request]
        if event.cmd == "wait":
            return
        if len(mine) != 1:
            raise Broken(f"{event.cmd} was answered {len(mine)} times")
        rows = (mine[0].result or {}).get("agents", [])
        assert isinstance(rows, list)
        for row in rows:
            if "error" in row or row.get("skipped"):
                continue
            ledger = self.of(row["name"])
            if event.cmd in DOWN_WORDS and not (event.cmd == "stop" and ledger.word == "kill"):
                self._pause_cooldown(core.agents[row["name"]], ledger, event.cmd)
                ledger.word = event.cmd
            elif event.cmd in UP_WORDS:
                self._resume_cooldown(core.agents[row["name"]], ledger)
                ledger.word = ""
            elif event.cmd in ("hold", "unhold"):
                ledger.held = event.cmd == "hold"
            if event.cmd in FORGIVING:
                ledger.forgiven = True
            if event.cmd == "reset":
                ledger.cooldown_left_ms = None

    def _pause_cooldown(self, agent: Agent, ledger: Ledger, cmd: str) -> None:
        until_ms, ledger.cooldown_left_ms = ledger.cooldown_until_ms, None
        if cmd == "pause" and agent.state is State.PAUSED and until_ms is not None:
            ledger.cooldown_left_ms = max(0, until_ms - self.world.now_ms)

    def _resume_cooldown(self, agent: Agent, ledger: Ledger) -> None:
        """INV4: the clocks of a paused agent stand still."""
        left_ms, ledger.cooldown_left_ms = ledger.cooldown_left_ms, None
        if not left_ms or agent.state is State.STOPPED:
            return
        if agent.state is not State.COOLDOWN:
            raise Broken(f"INV4 {agent.name}: the pause ate a cooldown, {agent.state}")
        now_left_ms = (agent.durable.cooldown_until_ms or 0) - self.world.now_ms
        if now_left_ms < left_ms:
            raise Broken(f"INV4 {agent.name}: {left_ms} ms were left, now {now_left_ms}")

    def _journalled(self, core: Supervisor, event: ev.Event, record: Record) -> None:
        assert record.agent is not None
        ledger, incarnation = self.of(record.agent), record.incarnation or 0
        if record.event in ("agent.started", "agent.exited"):
            self._once(ledger, record, incarnation)
        elif record.event == "agent.starting" and "cause" in record.data:
            ledger.escalated = False
            self._starting(core, event, record.agent, ledger)
        elif record.event == "agent.escalated":
            if ledger.escalated:
                raise Broken(f"INV14 {record.agent}: escalated twice in one episode")
            ledger.escalated = True
        elif record.event in ("agent.held", "agent.unheld"):
            ledger.held = record.event == "agent.held"
        elif record.event in ("agent.killed", "agent.paused"):
            self._held_back(event, record, ledger)
        elif record.event in ("agent.degraded", "agent.unreachable") and ledger.word == "pause":
            raise Broken(f"INV4 {record.agent}: {record.event} while paused")
        elif record.event == "agent.stopping" and record.reason in IN_ORDER:
            self._in_order(core, core.agents[record.agent])
        elif record.event == "agent.restarting":
            self._restarting(core.agents[record.agent], ledger)

    def _in_order(self, core: Supervisor, agent: Agent) -> None:
        """What is about to go down waits for its dependants that are on their way down, too."""
        now_ms = self.world.now_ms
        if agent.stop is None or agent.stop.begun_at_ms != now_ms:
            return
        for other in core.agents.values():
            if agent.name not in other.config.depends_on or not other.has_process:
                continue
            stop = other.stop
            killed_ms = stop.killed_at_ms if stop is not None else None
            if killed_ms is not None and now_ms >= killed_ms + GIVE_UP_MS:
                continue  # nobody waits for what SIGKILL doesn't end
            afoot = stop is not None and (stop.begun_at_ms < now_ms or stop.reason in IN_ORDER)
            if afoot or other.name in core.leaving:
                raise Broken(f"{agent.name}: stopped before {other.name}, which depends on it")

    def _once(self, ledger: Ledger, record: Record, incarnation: int) -> None:
        """INV7: a run begins once, and ends once, after that."""
        before = ledger.exited
        if record.event == "agent.started":
            before = ledger.started | ledger.exited
            ledger.started.add(incarnation)
        if incarnation in before:
            raise Broken(f"INV7 {record.agent}: {record.event} again, {incarnation}")
        if record.event == "agent.exited":
            ledger.exited.add(incarnation)

    def _held_back(self, event: ev.Event, record: Record, ledger: Ledger) -> None:
        """A policy holds back what is up, and nothing that somebody's word keeps down already."""
        by_policy = not isinstance(event, ev.Requested) and record.reason is not None
        if by_policy and ledger.word:
            raise Broken(f"{record.agent}: {record.event} in spite of {ledger.word}, by {event}")
        if record.event == "agent.killed":
            ledger.word = "kill"
        elif ledger.word != "kill":
            ledger.word = "pause"

    def _clocks(
        self, core: Supervisor, effect: do.Signal | do.KillTree | do.Freeze | do.Thaw
    ) -> None:
        """INV4: the time in which it was frozen is no silence."""
        ledger, agent = self.of(effect.agent), core.agents[effect.agent]
        silent_ms = None
        if agent.alive_at_ms is not None:
            silent_ms = self.world.now_ms - agent.alive_at_ms
        if isinstance(effect, do.Freeze):
            ledger.frozen = (effect.incarnation, silent_ms)
        elif isinstance(effect, do.Thaw) and ledger.frozen is not None:
            incarnation, before_ms = ledger.frozen
            ledger.frozen = None
            goes_on = agent.stop is None and incarnation == effect.incarnation
            if goes_on and (silent_ms or 0) > max(0, before_ms or 0):
                raise Broken(f"INV4 {effect.agent}: silent {silent_ms} ms, {before_ms} when frozen")

    def _restarting(self, agent: Agent, ledger: Ledger) -> None:
        """INV8: automatic restarts keep their distance, and are numbered."""
        now_ms, config = self.world.now_ms, agent.config.restart
        if agent.durable.failures >= config.failures_max:
            raise Broken(f"INV8 {agent.name}: restarted after {agent.durable.failures} failures")
        if config.policy == "never":
            raise Broken(f"{agent.name}: restarted although its policy is never")
        if ledger.restarted_at_ms is not None and not ledger.forgiven:
            gap_ms = now_ms - ledger.restarted_at_ms
            least_ms = max(SPAWN_GAP_MS, min(config.cooldown_ms, config.cooldown_max_ms))
            if gap_ms < least_ms:
                raise Broken(f"INV8 {agent.name}: restarts {gap_ms} ms apart, not {least_ms}")
        ledger.restarted_at_ms, ledger.forgiven = now_ms, False

    def _starting(self, core: Supervisor, event: ev.Event, name: str, ledger: Ledger) -> None:
        """A start is decided on: by nobody's hand not while held, and in order."""
        agent = core.agents[name]
        by_hand = isinstance(event, ev.Requested) or agent.durable.reason in BY_HAND
        if ledger.held and not by_hand:
            raise Broken(f"{name}: starts by itself while held, by {event}")
        fleet = core.agents
        unsafe = [
            action
            for action in agent.durable.unfinished
            if not (action.idempotent or action.accepted) and action.incarnation < agent.incarnation
        ]
        if unsafe and agent.config.restart.hold_unfinished and not by_hand:
            raise Broken(f"{name}: starts by itself with {unsafe} unfinished, by {event}")
        here = local_dependencies(agent)
        missing = [one for one in here if one not in fleet or not fleet[one].is_ready]
        if missing:
            raise Broken(f"{name}: starts before {missing} are ready")

    def _spawned(self, core: Supervisor, effect: do.Spawn) -> None:
        ledger = self.of(effect.agent)
        if ledger.word:
            raise Broken(f"INV3 {effect.agent}: spawned in spite of {ledger.word}")
        if core.closing:
            raise Broken(f"{effect.agent}: spawned while agentd ends")
        for process in self.world.living(effect.agent):
            raise Broken(f"INV1 {effect.agent}: spawn while {process} lives")
        ledger.spawned_at_ms = self.world.now_ms

    def _aimed(
        self, core: Supervisor, effect: do.Signal | do.KillTree | do.Freeze | do.Thaw
    ) -> None:
        agent = core.agents.get(effect.agent)
        if agent is None or agent.incarnation != effect.incarnation:
            raise Broken(f"INV9 {effect}: aimed at an incarnation that is gone")
        ledger = self.of(effect.agent)
        leaves = core.closing or (agent.stop is not None and agent.stop.after is After.REMOVE)
        # A daemon that died in a stop had let it go already, and the next one repeats that.
        again = agent.stop is not None and ledger.thawed == effect.incarnation
        if isinstance(effect, do.Thaw):
            if ledger.word == "pause" and not (leaves or again):
                raise Broken(f"INV4 {effect.agent}: thawed while paused")
            ledger.thawed = effect.incarnation
        elif isinstance(effect, do.Freeze):
            ledger.thawed = None

    def _failures(self, agent: Agent, event: ev.Event) -> None:
        """INV8: a row is forgiven by a person or by time well spent, by nothing else."""
        ledger, now_ms = self.of(agent.name), self.world.now_ms
        failures_max = agent.config.restart.failures_max
        if agent.durable.failures > ledger.failures + 1:
            raise Broken(f"INV7 {agent.name}: charged more than once by {event}")
        last = agent.durable.last_exit
        charged = agent.durable.failures > ledger.failures
        if charged and last is not None and last.reason in UNCHARGED:
            raise Broken(f"INV7 {agent.name}: {last.reason} is charged as a failure by {event}")
        if agent.durable.failures < ledger.failures or (
            agent.durable.row == 0 and agent.durable.failures == 0
        ):
            by_hand = isinstance(event, ev.Requested) and (
                event.cmd == "reset" or (event.cmd in UP_WORDS and ledger.failures >= failures_max)
            )
            since_ms = ledger.spawned_at_ms
            stable = (
                since_ms is not None and now_ms - since_ms >= agent.config.restart.stable_after_ms
            )
            if agent.durable.failures < ledger.failures and not (by_hand or stable):
                raise Broken(f"INV8 {agent.name}: failures forgotten by {event}")
            ledger.forgiven = ledger.forgiven or by_hand or stable
        ledger.failures = agent.durable.failures

    def _awake(self, core: Supervisor) -> None:
        """Nothing that is due by time alone is slept through, nothing due now is left."""
        now_ms, wakes_ms = self.world.now_ms, core.next_deadline_ms()
        for agent in core.agents.values():
            due_ms = deadlines.deadline_ms(agent, now_ms)
            if due_ms is not None and (wakes_ms is None or wakes_ms > max(due_ms, now_ms)):
                raise Broken(f"{agent.name}: due at {due_ms}, but the core sleeps till {wakes_ms}")
            self._pending(agent, wakes_ms)
            if is_due(agent, core.agents, core.hosts) and not core.closing:
                raise Broken(f"{agent.name}: its start is due and was not made")
            if agent.stop is not None or agent.look is not None:
                continue  # it is on its way down, and that was told; or it is being looked at
            noted = liveness.health_of(agent, now_ms)
            if noted is not agent.noted and (wakes_ms is None or wakes_ms > now_ms):
                raise Broken(f"INV13 {agent.name}: {agent.noted} was told, it is {noted}")

    def _pending(self, agent: Agent, wakes_ms: int | None) -> None:
        """Whoever waits for a moment must have one."""
        durable = agent.durable
        waits = {
            "cooldown": agent.state is State.COOLDOWN
            and agent.intent is Intent.UP
            and not (durable.held or agent.has_process),
            "parked": agent.state is State.PARKED,
            "startup": agent.state is State.STARTING and agent.presence is Presence.ALIVE,
            "grace": agent.stop is not None and agent.stop.kill_at_ms is not None,
        }
        for what, waiting in waits.items():
            if waiting and wakes_ms is None:
                raise Broken(f"{agent.name}: waits for its {what}, and nothing will wake it")
        if agent.state is State.COOLDOWN and durable.cooldown_until_ms is None:
            raise Broken(f"{agent.name}: a cooldown without an end")

    def over_crash(self, before: dict[str, Durable], core: Supervisor) -> None:
        """INV5, INV8: what was durable is what the next daemon goes on from."""
        for name, agent in core.agents.items():
            old = before.get(name)
            if old is None:
                continue
            if agent.durable.intent is not old.intent:
                raise Broken(f"INV5 {name}: intent {old.intent} became {agent.durable.intent}")
            # What died while nobody watched may have left something that holds it for a human.
            by_itself = agent.durable.held and agent.durable.held_why
            if agent.durable.held is not old.held and not by_itself:
                raise Broken(f"INV5 {name}: held {old.held} became {agent.durable.held}")
            if agent.durable.failures < old.failures:
                raise Broken(f"INV8 {name}: failures shrank through a crash")
            cools = agent.state is State.COOLDOWN and old.state is State.COOLDOWN
            if cools and agent.durable.cooldown_until_ms != old.cooldown_until_ms:
                raise Broken(f"INV8 {name}: its cooldown moved through a crash")
