"""One breaker per shared dependency: closed, open, half open; and the bounded set of them all.

    CLOSED --`failures` within `window`--> OPEN --`reset` later--> HALF_OPEN
    HALF_OPEN --a call goes well--> CLOSED        HALF_OPEN --a trial fails--> OPEN

A breaker knows no agents but by name, and no process. It is not durable: a daemon that
starts knows nothing of failures before it, and the first few calls teach it again.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from agentd.config.schema import BreakerConfig
from agentd.core.retry_budget import RetryBudget

# A name is whatever an agent says, so that both the host and one agent have a bound.
NAMES_MAX: Final = 256
NAMES_PER_AGENT_MAX: Final = 32
USERS_MAX: Final = 256
# Whoever called a dependency so long ago may still wait for its answer: the clients of the
# large model providers wait 600 s for one.
USED_LATELY_MS: Final = 600_000
ERROR_CHARS_MAX: Final = 80


class BreakerState(StrEnum):
    """Whether a dependency may be called."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Trial:
    """A call let through while half open, until it is reported or given up."""

    agent: str
    incarnation: int
    until_ms: int


@dataclass(slots=True)
class Breaker:
    """One dependency, as all agents of the host find it."""

    name: str
    config: BreakerConfig
    configured: bool = False
    state: BreakerState = BreakerState.CLOSED
    opened_at_ms: int | None = None
    """When it was last opened; None while closed."""
    last_error: str = ""
    used_at_ms: int = 0
    failed: deque[tuple[int, str]] = field(default_factory=deque)
    """(when, agent) of the failures that count, at most `failures`."""
    users: dict[str, int] = field(default_factory=dict)
    """Agent → when it last asked or reported, the longest idle first."""
    trials: list[Trial] = field(default_factory=list)
    retries: RetryBudget = field(init=False)

    def __post_init__(self) -> None:
        self.failed = deque(maxlen=self.config.failures)
        self.retries = RetryBudget(self.config.window_ms)

    def configure(self, config: BreakerConfig, *, configured: bool) -> None:
        """Take over another configuration; the state stays, and what is counted is kept."""
        self.configured = configured
        if config == self.config:
            return
        if config.window_ms != self.config.window_ms:
            self.retries = RetryBudget(config.window_ms)
        self.config = config
        self.failed = deque(self.failed, maxlen=config.failures)

    def use(self, agent: str, now_ms: int) -> None:
        """Note who called it."""
        self.used_at_ms = now_ms
        self.users.pop(agent, None)
        self.users[agent] = now_ms
        if len(self.users) > USERS_MAX:
            del self.users[next(iter(self.users))]

    def users_lately(self, now_ms: int) -> list[str]:
        """Who called it in the last `USED_LATELY_MS`, by name."""
        return sorted(
            agent for agent, at_ms in self.users.items() if now_ms - at_ms <= USED_LATELY_MS
        )

    def failures(self, now_ms: int) -> int:
        """Failures within the window."""
        while self.failed and now_ms - self.failed[0][0] > self.config.window_ms:
            self.failed.popleft()
        return len(self.failed)

    def half_open_at_ms(self) -> int | None:
        """When it lets a trial through; None unless it is open."""
        if self.state is not BreakerState.OPEN or self.opened_at_ms is None:
            return None
        return self.opened_at_ms + self.config.reset_ms

    def wait_over(self, now_ms: int) -> bool:
        """Become half open if it has been open for long enough; return whether it did."""
        at_ms = self.half_open_at_ms()
        if at_ms is None or now_ms < at_ms:
            return False
        self.state = BreakerState.HALF_OPEN
        self.trials.clear()
        return True

    def report(self, agent: str, *, ok: bool, error: str, now_ms: int) -> BreakerState:
        """Take in how a call went; return the state that follows.

        Open, nothing counts: those calls began before. Half open, any that goes well closes
        it; one that fails opens it again if it was a trial, or if nobody has one: the failure
        of a call from before must not outweigh a trial that is under way.
        """
        if not ok:
            self.last_error = error[:ERROR_CHARS_MAX]
        if self.state is BreakerState.CLOSED and not ok:
            self.failures(now_ms)
            self.failed.append((now_ms, agent))
            if len(self.failed) >= self.config.failures:
                self._open(now_ms)
        elif self.state is BreakerState.HALF_OPEN:
            tried = any(trial.agent == agent for trial in self.trials)
            if ok:
                self._close()
            elif tried or not self.trials:
                self.failed.append((now_ms, agent))
                self._open(now_ms)
        return self.state

    def let_through(self, trial: Trial) -> bool:
        """Whether a call may be made; half open, that takes one of the trials."""
        if self.state is BreakerState.HALF_OPEN:
            if len(self.trials) >= self.config.half_open_max:
                return False
            self.trials.append(trial)
        return self.state is not BreakerState.OPEN

    def _open(self, now_ms: int) -> None:
        self.state, self.opened_at_ms = BreakerState.OPEN, now_ms
        self.trials.clear()

    def _close(self) -> None:
        self.state, self.opened_at_ms = BreakerState.CLOSED, None
        self.trials.clear()
        self.failed.clear()


@dataclass(slots=True)
class Breakers:
    """All breakers of the host; those that the config doesn't name come with their first use."""

    known: dict[str, Breaker] = field(default_factory=dict)
    """The longest idle first."""
    next_change_ms: int | None = None
    """When the next open one becomes half open."""

    def configure(self, configs: Mapping[str, BreakerConfig]) -> None:
        """Take over `[breakers]`; one that is no longer named goes on with the defaults."""
        for name, breaker in self.known.items():
            found = configs.get(name)
            breaker.configure(found or BreakerConfig(), configured=found is not None)
        for name, config in configs.items():
            if name not in self.known:
                self.known[name] = Breaker(name, config, configured=True)
        self.rearm()

    def of(self, name: str, agent: str, now_ms: int) -> Breaker | None:
        """The breaker of a dependency that `agent` uses; None: it has made up too many names."""
        breaker = self.known.pop(name, None)
        if breaker is None:
            if self._made_up_by(agent, now_ms) >= NAMES_PER_AGENT_MAX:
                return None
            self._make_room()
            breaker = Breaker(name, BreakerConfig())
        self.known[name] = breaker
        breaker.use(agent, now_ms)
        return breaker

    def rearm(self) -> None:
        """Find the next change anew, after one opened, closed or was configured."""
        moments = (breaker.half_open_at_ms() for breaker in self.known.values())
        self.next_change_ms = min((at_ms for at_ms in moments if at_ms is not None), default=None)

    def failing_for(self, agent: str, now_ms: int) -> list[Breaker]:
        """Those that aren't closed and that the agent called lately."""
        return [
            breaker
            for breaker in self.known.values()
            if breaker.state is not BreakerState.CLOSED
            and now_ms - breaker.users.get(agent, -USED_LATELY_MS - 1) <= USED_LATELY_MS
        ]

    def _made_up_by(self, agent: str, now_ms: int) -> int:
        """Names not in the config that this agent used lately."""
        return sum(
            not breaker.configured and now_ms - breaker.users[agent] <= USED_LATELY_MS
            for breaker in self.known.values()
            if agent in breaker.users
        )

    def _make_room(self) -> None:
        """Forget the longest idle that the config doesn't name, a closed one where there is one."""
        made_up = [breaker for breaker in self.known.values() if not breaker.configured]
        if len(made_up) < NAMES_MAX:
            return
        closed = (breaker for breaker in made_up if breaker.state is BreakerState.CLOSED)
        del self.known[next(closed, made_up[0]).name]
