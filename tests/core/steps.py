"""Steps for tests, with fingerprints one can read: the text itself, and its normalised form."""

import re
from collections.abc import Iterable

from agentd.core.detectors.finding import Finding
from agentd.core.detectors.loop import LoopDetector
from agentd.core.lines import Step

STEP_MS = 8_000
LONG = "an answer of more than eighty characters, so that it says enough to be compared by; " * 2


def normalised(text: str) -> str:
    return re.sub(r"\d+", "#", text)


def step(args: str, out: str = LONG, tool: str = "search", *, ok: bool = True) -> Step:
    """One step of work; a failed one has the class `exit 1`."""
    text = f"{args}\n{out}".splitlines()
    return Step(
        tool=tool,
        args_fp=args,
        args_nfp=normalised(args),
        args_len=len(args),
        out_fp=out,
        out_nfp=normalised(out),
        out_len=len(out),
        lines=tuple(dict.fromkeys(normalised(line) for line in text if line)),
        ok=ok,
        error=None if ok else "exit 1",
    )


def fresh(number: int) -> Step:
    """A step unlike any other, in its arguments and its answer."""
    word = "".join(chr(ord("a") + int(digit)) for digit in str(number))
    return step(f"look for {word}", f"found {word}: {LONG}")


def watch(steps: Iterable[Step], detector: LoopDetector | None = None) -> list[tuple[int, Finding]]:
    """What the detector says, with the number of the step (from 1) at which it says it."""
    detector = detector or LoopDetector()
    said = (
        (number, detector.observe(each, number * STEP_MS)) for number, each in enumerate(steps, 1)
    )
    return [(number, finding) for number, finding in said if finding is not None]


def told(found: Iterable[tuple[int, Finding]]) -> list[tuple[int, str]]:
    return [(number, finding.event.removeprefix("loop.")) for number, finding in found]
