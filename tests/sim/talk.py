"""What the agents of a world say beside plain heartbeats: spending, steps, actions, breakers.

An honest agent works on; others go round in a circle, burn money inside one cycle, begin
actions and die in them. Questions wait for their answer, as the SDK's durable calls do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

from agentd.core import events as ev
from agentd.core.lines import (
    ActionBegun,
    ActionDone,
    BreakerAsk,
    BreakerReport,
    Call,
    CheckpointGet,
    CheckpointPut,
    Heartbeat,
    Line,
    Question,
    Status,
    Step,
    Usage,
)

# One of them is called so much more often that its breaker comes to all its states.
DEPENDENCIES = ("openai", "openai", "openai", "openai", "search")
KEYS = ("k1", "k2", "k3")
# Multiples of ten, so that sums meet the bounds of the budgets exactly, too.
TOKENS = (0, 10, 10, 10, 20, 50, 200)
MICROS = (None, None, 0, 1_000, 1_000, 5_000, 50_000)


@dataclass
class Talk:
    """How talkative the agents of a world are; each rate is per beat of a work loop."""

    random: Random
    spends: bool = False
    """It is a world of spenders."""
    calls: float = 0.0
    steps: float = 0.0
    looping: float = 0.0
    """The share of steps that are one of a few."""
    failing: float = 0.0
    actions: float = 0.0
    checkpoints: float = 0.0
    breakers: float = 0.0
    outage: float = 0.0
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    @classmethod
    def draw(cls, random: Random) -> "Talk":
        """Each kind of talk is left out in most worlds, and may be much in the others."""

        def sometimes(highest: float) -> float:
            return random.random() * highest if random.random() < 0.5 else 0.0

        spends = random.random() < 0.4
        return cls(
            random,
            spends=spends,
            calls=0.9 if spends else sometimes(0.3),
            steps=sometimes(1.0),
            looping=sometimes(1.0),
            failing=sometimes(0.9),
            actions=sometimes(0.7),
            checkpoints=sometimes(0.3),
            breakers=sometimes(0.9),
            outage=random.choice((0.1, 0.5, 1.0)),
        )

    def events(self, agent: str, incarnation: int) -> Iterator[ev.Event]:
        """What is said before the heartbeat of one cycle."""
        lines: list[Line] = []
        if self._is(self.calls):
            lines += [self._call() for _ in range(self.random.randint(1, 3))]
        if self._is(self.steps):
            lines += self._steps()
        if lines:
            yield ev.LinesReceived(agent, incarnation, tuple(lines))
        for rate, question in (
            (self.actions, self._action),
            (self.checkpoints, self._checkpoint),
            (self.breakers, self._breaker),
        ):
            while self._is(rate):
                yield ev.AgentAsked(agent, incarnation, f"q{next(self._numbers)}", question())

    def last_words(self) -> tuple[Line, ...]:
        """A call that costs more than any budget of these worlds, or nothing."""
        if self.random.random() < 0.6:
            return ()
        usage = Usage(input_tokens=10_000)
        return (Call("the last", start=False, ok=True, usage=usage, cost_micros=1_000_000),)

    def heartbeat(self) -> Heartbeat:
        """What ends the cycle: sometimes with what it used, sometimes with progress."""
        random = self.random
        if random.random() < 0.5:
            # Spenders change between little and much, without an end.
            return Heartbeat(
                status=Status.WORKING, tokens=random.choice((10, 1_000)) if self.spends else 10
            )
        return Heartbeat(
            status=random.choice((Status.WORKING, Status.WORKING, Status.IDLE, Status.DRAINING)),
            tokens=random.choice((None, *TOKENS)),
            cost_micros=random.choice(MICROS),
            task=random.choice((None, None, None, f"task {random.randrange(3)}")),
            progress=random.choice((None, None, random.random())),
            off_thread=random.random() < 0.1,
        )

    def _is(self, rate: float) -> bool:
        return self.random.random() < rate

    def _call(self) -> Call:
        random = self.random
        return Call(
            call=f"c{random.randrange(4)}",
            start=random.random() < 0.2,
            ok=random.random() < 0.8,
            usage=Usage(input_tokens=random.choice(TOKENS)),
            cost_micros=random.choice(MICROS),
            deadline_ms=random.choice((None, 3_000, 60_000)),
        )

    def _steps(self) -> list[Line]:
        """A few at a time: the same again, or something new each time."""
        again = self._is(self.looping)
        failed = self._is(self.failing)
        first = self.random.randrange(2 if again else 1 << 30)
        many = self.random.choice((1, 2, 5))
        return [self._step(first if again else first + n, failed) for n in range(many)]

    def _step(self, kind: int, failed: bool) -> Step:
        return Step(
            tool=f"tool{kind % 2}",
            args_fp=f"a{kind}",
            args_nfp=f"a{kind}",
            args_len=100,
            out_fp=f"o{kind}",
            out_nfp=f"o{kind}",
            out_len=100,
            lines=(f"l{kind}", f"m{kind}"),
            ok=not failed,
            error="HTTP 503" if failed else None,
        )

    def _action(self) -> Question:
        key, random = self.random.choice(KEYS), self.random
        if random.random() < 0.6:
            return ActionBegun(key, "pay", idempotent=random.random() < 0.3)
        return ActionDone(key, ok=random.random() < 0.8)

    def _checkpoint(self) -> Question:
        return CheckpointGet() if self.random.random() < 0.3 else CheckpointPut('{"at":1}')

    def _breaker(self) -> Question:
        name = self.random.choice(DEPENDENCIES)
        if self.random.random() < 0.6:
            return BreakerAsk(name)
        return BreakerReport(name, ok=not self._is(self.outage), attempt=self.random.randint(1, 3))
