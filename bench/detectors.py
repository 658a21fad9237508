"""What each detector costs for one line or sample, in microseconds of CPU time.

    .venv/bin/python bench/detectors.py
    .venv/bin/python bench/detectors.py --records DIR     recorded steps, not made-up ones

Each figure is the best of five passes over the same input, the cost of the bare loop around
it left out. Without --records the steps are made up to be like the recorded ones: a dozen lines
each, a third of them seen before, every tenth step a repeated one, one in fourteen failing.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from steps_traces import add_records_option, fingerprint, load, trace

from agentd.config.agent import CostConfig
from agentd.core.detectors.errors import ErrorDetector
from agentd.core.detectors.latency import LatencyDetector
from agentd.core.detectors.leak import LeakDetector
from agentd.core.detectors.loop import LoopDetector
from agentd.core.detectors.novelty import NoveltyDetector
from agentd.core.detectors.runaway import RunawayDetector
from agentd.core.detectors.spike import SpikeDetector
from agentd.core.lines import Step
from agentd.core.progress import Progress
from agentd.wire.lines import decode_lines

PASSES = 5
RUNS = 100
STEPS = 40
CYCLES = 20_000
MIB = 1 << 20
OF_A_STEP = ("loop, a step", "novelty, a step", "errors, a step")
DECODING = "decoding a step, beside it"

Observe = Callable[[Any, int], object]
"""Takes one input and its moment in ms."""
Series = Sequence[Sequence[Any]]
"""Inputs of several agents; each has a detector of its own."""


def made_up_run(number: int) -> list[Step]:
    """Steps with the shape of recorded ones, from a seed."""
    random = Random(number)
    words = [fingerprint(f"{number} {i}") for i in range(20 * STEPS)]
    steps: list[Step] = []
    for i in range(STEPS):
        if steps and random.random() < 0.1:
            steps.append(random.choice(steps))
            continue
        ok = random.random() > 0.07
        steps.append(
            Step(
                tool="bash",
                args_fp=words[-4 * i - 1],
                args_nfp=words[-4 * i - 2],
                args_len=random.randrange(10, 2_000),
                out_fp=words[-4 * i - 3],
                out_nfp=words[-4 * i - 4],
                out_len=random.randrange(0, 5_000),
                lines=(*random.sample(words[: 8 * i + 4], 4), *words[8 * i + 4 : 8 * i + 12]),
                ok=ok,
                error=None if ok else "exit 1",
            )
        )
    return steps


def recorded_run(steps: Sequence[dict[str, Any]]) -> list[Step]:
    """Read the step lines of a trace."""
    said = [line["line"] for line in trace(steps)[0] if "line" in line]
    return [
        Step(**{key: value for key, value in line.items() if key != "type"})
        for line in (
            {**one, "step": str(one["step"]), "lines": tuple(one["lines"])} for one in said
        )
    ]


def as_lines(steps: Iterable[Step]) -> list[bytes]:
    """Write steps as an agent sends them."""
    fields = {name: name for name in Step.__slots__}
    return [
        json.dumps({"type": "step", **{name: getattr(step, name) for name in fields}}).encode()
        for step in steps
    ]


def made_up_samples(growth_bytes: int) -> list[float]:
    """Twelve hours of memory, a sample every 5 s, with a little noise."""
    random = Random(1)
    return [300 * MIB + growth_bytes * i + random.random() * MIB for i in range(12 * 720)]


def made_up_cycles() -> list[tuple[int, int]]:
    """Tokens and pico-dollars of cycles; some are large, as cycles are."""
    random = Random(1)
    tokens = [int(random.lognormvariate(7, 1)) for _ in range(CYCLES)]
    return [(each, each * 3_000_000) for each in tokens]


def micros_each(make: Callable[[], Observe], series: Series, step_ms: int = 1) -> float:
    """CPU time of one `observe`, the best of some passes."""
    count, took = sum(map(len, series)), []
    for _ in range(PASSES):
        began = time.process_time()
        for inputs in series:
            observe = make()
            for number, each in enumerate(inputs):
                observe(each, number * step_ms)
        took.append((time.process_time() - began) / count)
    return min(took) * 1e6


def _nothing() -> Observe:
    return lambda _each, _now_ms: None


def _novelty() -> Observe:
    observe = NoveltyDetector().observe
    return lambda step, _now_ms: observe(step)


def _leak() -> Observe:
    return LeakDetector(1_024 * MIB, 1_800_000, 0).observe


def _spike() -> Observe:
    detector = SpikeDetector()
    detector.configure(CostConfig())
    observe = detector.observe
    return lambda cycle, _now_ms: observe(*cycle)


def _runaway() -> Observe:
    detector = RunawayDetector()
    detector.configure(CostConfig())
    observe = detector.observe
    return lambda cycle, now_ms: observe(now_ms, *cycle, 0)


def _latency() -> Observe:
    observe = LatencyDetector("answer").observe
    return lambda latency_ms, _now_ms: observe(latency_ms)


def _progress() -> Observe:
    progress = Progress()

    def observe(_each: object, now_ms: int) -> None:
        progress.note_work(now_ms)
        progress.note_beat(now_ms, off_thread=False)

    return observe


def costs(records: Path | None = None) -> dict[str, float]:
    """Microseconds for one line by detector."""
    runs = (
        [recorded_run(run["steps"]) for run in load("mini", records)[:RUNS]]
        if records
        else [made_up_run(number) for number in range(RUNS)]
    )
    lines = [as_lines(steps) for steps in runs]
    cycles = [made_up_cycles()]
    latencies = [[tokens / 3 for tokens, _ in cycles[0]]]
    bare = micros_each(_nothing, runs)
    found = {
        "loop, a step": micros_each(lambda: LoopDetector().observe, runs),
        "novelty, a step": micros_each(_novelty, runs),
        "errors, a step": micros_each(lambda: ErrorDetector().observe, runs),
        DECODING: micros_each(lambda: lambda raw, _now_ms: decode_lines([raw]), lines),
        "spike, a cycle": micros_each(_spike, cycles),
        "runaway, a spend": micros_each(_runaway, cycles, 1_000),
        "latency, a task": micros_each(_latency, latencies),
        "progress, a heartbeat": micros_each(_progress, latencies),
        "leak, a level sample": micros_each(_leak, [made_up_samples(0)], 5_000),
        "leak, a growing sample": micros_each(_leak, [made_up_samples(MIB // 32)], 5_000),
    }
    return {what: max(0.0, micros - bare) for what, micros in found.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_records_option(parser)
    found = costs(parser.parse_args().records)
    for what, micros in found.items():
        print(f"{what:28} {micros:8.2f} us")
    print(f"{'all three of a step':28} {sum(found[what] for what in OF_A_STEP):8.2f} us")


if __name__ == "__main__":
    main()
