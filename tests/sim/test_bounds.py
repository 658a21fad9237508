"""What is remembered of an agent has a bound, whatever it says and for however long."""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from agentd.config.agent import AgentConfig, BudgetConfig, HeartbeatConfig, JudgeConfig, LoopConfig
from agentd.config.schema import Config
from agentd.core import events as ev
from agentd.core.lines import (
    ActionBegun,
    BreakerAsk,
    BreakerReport,
    Call,
    CheckpointPut,
    Heartbeat,
    Line,
    Status,
    Step,
    Usage,
)
from agentd.core.supervisor import Supervisor

# A round a minute: half of them is more than the day that a usual rate is taken from.
ROUNDS = 3_200
# The largest history is that of the novelty detector: some thousand hashes of lines.
ELEMENTS_MAX = 20_000
HOSTILE = AgentConfig(
    command=["true"],
    heartbeat=HeartbeatConfig(required=False),
    loop=LoopConfig(on_loop="alert"),
    budget=BudgetConfig(tokens_per_cycle=1, tokens_per_hour=1, on_exceeded="alert"),
    judge=JudgeConfig(command=["ask"], every=1, after=0, max_per_day=1_000_000),
)


def _said(number: int) -> Iterator[Line]:
    """One round of an agent that never says the same twice."""
    yield Call(f"c{number}", start=True, provider=f"p{number}", model=f"m{number}")
    yield Call(
        f"d{number}",
        start=False,
        model=f"m{number}",
        usage=Usage(5, 5),
        ok=False,
        error=f"e{number}",
    )
    for each in range(3):
        name = f"{number}.{each}"
        yield Step(
            step=name,
            note=name,
            tool=f"t{name}",
            args_fp=name,
            args_nfp=name,
            out_fp=name,
            out_nfp=name,
            out_len=100,
            lines=tuple(f"{name}.{line}" for line in range(16)),
            ok=each != 0,
            error=f"error {name}",
            poll=each == 1,
        )
    yield BreakerReport(f"b{number}", ok=False, error=f"e{number}")
    yield BreakerAsk(f"b{number}")
    yield ActionBegun(f"k{number}", "pay")
    yield CheckpointPut("{}")
    yield Heartbeat(
        status=Status.WORKING,
        tokens=number % 100,
        cost_micros=number,
        # New work clears much: at first there is always some, and later never.
        task=f"task {min(number, ROUNDS // 4)}",
        progress_fp=f"state {min(number, ROUNDS // 4)}",
        latencies_ms=(1.0, 2.0),
    )


def _elements(thing: object, seen: set[int]) -> int:
    """Count what lies in containers, however deep."""
    if isinstance(thing, str | bytes | int | float | None) or id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, dict):
        inside: list[object] = [*thing.keys(), *thing.values()]
        return len(thing) + sum(_elements(each, seen) for each in inside)
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return len(thing) + sum(_elements(each, seen) for each in thing)
    names = [field.name for field in fields(thing)] if is_dataclass(thing) else []
    names += [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    found = (getattr(thing, name, None) for name in dict.fromkeys(names) if "__" not in name)
    return sum(_elements(each, seen) for each in found)


def test_an_agent_that_never_says_the_same_twice_fills_nothing() -> None:
    config = Config(agents={"a": HOSTILE})
    numbers = random.Random(1)  # noqa: S311 - a world is drawn, not a secret
    core = Supervisor(config, numbers.random, lambda: f"i{numbers.random()}")
    core.step(ev.Started(), 0)
    core.step(ev.Spawned("a", 1, 100), 0)
    sizes = []
    for number in range(ROUNDS):
        now_ms = number * 60_000
        core.step(ev.LinesReceived("a", 1, tuple(_said(number))), now_ms)
        core.step(ev.Judged("a", 1, closer=False, confidence=1.0, reason=f"r{number}"), now_ms)
        core.step(ev.Sampled("a", 1, number, number, number), now_ms)
        core.step(ev.Ticked(), now_ms)
        if number in (ROUNDS // 2, ROUNDS - 1):
            sizes.append(_elements(core, set()))
    half, whole = sizes
    assert core.agents["a"].has_process
    assert whole <= half * 1.05, "it grows on and on"
    assert whole <= ELEMENTS_MAX
